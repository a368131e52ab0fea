#!/usr/bin/env python3
"""A small virtual machine lab: boot a real Linux kernel in QEMU with chosen
devices, run commands in it, plug and unplug devices while they run.

As a tool:     lab build; lab run --device usb -- ls /dev; lab play FILE
From Python:   with Lab(["usb"]) as vm: vm.sh("..."); vm.qmp("device_add", {...})
See README.md; standard library only."""
import argparse, base64, glob, json, os, re, shutil, signal, socket, subprocess, sys, tempfile, time

import build
from build import Failed, GuestFailed
from presets import PRESETS

MACHINES = {"amd64": ("qemu-system-x86_64", "q35", "ttyS0"), "arm64": ("qemu-system-aarch64", "virt,gic-version=3", "ttyAMA0")}


# Seconds. A guest that works never needs them all, not even on a machine that has much else to do.
BOOT = 300
PATIENCE = 240


class Lab:
    """One running guest. Use it in a `with` block."""

    def __init__(self, devices=(), share=None, full=False, memory=1024, cpus=2, modules=(),
                 append="", args=(), arch="amd64", stream=None, backwards=False):
        self.devices, self.share, self.full, self.memory, self.cpus = list(devices), share, full, memory, cpus
        self.modules, self.append, self.args, self.stream = list(modules), append, list(args), stream
        self.backwards, self.arch, self.process, self.helpers, self.events, self.count = backwards, arch, None, [], [], 0
        self.boot = 0
        for d in self.devices:
            if d not in PRESETS:
                raise Failed(f"no preset named {d}; see 'lab devices'")

    def command_line(self):
        c, d, (qemu, machine, console) = build.cache(self.arch), self.dir, MACHINES[self.arch]
        # /dev/kvm alone is not enough: some hosts have a KVM that only runs kernels made for it
        kvm = self.arch == "amd64" and os.access("/dev/kvm", os.W_OK) and re.search(r"\b(vmx|svm)\b", open("/proc/cpuinfo").read())
        mods, extra, append = list(self.modules), [], self.append
        for name in sorted(self.devices, key=lambda n: n != "iommu"):      # the IOMMU comes first
            _, options, load, arg, _ = PRESETS[name]
            extra += [a.replace("{dir}", d).replace("{half}", str(self.memory // 2)).replace("{memory}", str(self.memory)) for a in options]
            mods += load.split()
            append += " " + arg
        ports = [a for n in range(1, 7) for a in ("-device", f"pcie-root-port,id=rp{n},chassis={n},slot={n}")]
        kernel = glob.glob(c + "/kernel/boot/vmlinuz-*")[0]
        line = [qemu, "-M", machine + (",kernel-irqchip=split" if kvm else ""), "-accel", "kvm" if kvm else "tcg",
                "-cpu", "host" if kvm else "max", "-m", str(self.memory), "-nodefaults", "-display", "none", "-no-reboot",
                "-kernel", kernel, "-initrd", c + "/initramfs", "-serial", f"file:{d}/console",
                "-qmp", f"unix:{d}/qmp,server=on,wait=off", "-chardev", f"socket,id=agent,path={d}/agent,server=on,wait=off"]
        line += [] if "-smp" in extra else ["-smp", str(self.cpus)]
        if "iommu" in self.devices:
            line += extra[:2]
            extra = extra[2:]
        line += ["-device", "virtio-serial-pci", "-device", "virtserialport,chardev=agent,name=lab"]
        for tag, path, ro in (("modules", build.modules_dir(c), "on"), ("share", self.share, "off")):
            if path:
                line += ["-fsdev", f"local,id={tag},path={os.path.abspath(path)},security_model=none,readonly={ro},multidevs=remap",
                         "-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"]
        if self.full:
            line += ["-drive", f"file={build.image(c)},format=raw,if=virtio,snapshot=on"]
            append += " lab.full=1 systemd.show_status=0 systemd.mask=getty.target systemd.mask=e2scrub_reap.service systemd.mask=systemd-update-utmp.service"
        if self.arch == "amd64" and not kvm:
            append += " no_timer_check"     # where QEMU gets little time, the check fails, and what the kernel does then hangs
        append = f"console={console} panic=-1 loglevel=4 lab.mods={','.join(list(dict.fromkeys(mods))[::-1 if self.backwards else 1])} " + append
        return line + ports + extra + self.args + ["-append", append]

    def __enter__(self):
        self.dir, self.began = tempfile.mkdtemp(prefix="lab"), time.time()
        try:
            if "tpm" in self.devices:
                os.mkdir(self.dir + "/tpm")
                self.helpers.append(subprocess.Popen(
                    ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={self.dir}/tpm", "--ctrl", f"type=unixio,path={self.dir}/tpm.sock"],
                    stderr=subprocess.DEVNULL))
                self._wait(lambda: os.path.exists(self.dir + "/tpm.sock"), PATIENCE, "swtpm did not start")
            self.process = subprocess.Popen(self.command_line(), stdin=subprocess.DEVNULL,
                                            stdout=open(self.dir + "/qemu", "wb"), stderr=subprocess.STDOUT)
            self.qmp_sock, self.agent, self.qmp_buf, self.agent_buf = self._connect("qmp"), self._connect("agent"), b"", b""
            self.qmp("qmp_capabilities")
            self._read_until(rb"@@ready@@\n", BOOT)
            self.boot = time.time() - self.began
            for d in self.devices:
                if PRESETS[d][4] and self.sh(PRESETS[d][4])[1]:
                    raise GuestFailed(f"preset {d}: its setup command failed")
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def __exit__(self, kind, error, trace):
        if kind and issubclass(kind, Failed) and not self.boot:
            tail = lambda f: open(self.dir + "/" + f, errors="replace").read()[-1000:] if os.path.exists(self.dir + "/" + f) else ""
            print("--- last console lines\n" + tail("console") + tail("qemu"), file=sys.stderr)
        for p in filter(None, [self.process] + self.helpers):
            p.kill()
            p.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    def _alive(self):
        if self.process and self.process.poll() is not None:
            raise GuestFailed(f"QEMU ended with code {self.process.returncode}")

    def _wait(self, test, timeout, what):
        end = time.time() + timeout
        while not test():
            self._alive()
            if time.time() > end:
                raise GuestFailed(what)
            time.sleep(0.02)

    def _connect(self, name):
        s = socket.socket(socket.AF_UNIX)
        self._wait(lambda: s.connect_ex(f"{self.dir}/{name}") == 0, PATIENCE, "QEMU did not start")
        return s

    def _read_until(self, pattern, timeout, stream=None):
        end, shown = time.time() + timeout, 0
        while True:
            m = re.search(pattern, self.agent_buf)
            if stream:
                stop = m.start() if m else max(shown, len(self.agent_buf) - 80)   # hold back a possible marker
                stream(self.agent_buf[shown:stop].decode(errors="replace"))
                shown = stop
            if m:
                text, self.agent_buf = self.agent_buf[:m.start()], self.agent_buf[m.end():]
                return text.decode(errors="replace"), m
            self._alive()
            self.agent.settimeout(max(0.01, min(1, end - time.time())))
            try:
                self.agent_buf += self.agent.recv(65536)
            except ConnectionError:
                raise GuestFailed("QEMU ended")
            except TimeoutError:
                if time.time() > end:
                    raise GuestFailed(f"no answer from the guest after {timeout} s")

    def sh(self, command, timeout=PATIENCE, check=False, quiet=False):
        """Run a shell command in the guest: (output, exit code). A background
        command must send its output elsewhere than here (> FILE 2>&1 &)."""
        self.count += 1
        name = f"{os.getpid()}-{self.count}-{os.urandom(4).hex()}"
        self._send(self.agent, f"{name} {base64.b64encode(command.encode()).decode()}\n", timeout)
        out, m = self._read_until(rb"\n@@%s (\d+)@@\n" % name.encode(), timeout, None if quiet else self.stream)
        if check and int(m.group(1)):
            raise GuestFailed(f"exit code {m.group(1).decode()} from: {command}\n{out}")
        return out, int(m.group(1))

    def _send(self, to, text, timeout):
        try:
            to.settimeout(timeout)
            to.sendall(text.encode())
        except (ConnectionError, TimeoutError):
            self._alive()
            raise GuestFailed("QEMU takes no orders")

    def wait_for(self, command, timeout=PATIENCE):
        """Repeat a guest command until it succeeds; give the seconds that took."""
        began = time.time()
        while self.sh(command, quiet=True)[1]:
            if time.time() - began > timeout:
                raise GuestFailed(f"still failing after {timeout} s: {command}")
            time.sleep(0.1)
        return time.time() - began

    def _qmp_read(self, timeout):
        end = time.time() + timeout
        while b"\n" not in self.qmp_buf:
            self._alive()
            self.qmp_sock.settimeout(max(0.01, min(1, end - time.time())))
            try:
                self.qmp_buf += self.qmp_sock.recv(65536)
            except ConnectionError:
                raise GuestFailed("QEMU ended")
            except TimeoutError:
                if time.time() > end:
                    raise
        line, self.qmp_buf = self.qmp_buf.split(b"\n", 1)
        return json.loads(line)

    def qmp(self, command, arguments=None, timeout=PATIENCE, **more):
        """Send a QMP command, for example qmp("device_add", driver="usb-serial", id="s1")."""
        self._send(self.qmp_sock, json.dumps({"execute": command, "arguments": {**(arguments or {}), **more}}) + "\n", timeout)
        while True:
            try:
                answer = self._qmp_read(timeout)
            except TimeoutError:
                raise GuestFailed(f"no answer from QEMU to {command}")
            if "event" in answer:
                self.events.append(answer)
            elif "return" in answer:
                return answer["return"]
            elif "error" in answer:
                raise GuestFailed(f"{command}: {answer['error']['desc']}")

    def hmp(self, line):
        """Send a line to the human monitor of QEMU; give its answer."""
        return self.qmp("human-monitor-command", {"command-line": line})

    def unplug(self, device, timeout=PATIENCE):
        """device_del, then wait until the device is gone; a guest that has not heard of it is asked again."""
        gone = lambda: any(e["event"] == "DEVICE_DELETED" and e["data"].get("device") == device for e in self.events)
        began = asked = time.time()
        self.qmp("device_del", id=device)
        while not gone():
            if time.time() - began > timeout:
                raise GuestFailed(f"{device} is not gone after {timeout} s")
            if time.time() - asked > 10:
                asked = time.time()
                try:
                    self.qmp("device_del", id=device)
                except GuestFailed:
                    pass                                        # it is about to go, or QEMU has ended, which the next read tells
                continue
            try:
                answer = self._qmp_read(1)
            except TimeoutError:
                continue
            self.events += [answer] if "event" in answer else []
        self.events = [e for e in self.events if e.get("data", {}).get("device") != device]

    def uevents(self, pattern=""):
        """Kernel events so far: [seconds, action, subsystem, devtype, devpath, devname]."""
        return [l.split() for l in self.sh("cat /run/uevents", quiet=True)[0].splitlines() if re.search(pattern, l)]


def play(vm, path):
    """Run a scenario file; see README.md."""
    for number, line in enumerate(open(path), 1):
        word, _, rest = line.strip().partition(" ")
        if not word or word.startswith("#") or word == "device:":
            continue
        print(f"[{line.strip()}]", flush=True)
        if word in ("$", "?"):
            vm.sh(rest, check=word == "$")
        elif word == "qmp:":
            name, _, arguments = rest.partition(" ")
            print(json.dumps(vm.qmp(name, json.loads(arguments or "{}"))))
        elif word == "hmp:":
            print(vm.hmp(rest))
        elif word == "unplug:":
            vm.unplug(rest)
        elif word == "wait:":
            print(f"{vm.wait_for(rest):.2f} s")
        elif word == "sleep:":
            time.sleep(float(rest))
        else:
            raise Failed(f"{path}:{number}: unknown step {word}")


def main():
    top = argparse.ArgumentParser(prog="lab", description=__doc__.split("\n\n")[0])
    sub = top.add_subparsers(dest="do", required=True)
    b = sub.add_parser("build", help="fetch the kernel and busybox, make the initramfs")
    b.add_argument("--kernel", default=build.KERNEL, help="Debian kernel package, without its architecture (default %(default)s)")
    b.add_argument("--full", action="store_true", help="also a Debian guest with systemd and udev")
    b.add_argument("--extra", action="store_true", help="also kernel modules that Debian leaves out, from its kernel source")
    b.add_argument("--arch", choices=MACHINES, default="amd64")
    sub.add_parser("devices", help="list the presets")
    for name, what in (("run", "boot, run one command, power off"), ("play", "boot, run a scenario file, power off")):
        p = sub.add_parser(name, help=what)
        p.add_argument("--device", action="append", default=[], help="a preset; may be given more than once")
        p.add_argument("--module", action="append", default=[], help="a kernel module to load")
        p.add_argument("--share", help="a directory of this machine, seen as /share in the guest (writable)")
        p.add_argument("--full", action="store_true", help="boot the Debian guest")
        p.add_argument("--arch", choices=MACHINES, default="amd64")
        p.add_argument("--memory", type=int, default=1024, help="MiB")
        p.add_argument("--append", default="", help="more kernel arguments")
        p.add_argument("--qemu", action="append", default=[], help="one more QEMU argument")
        p.add_argument("--timeout", type=float, default=300)
        p.add_argument("rest", nargs=argparse.REMAINDER, help="-- COMMAND..., or the scenario file")
    a = top.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))            # so that QEMU ends with us
    try:
        if a.do == "build":
            return build.build(a.kernel, a.full, a.extra, a.arch)
        if a.do == "devices":
            return print("\n".join(f"{n:12} {p[0]}" for n, p in PRESETS.items()))
        rest = a.rest[1:] if a.rest[:1] == ["--"] else a.rest
        if a.do == "play":
            a.device += [l.split()[1] for l in open(rest[0]) if l.startswith("device: ")]
        with Lab(a.device, a.share, a.full, a.memory, modules=a.module, append=a.append, args=a.qemu, arch=a.arch,
                 stream=lambda t: print(t, end="", flush=True)) as vm:
            print(f"lab: up in {vm.boot:.1f} s", file=sys.stderr)
            return play(vm, rest[0]) if a.do == "play" else vm.sh(" ".join(rest), timeout=a.timeout)[1]
    except (Failed, subprocess.CalledProcessError, OSError) as e:
        print("lab:", e, file=sys.stderr)
        return 125


if __name__ == "__main__":
    sys.exit(main())
