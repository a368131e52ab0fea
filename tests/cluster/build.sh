#!/bin/sh
# Builds the programs of a Kubernetes cluster, unmodified, from their Go
# modules, and prints the directory they are in.
#
#   build.sh VERSION [CACHE]        for example: build.sh 1.37.0
#
# CACHE defaults to ${XDG_CACHE_HOME:-$HOME/.cache}/chandler/cluster. A second
# run finds everything there and takes no time.
set -eu

version=${1:?usage: build.sh VERSION [CACHE]}
version=${version#v}
containerd=containerd-${CONTAINERD_VERSION:-2.2.9}
cache=${2:-${XDG_CACHE_HOME:-$HOME/.cache}/chandler/cluster}
bin=$cache/$version/bin

[ ! -f "$bin/.with-$containerd" ] || { echo "$bin"; exit; }
mkdir -p "$bin" "$cache/$containerd"
cache=$(cd "$cache" && pwd)
bin=$cache/$version/bin
export CGO_ENABLED=0

upstream() { # upstream MODULE@VERSION: path of its go.mod
	(cd / && go mod download -json "$1" | sed -n 's/^\t"GoMod": "\(.*\)",*$/\1/p')
}

# Kubernetes' own go.mod names its staging modules with version v0.0.0; outside
# its repository each one must be replaced by the release that goes with it.
cd "$cache/$version"
if [ ! -f go.mod ]; then
	kubernetes=$(upstream "k8s.io/kubernetes@v$version")
	{
		echo "module cluster"
		sed -n '/^go /p' "$kubernetes"
		echo "require k8s.io/kubernetes v$version"
		sed -n 's/^\t\(k8s.io\/[a-z-]*\) v0\.0\.0$/\1/p' "$kubernetes" | sort -u |
			while read -r module; do
				echo "replace $module => $module v0${version#1}"
			done
	} >go.mod.new
	mv go.mod.new go.mod
fi
if [ ! -f "$bin/etcd" ]; then
	stamp=k8s.io/component-base/version
	minor=$(echo "$version" | cut -d. -f2)
	go build -mod=mod -trimpath -o "$bin/" -ldflags "-s -w -X $stamp.gitVersion=v$version
		-X $stamp.gitMajor=1 -X $stamp.gitMinor=$minor" \
		k8s.io/kubernetes/cmd/kube-apiserver k8s.io/kubernetes/cmd/kube-scheduler \
		k8s.io/kubernetes/cmd/kube-controller-manager k8s.io/kubernetes/cmd/kubelet \
		k8s.io/kubernetes/cmd/kubectl >&2
	# The etcd that this Kubernetes is tested with.
	go build -mod=mod -trimpath -ldflags "-s -w" -o "$bin/etcd" go.etcd.io/etcd/server/v3 >&2
fi

# Debian 12's containerd is too old for the newer kubelets.
cd "$cache/$containerd"
if [ ! -f ctr ]; then
	module=github.com/containerd/containerd/v2
	{
		echo "module runtime"
		sed -n '/^go /p' "$(upstream "$module@v${containerd#*-}")"
		echo "require $module v${containerd#*-}"
	} >go.mod
	go build -mod=mod -trimpath -tags no_btrfs,no_zfs,no_devmapper -ldflags "-s -w" -o . \
		$module/cmd/containerd $module/cmd/containerd-shim-runc-v2 $module/cmd/ctr >&2
fi
for program in containerd containerd-shim-runc-v2 ctr; do
	ln -sf "../../$containerd/$program" "$bin/$program"
done
touch "$bin/.with-$containerd"
echo "$bin"
