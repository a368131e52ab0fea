#!/bin/sh
# Installs what the build needs and this machine lacks: CMake, a C++ compiler and make for the gRPC
# core, and a compiler cache if it can be had. Says exactly what is missing where it cannot.
#
#   tests/setup.sh --all    also what some tests skip themselves without: a browser and promtool. For machines that only
#                           run tests: the package that has promtool starts a Prometheus where there is a service manager.
set -eu

missing=
for tool in cmake make; do
	command -v "$tool" >/dev/null || missing="$missing $tool"
done
command -v c++ >/dev/null || command -v g++ >/dev/null || missing="$missing g++"

if ! command -v cargo >/dev/null; then
	echo "setup: cargo is missing; install Rust 1.89 or newer, see https://rustup.rs" >&2
	exit 1
fi

# Each with its package in Debian. The tests say that they are skipped where these cannot be had.
wanted=
if [ "${1-}" = --all ] && command -v apt-get >/dev/null; then
	command -v chromium >/dev/null || wanted="$wanted chromium"
	command -v promtool >/dev/null || wanted="$wanted prometheus"
fi

[ -z "$missing$wanted" ] && command -v ccache >/dev/null && exit 0

as_root=
if [ "$(id -u)" != 0 ]; then
	as_root=sudo
	command -v sudo >/dev/null || as_root=none
fi

install() {
	if [ "$as_root" = none ]; then
		return 1
	elif command -v apt-get >/dev/null; then
		$as_root apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
			$as_root apt-get install -y -qq --no-install-recommends "$@"
	elif command -v dnf >/dev/null; then
		$as_root dnf install -y -q $(echo "$@" | sed 's/g++/gcc-c++/')
	elif command -v zypper >/dev/null; then
		$as_root zypper -q install -y $(echo "$@" | sed 's/g++/gcc-c++/')
	elif command -v apk >/dev/null; then
		$as_root apk add -q "$@" linux-headers
	elif command -v pacman >/dev/null; then
		$as_root pacman -Sq --noconfirm $(echo "$@" | sed 's/g++/gcc/')
	else
		return 1
	fi
}

if [ -n "$missing" ]; then
	echo "setup: installing$missing"
	# shellcheck disable=SC2086 # a list of words
	if ! install $missing >/dev/null; then
		echo "setup: cannot install$missing; install them with your package manager and try again" >&2
		exit 1
	fi
fi
# The cache only saves time.
command -v ccache >/dev/null || install ccache >/dev/null 2>&1 || true
# shellcheck disable=SC2086 # a list of words
if [ -n "$wanted" ] && ! install $wanted >/dev/null 2>&1; then
	echo "setup: cannot install$wanted; the tests that need them are skipped"
fi
