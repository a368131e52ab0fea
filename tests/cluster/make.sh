#!/bin/sh
# Tells the stories of a real cluster: builds it, once, and what runs in it.
#
#   make.sh [STORY...]              parts of stories' names; see `run`
#
# KUBERNETES_VERSION is the release, 1.37.0 by default. It takes root, Go, and Debian's packages,
# which are installed; where something cannot be had, it says so, and that is no failure.
set -eu

KUBERNETES_VERSION=${KUBERNETES_VERSION:-1.37.0}
KUBERNETES_VERSION=${KUBERNETES_VERSION#v}
export KUBERNETES_VERSION
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
top=$(CDPATH='' cd -- "$here/../.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/chandler/cluster
arch=$(uname -m)
archive=$top/dist/chandler-$arch.oci.tar
PATH=$PATH:/usr/local/go/bin

skip() {
	echo "test-cluster: skipped: $*"
	exit 0
}

[ "$(id -u)" = 0 ] || skip "it takes root"
command -v go >/dev/null || skip "there is no Go to build Kubernetes with"
command -v python3 >/dev/null || skip "there is no python3"
unshare --net --mount true 2>/dev/null || skip "no network namespaces here"
[ -e /dev/fuse ] || skip "no /dev/fuse, which is the device that is shared"
if [ -e /var/lib/kubelet ] && [ ! -e "${CLUSTER_STATE:-/var/lib/chandler-cluster}" ]; then
	skip "this machine is a node already: there is a /var/lib/kubelet"
fi

packages=
need() { # need PROGRAM PACKAGE
	command -v "$1" >/dev/null || packages="$packages $2"
}
need runc runc
need /bin/busybox busybox-static
need openssl openssl
need ip iproute2
need nsenter util-linux
need /usr/lib/cni/bridge containernetworking-plugins
if [ -n "$packages" ]; then
	command -v apt-get >/dev/null || skip "it needs$packages, and they are installed only on Debian"
	echo "test-cluster: installing$packages"
	# shellcheck disable=SC2086 # a list of words
	{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
		apt-get install -y -qq --no-install-recommends $packages; } >/dev/null 2>&1 ||
		skip "cannot install$packages"
fi

mkdir -p "$cache"
log=$cache/build-$KUBERNETES_VERSION.log
[ -d "$cache/$KUBERNETES_VERSION/bin" ] ||
	echo "test-cluster: building Kubernetes $KUBERNETES_VERSION and containerd, once"
nice -n 10 "$here/build.sh" "$KUBERNETES_VERSION" >"$log" 2>&1 ||
	skip "Kubernetes $KUBERNETES_VERSION cannot be built: $(tail -n 1 "$log")"
(cd "$top/tests/manifests" && nice -n 10 go build -o "$cache/manifests" .)

[ -e "$archive" ] || make -C "$top" --no-print-directory image
exec "$here/run" "$archive" "$cache/manifests" "$@"
