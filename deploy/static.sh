#!/bin/sh
# Builds the static program: dist/chandler-<arch>-linux-musl, for this machine's architecture or for
# those that are named.
#
#   deploy/static.sh [--simulator] [x86_64|aarch64]...
#
# With --simulator it is the simulated kubelet: dist/kubelet-sim-<arch>-linux-musl, and in the cache for tests in other
# machines.
#
# The C library is musl; zig, from PyPI, is the C++ compiler and the linker. Rust's standard library
# for the target comes by one of two routes, the first that works:
#
#   rustup   rustup adds the target to the toolchain that is in use
#   debian   Debian's compiler builds the standard library from Debian's own source of it
#   glibc    the fallback: a static-pie with glibc, dist/chandler-<arch>-linux-gnu; larger, and
#            only for this machine's own architecture
#
# CHANDLER_STATIC_ROUTE asks for one of them. What is built stays in a cache outside the checkout.
set -eu
cd "$(dirname "$0")/.."

cache=${XDG_CACHE_HOME:-$HOME/.cache}/chandler/static
own=$(uname -m)
route=${CHANDLER_STATIC_ROUTE:-}
program=chandler kind=--bin
if [ "${1:-}" = --simulator ]; then
	program=kubelet-sim kind=--example
	shift
fi
[ $# -gt 0 ] || set -- "$own"
[ -n "${NICE:-}" ] || NICE="nice -n 10"
mkdir -p "$cache" dist

say() { echo "static: $*"; }

# zig and cargo-zigbuild, of versions that are known to work together. From 0.16 on, zig has an allocator of its own in
# place of musl's: it rounds sizes up to powers of two and gives no memory back. With 5,000 devices, or after a storm of
# calls, that is a multiple of what is in use.
zig_tools() {
	zig=$cache/zig-0.15.2
	[ -x "$zig/bin/cargo-zigbuild" ] && return 0
	command -v python3 >/dev/null || return 1
	rm -rf "$zig"
	python3 -m venv "$zig" && "$zig/bin/pip" install -q ziglang==0.15.2 cargo-zigbuild==0.24.0
}

has_rustup_target() {
	command -v rustup >/dev/null && timeout 300 rustup target add "$1" >/dev/null 2>&1 &&
		[ -d "$(rustc --print sysroot)/lib/rustlib/$1/lib" ]
}

# The compiler and the source of its standard library must be of one version.
has_debian_pair() {
	if [ ! -x /usr/bin/rustc ] || [ ! -d /usr/lib/rustlib/src/rust/library ]; then
		[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
		apt-get update -qq && apt-get install -y -qq --no-install-recommends \
			rustc-web cargo-web rust-web-src >/dev/null 2>&1 || return 1
	fi
	minor=$(/usr/bin/rustc --version | cut -d. -f2)
	[ "$minor" -ge 89 ] && [ -d /usr/lib/rustlib/src/rust/library ]
}

choose() { # choose TARGET: sets $route
	if [ -z "$route" ]; then
		if ! zig_tools; then
			route=glibc
		elif has_rustup_target "$1"; then
			route=rustup
		elif has_debian_pair; then
			route=debian
		else
			route=glibc
		fi
	elif [ "$route" != glibc ]; then
		zig_tools
		case $route in
		rustup) has_rustup_target "$1" ;;
		debian) has_debian_pair ;;
		*) say "no such route: $route" >&2; exit 2 ;;
		esac
	fi
}

# What cmake, grpcio-sys and the linker must be told.
environment() { # environment ARCH TARGET
	under=$(echo "$2" | tr - _)
	upper=$(echo "$under" | tr a-z A-Z)
	# grpcio-sys looks for g++ on musl unless CXX is set, without the target in its name. It is a
	# file so that a compiler cache can look at it.
	for language in cc c++; do
		wrapper=$cache/$1-$language
		cat >"$wrapper.new" <<-END
			#!/bin/sh
			exec "$zig/bin/cargo-zigbuild" zig $language -- -fno-sanitize=all -target $1-linux-musl "\$@"
		END
		chmod +x "$wrapper.new"
		cmp -s "$wrapper.new" "$wrapper" && rm "$wrapper.new" || mv "$wrapper.new" "$wrapper"
	done
	export CC="$cache/$1-cc" CXX="$cache/$1-c++"
	# A compiler cache must know them by what is in them, and as the clang that they run.
	export CCACHE_COMPILERCHECK=content CCACHE_COMPILERTYPE=clang
	# musl has no off64_t of its own accord; new clang is stricter than this gRPC core.
	# Nothing unwinds: a panic aborts, and the core throws nothing. That is half a megabyte of tables. Nor does it
	# ask for the names of types, or export anything.
	export "CFLAGS_$under=-D_LARGEFILE64_SOURCE -fno-asynchronous-unwind-tables -fno-unwind-tables"
	export "CXXFLAGS_$under=-D_LARGEFILE64_SOURCE -fno-exceptions -fno-rtti -fvisibility=hidden -fvisibility-inlines-hidden -fno-asynchronous-unwind-tables -fno-unwind-tables -Wno-missing-template-arg-list-after-template-kw"
	# For build scripts and procedural macros, which run here.
	host=$(echo "$own-unknown-linux-gnu" | tr - _)
	export "CC_$host=cc" "CXX_$host=c++"
	export "CARGO_TARGET_${upper}_RUSTFLAGS=-C target-feature=+crt-static -C force-unwind-tables=no $3"
	export PATH="$zig/bin:$PATH"
	# What another compiler has built must not be mixed with it.
	export CARGO_TARGET_DIR="$cache/target-$route-${zig##*/}"
}

build() { # build ARCH
	arch=$1
	target=$arch-unknown-linux-musl
	choose "$target"
	say "$arch by the route $route"
	case $route in
	rustup)
		environment "$arch" "$target" ""
		$NICE cargo zigbuild --release --locked $kind $program --target "$target"
		;;
	debian)
		environment "$arch" "$target" "-C link-self-contained=no"
		RUSTC=/usr/bin/rustc CARGO=/usr/bin/cargo RUSTC_BOOTSTRAP=1 PATH="/usr/bin:$PATH" \
			$NICE cargo-zigbuild zigbuild --release --locked $kind $program --target "$target" \
			-Zbuild-std=std,panic_abort
		;;
	glibc)
		if [ "$arch" != "$own" ]; then
			say "neither rustup nor Debian's compiler can build for $arch here" >&2
			return 1
		fi
		target=$arch-unknown-linux-gnu
		say "neither route to musl is open here: a static-pie with glibc instead"
		# Naming the target keeps build scripts from being linked statically.
		CARGO_TARGET_DIR="$cache/target-glibc" RUSTFLAGS="-C target-feature=+crt-static" \
			$NICE cargo build --release --locked $kind $program --target "$target"
		CARGO_TARGET_DIR="$cache/target-glibc"
		;;
	esac
	name=dist/chandler-$arch-linux-${target##*-} built=$program
	if [ $kind = --example ]; then
		name=dist/$program-$arch-linux-${target##*-} built=examples/$program
	fi
	cp "$CARGO_TARGET_DIR/$target/release/$built" "$name.new"
	mv "$name.new" "$name"
	[ $kind = --bin ] || cp "$name" "$cache/$program-$arch"
	say "$name: $(wc -c <"$name") bytes"
}

if command -v ccache >/dev/null; then
	export CMAKE_C_COMPILER_LAUNCHER=ccache CMAKE_CXX_COMPILER_LAUNCHER=ccache CCACHE_NOHASHDIR=1
fi
for arch; do
	case $arch in
	x86_64 | aarch64) (build "$arch") ;;
	*) say "no such architecture: $arch" >&2; exit 2 ;;
	esac
done
