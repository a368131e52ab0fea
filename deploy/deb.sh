#!/bin/sh
# Packs the static program as dist/chandler_<version>_<arch>.deb, with cargo-deb, and looks into it.
#
#   deploy/deb.sh [x86_64|aarch64]
set -eu
cd "$(dirname "$0")/.."

arch=${1:-$(uname -m)}
tools=${XDG_CACHE_HOME:-$HOME/.cache}/chandler/tools
program=$(ls dist/chandler-"$arch"-linux-* | tail -n 1)
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
case $arch in
x86_64) target=x86_64-unknown-linux-gnu debian=amd64 ;;
aarch64) target=aarch64-unknown-linux-gnu debian=arm64 ;;
*) echo "deb: no such architecture: $arch" >&2; exit 2 ;;
esac

PATH=$tools/bin:$PATH
if ! cargo deb --version >/dev/null 2>&1; then
	echo "deb: building cargo-deb, once"
	CARGO_TARGET_DIR=$tools/target nice -n 10 cargo install --quiet --locked --root "$tools" cargo-deb --version 3.8.0
	rm -rf "$tools/target"
fi

# cargo-deb looks for a program where cargo would have put it.
staging=$(mktemp -d)
trap 'rm -rf "$staging"' EXIT
mkdir -p "$staging/$target/release"
cp "$program" "$staging/$target/release/chandler"
out=dist/chandler_${version}_$debian.deb
# The same contents give the same bytes.
CARGO_TARGET_DIR=$staging SOURCE_DATE_EPOCH=0 \
	cargo deb --quiet --no-build --no-strip --target "$target" --deb-revision "" --output "$out" >/dev/null

dpkg-deb --fsys-tarfile "$out" | tar -C "$staging" -xf - 2>/dev/null || {
	echo "deb: $out is written; no dpkg-deb here to look into it"
	exit 0
}
for file in usr/bin/chandler etc/chandler/config.yaml usr/share/man/man8/chandler.8.gz \
	usr/lib/systemd/system/chandler.service usr/share/doc/chandler/kernel-log.conf usr/share/doc/chandler/actions.conf usr/share/doc/chandler/cdi.conf usr/share/doc/chandler/device-info.conf usr/share/doc/chandler/labels.conf \
	usr/share/doc/chandler/config.schema.json; do
	[ -f "$staging/$file" ] || [ -f "$staging/${file#usr/}" ] || { echo "deb: no $file in $out" >&2; exit 1; }
done
dpkg-deb --info "$out" conffiles | grep -qx /etc/chandler/config.yaml || {
	echo "deb: the configuration would be overwritten" >&2
	exit 1
}
cmp "$program" "$staging/usr/bin/chandler"
[ "$arch" != "$(uname -m)" ] || "$staging/usr/bin/chandler" check "$staging/etc/chandler/config.yaml" >/dev/null
echo "deb: $out: $(wc -c <"$out") bytes"
