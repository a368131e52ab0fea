#!/bin/sh
# Judges Chandler, and the simulated kubelet, by the kubelet's own code.
#
#   make.sh ["VERSION ..."]         for example: make.sh "1.34.4 1.37.0"
#
# Builds the device manager of each release, which takes minutes the first time
# and seconds after that, and runs the test target `judge` with them. What
# follows the versions goes to the tests, such as a part of a test's name.
set -eu

versions=${1:-1.26.15 1.34.4 1.37.0}
[ $# -eq 0 ] || shift
source=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)

PATH=$PATH:/usr/local/go/bin
if ! command -v go >/dev/null; then
	echo "test-kubelet: skipped, because there is no Go to build the kubelet's device manager with"
	exit 0
fi

kubelets=
for version in $versions; do
	echo "test-kubelet: building the device manager of Kubernetes $version" >&2
	binary=$("$source/build.sh" "$version")
	kubelets="$kubelets ${version#v}=$binary"
done

cd "$source/../.."
export CHANDLER_KUBELETS="${kubelets# }"
# The simulator is an example, and `--test` alone does not build it.
cargo build --locked --example kubelet-sim
exec cargo test --locked --test judge -- "$@"
