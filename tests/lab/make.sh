#!/bin/sh
# Builds what the guest runs, and tells the lab's stories; arguments are parts of their names.
set -eu
cd "$(dirname "$0")/../.."

if [ -x dist/chandler-x86_64-linux-musl ]; then
	cargo build --release --locked --example kubelet-sim
else
	cargo build --release --locked --bin chandler --example kubelet-sim
fi
exec tests/lab/run "$@"
