#!/bin/sh
# Builds what the guest runs, and tells the lab's stories; arguments are parts of their names. ARCH is
# the guest's architecture. For another one than this machine's, both programs are static.
set -eu
cd "$(dirname "$0")/../.."

arch=${ARCH:-$(uname -m)}
if [ "$arch" != "$(uname -m)" ]; then
	[ -x "dist/chandler-$arch-linux-musl" ] || deploy/static.sh "$arch"
	deploy/static.sh --simulator "$arch"
elif [ -x "dist/chandler-$arch-linux-musl" ]; then
	# The one that `make test` has built: the gRPC core need not be compiled for another profile.
	cargo build --quiet --locked --example kubelet-sim
	target=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
	export KUBELET_SIM="$target/debug/examples/kubelet-sim"
else
	cargo build --release --locked --bin chandler --example kubelet-sim
fi
exec tests/lab/run --arch "$arch" "$@"
