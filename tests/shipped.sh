#!/bin/bash
# Tries what is shipped, where it is meant to run, against the simulated kubelet.
#
#   tests/shipped.sh static PROGRAM KUBELET_SIM    in a root with nothing else in it
#   tests/shipped.sh image ARCHIVE KUBELET_SIM     in a container, with the DaemonSet's rights
#
# Both need root; the second runc and python3. Without them it says so, and that is no failure. A
# program for another architecture is run by qemu-user-static, which is installed on Debian (binfmt
# is not needed).
set -euo pipefail

# Mounts of its own, which go with it whatever happens.
if [ -z "${SHIPPED_INSIDE:-}" ]; then
	if [ "$(id -u)" != 0 ] || ! unshare --mount true 2>/dev/null; then
		echo "shipped: skipped: it takes root, and the right to mount"
		exit 0
	fi
	SHIPPED_INSIDE=1 exec unshare --mount --propagation private "$0" "$@"
fi

kind=$1 shipped=$2 simulator=$3
here=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
pids=()
mounts=()

finish() {
	status=$?
	for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
	[ "$kind" != image ] || runc --root "$work/runc" delete --force chandler-test 2>/dev/null || true
	for ((at = ${#mounts[@]} - 1; at >= 0; at--)); do umount -l "${mounts[at]}"; done
	[ "$status" = 0 ] || { echo "shipped: what it said:"; cat "$work/log" 2>/dev/null || true; }
	rm -rf --one-file-system "$work"
}
trap finish EXIT
say() { echo "shipped: $*"; }
fail() { echo "shipped: $*" >&2; exit 1; }
skip() { say "skipped: $*"; exit 0; }

until_true() { # until_true WHAT COMMAND...: within a minute
	what=$1
	shift
	for _ in $(seq 600); do
		if "$@" >/dev/null 2>&1; then return 0; fi
		sleep 0.1
	done
	fail "not in time: $what"
}

emulator() { # emulator ARCH: what runs its programs here
	command -v "qemu-$1-static" && return 0
	[ -e /etc/debian_version ] && command -v apt-get >/dev/null || return 1
	{ apt-get update -qq && apt-get install -y -qq --no-install-recommends qemu-user-static; } >/dev/null 2>&1
	command -v "qemu-$1-static"
}

plugins=$work/plugins
mkdir -p "$plugins"
cat >"$work/config.yaml" <<-END
	version: v1
	resources:
	  - name: example.com/null
	    discovery: { nodes: [/dev/null] }
	  - name: example.com/kvm
	    discovery: { nodes: [/dev/kvm] }
	    sharing: { replicas: 2 }
END

# The kubelet, which is told what to do line by line.
mkfifo "$work/commands"
"$simulator" serve --dir "$plugins" <"$work/commands" >"$work/events" 2>>"$work/log" &
pids+=($!)
exec 3>"$work/commands"
ask() { # ask COMMAND: the kubelet's answer
	local id=$RANDOM$RANDOM
	echo "{\"id\":\"$id\",$1}" >&3
	for _ in $(seq 100); do
		if grep "\"$id\"" "$work/events"; then return 0; fi
		sleep 0.05
	done
	return 1
}
offers() { ask '"cmd":"capacity"' | grep -q 'example.com/null'; }

case $kind in
static)
	# No interpreter and no library to load: nothing else is needed to start it.
	! readelf -lW "$shipped" | grep -q INTERP || fail "$shipped wants an interpreter"
	! readelf -dW "$shipped" | grep -q NEEDED || fail "$shipped wants libraries"
	size=$(wc -c <"$shipped")
	[ "$size" -lt 5500000 ] || fail "$shipped has $size bytes"

	runner=() how=
	machine=$(readelf -hW "$shipped" | sed -n 's/.*Machine: *//p')
	case $machine in
	*X86-64*) arch=x86_64 ;;
	*AArch64*) arch=aarch64 ;;
	*) fail "a program for $machine" ;;
	esac
	root=$work/root
	mkdir -p "$root"/{dev,sys,proc,plugins}
	cp "$shipped" "$root/chandler"
	cp "$work/config.yaml" "$root/config.yaml"
	if [ "$arch" != "$(uname -m)" ]; then
		emulator=$(emulator "$arch") || skip "$arch: $size bytes, but no qemu-$arch-static to run it"
		cp "$emulator" "$root/emulator"
		runner=(/emulator)
		how=" under emulation, which is part of it"
	fi
	touch "$root/dev/urandom" "$root/dev/null"
	mount --bind /dev/urandom "$root/dev/urandom" && mounts+=("$root/dev/urandom")
	# The device that is offered.
	mount --bind /dev/null "$root/dev/null" && mounts+=("$root/dev/null")
	mount --rbind /sys "$root/sys" && mount --make-rslave "$root/sys" && mounts+=("$root/sys")
	mount -t proc proc "$root/proc" && mounts+=("$root/proc")
	mount --bind "$plugins" "$root/plugins" && mounts+=("$root/plugins")
	# The shell becomes the program: one process, which can be asked for its memory and be ended.
	chroot "$root" "${runner[@]}" /chandler run --config /config.yaml --kubelet-dir /plugins \
		>>"$work/log" 2>&1 &
	pid=$!
	pids+=("$pid")
	until_true "the kubelet has the resource" offers
	ask '"cmd":"allocate","resource":"example.com/null"' | grep -q '"ok":true' ||
		fail "the kubelet was given nothing"
	chroot "$root" "${runner[@]}" /chandler probe --config /config.yaml --kubelet-dir /plugins \
		>"$work/probe" || fail "not serving: $(cat "$work/probe")"
	sleep 1
	memory=$(sed -n 's/^VmRSS:[[:space:]]*//p' "/proc/$pid/status")
	own=$(sed -n 's/^RssAnon:[[:space:]]*//p' "/proc/$pid/status")
	threads=$(sed -n 's/^Threads:[[:space:]]*//p' "/proc/$pid/status")
	kill "$pid"
	wait "$pid" || fail "it ended with $?"
	say "$arch: static, $size bytes; idle $memory$how, of which its own $own; $threads threads"
	;;
image)
	command -v runc >/dev/null || skip "no runc"
	command -v python3 >/dev/null || skip "no python3"
	mkdir -p "$work/bundle/rootfs" "$work/etc"
	cp "$work/config.yaml" "$work/etc/config.yaml"
	python3 "$here/tests/unpack.py" "$shipped" "$work/bundle" "$plugins" "$work/etc"
	files=$(cd "$work/bundle/rootfs" && find . -type f)
	[ "$files" = ./usr/bin/chandler ] || fail "there is more in the image: $files"
	runc --root "$work/runc" run --bundle "$work/bundle" chandler-test >>"$work/log" 2>&1 &
	pids+=($!)
	until_true "the kubelet has the resource" offers
	ask '"cmd":"allocate","resource":"example.com/null"' | grep -q '"ok":true' ||
		fail "the kubelet was given nothing"
	in_it() { runc --root "$work/runc" exec chandler-test /usr/bin/chandler "$@"; }
	in_it probe >"$work/probe" || fail "not ready: $(cat "$work/probe")"
	in_it probe --live >/dev/null || fail "not alive"
	in_it discover >"$work/discovered"
	grep -q /dev/null "$work/discovered" || fail "it sees no devices: $(cat "$work/discovered")"
	# Another's sockets, out of sight in the same directory, are no concern of its health: neither
	# when they answer nor when they do not. For who sees both, they are.
	sed 's|example.com/|example.com/other-|' "$work/config.yaml" >"$work/other.yaml"
	outside=$work/bundle/rootfs/usr/bin/chandler
	"$outside" run --config "$work/other.yaml" --kubelet-dir "$plugins" >>"$work/log" 2>&1 &
	other=$!
	pids+=("$other")
	offers_other() { ask '"cmd":"capacity"' | grep -q 'example.com/other-null'; }
	until_true "the kubelet has the other's resource" offers_other
	in_it probe >"$work/probe" || fail "not ready beside another: $(cat "$work/probe")"
	[ "$(wc -l <"$work/probe")" = 2 ] || fail "it has asked others: $(cat "$work/probe")"
	kill -STOP "$other"
	in_it probe >/dev/null && in_it probe --live >/dev/null || fail "another that is stuck makes it unready"
	! "$outside" probe --live --kubelet-dir "$plugins" >/dev/null || fail "a stuck process passes for alive"
	kill -CONT "$other"
	kill "$other"
	wait "$other" || fail "the other ended with $?"
	# The kubelet starts again: served again.
	ask '"cmd":"restart"' | grep -q '"ok":true' || fail "not registered with the next kubelet"
	until_true "ready again" in_it probe
	pid=$(runc --root "$work/runc" state chandler-test | sed -n 's/.*"pid": \([0-9]*\).*/\1/p')
	grep -E '^Cap(Eff|Prm|Bnd|Inh|Amb):[[:space:]]*0+$' "/proc/$pid/status" | [ "$(wc -l)" = 5 ] ||
		fail "it has capabilities: $(grep ^Cap "/proc/$pid/status")"
	grep -q '^NoNewPrivs:[[:space:]]*1' "/proc/$pid/status" || fail "it could gain privileges"
	memory=$(sed -n 's/^VmRSS:[[:space:]]*//p' "/proc/$pid/status")
	runc --root "$work/runc" kill chandler-test TERM
	until_true "it has stopped" bash -c "! kill -0 $pid"
	[ -z "$(find "$plugins" -name 'chandler-*')" ] || fail "it has left sockets"
	say "image: $(wc -c <"$shipped") bytes; registered without a capability; idle $memory"
	;;
*) fail "no such thing: $kind" ;;
esac
exec 3>&-
