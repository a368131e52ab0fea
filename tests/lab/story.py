"""What a story may say: a node is a guest in which Chandler and a simulated kubelet run.

A story is a file in stories/ whose name is the claim that it makes:

    DEVICES = ["usb"]                     # presets that the guest boots with
    GUEST = {"memory": 2048}              # what else is special of it (see Lab); a list boots it once for each
    X86 = "why"                           # only where it cannot be told on another architecture
    CONFIG = "resources: ..."             # Chandler's configuration; "version: v1" is added
    def story(node):                      # what happens, and what the kubelet must see
        node.usb_serial("a", 1, "LAB0001")
        node.wait_for("test -c /dev/ttyUSB0")
        node.expect("example.com/serial", "LAB0001 Healthy")

Who fails is told by the exception. What waits for the guest itself (wait_for, sh, unplug, `given`) raises
GuestFailed: the story is told once more. What waits for Chandler or the kubelet's list (expect, settle,
must) raises Failed, and so does an assertion: the story does not hold.
"""
import json, os, re, time

from lab import BOOT, Lab
from build import Failed, GuestFailed

PATIENCE = 180      # seconds; a story that passes never waits for them all
STARVED = 3         # seconds for an answer that takes a fiftieth of it where there is nothing else to do
QUIET = 2           # seconds without an event of the kernel, after which a guest has come to rest


class Node(Lab):
    """A guest with Chandler and a simulated kubelet; a Lab in everything else."""

    def __init__(self, devices, config, share, say=print, **more):
        super().__init__(devices, share=share, **more)
        self.say, self.running, self.began_at = say, False, 0.0
        with open(share + "/config.yaml", "w") as f:
            f.write("version: v1\n" + config)

    def __enter__(self):
        super().__enter__()
        try:
            # A Debian guest has links where these have directories, and the same libraries, which are in use.
            self.sh("tar -C /share/root -cf - . | tar -C / -xf - --skip-old-files --keep-directory-symlink" if self.full else "cp -r /share/root/. /", check=True)
        except BaseException:
            self.__exit__(*[None] * 3)
            raise
        return self

    def trouble(self):
        """What is wrong with the guest itself, so that nothing can be said of Chandler; or nothing."""
        try:
            if not self.sh("dmesg | grep -E 'Oops: |kernel BUG at|Kernel panic'", quiet=True)[1]:
                return "its kernel broke down"
            began = time.time()
            self.sh("for it in 1 2 3 4 5; do sleep 0; done", quiet=True)
            if time.time() - began > STARVED or self.boot > BOOT / 3:
                return f"it is starved of time: up after {self.boot:.0f} s, and an answer takes {time.time() - began:.1f} s"
        except GuestFailed as err:
            return str(err)
        return None

    # Chandler and the kubelet

    def start(self, *flags, pods=False):
        """Starts the kubelet and Chandler; with `pods`, the kubelet says which pod holds what."""
        self.start_kubelet("/run/kubelet", pods)
        self._run(flags)

    def restart(self, *flags):
        """Ends Chandler and starts it again beside the same kubelet; waits until each resource is registered anew."""
        before = {it["resource"]: self.registrations(it["resource"]) for it in self.kubelet() if it["event"] == "registered"}
        self.stop()
        self._run(flags)
        for resource, n in before.items():
            self._until(lambda: self.registrations(resource) > n, f"{resource} to be registered after the restart")

    def resume(self, *flags):
        """Starts Chandler again, which was stopped, beside the same kubelet."""
        self._run(flags)

    def _run(self, flags):
        self.sh(f"chandler run --config /share/config.yaml --kubelet-dir /run/kubelet {' '.join(flags)} >> /share/chandler 2>&1 & echo $! > /run/chandler.pid", check=True)
        self.running = True

    def start_kubelet(self, plugins, pods=False):
        more = "--pod-resources /run/pod-resources/kubelet.sock" if pods else ""
        # Each line gets the guest's time. On the share the host sees it at once.
        self.sh(f"mkdir -p {plugins} /run/pod-resources; mkfifo /run/kubelet.in 2>/dev/null; (while sleep 1000; do :; done > /run/kubelet.in) >/dev/null 2>&1 &\n"
                f"(kubelet-sim serve --dir {plugins} {more} < /run/kubelet.in 2>/share/kubelet.err |"
                " while read -r line; do read -r up _ </proc/uptime; echo \"$up $line\"; done > /share/kubelet) >/dev/null 2>&1 &", check=True)
        self._until(lambda: any(it["event"] == "listening" for it in self.kubelet()), "the kubelet to listen")

    def install(self):
        """Installs the Debian package of this very program, or what would be in it where the package puts it."""
        if self.is_packaged():
            out, code = self.sh("rm /usr/bin/chandler; dpkg -i /share/package/deb/*.deb", quiet=True)
            if code:
                raise Failed("the package cannot be installed\n" + out)
            return
        self.sh("install -D -m 644 /share/package/chandler.service /usr/lib/systemd/system/chandler.service;"
                "install -D -m 644 /share/package/config.yaml /etc/chandler/config.yaml; systemctl daemon-reload", check=True)
        self.must("systemctl start chandler", "start", patience=0)

    def is_packaged(self):
        return os.path.isdir(self.share + "/package/deb")

    def unit(self, name):
        """A property of the unit, as systemd shows it."""
        return self.sh(f"systemctl show -p {name} --value chandler", quiet=True, check=True)[0].strip()

    def journal(self, options=""):
        """What Chandler has said to the journal since the guest is up: (priority, text) each."""
        out = self.sh(f"journalctl -b -u chandler _COMM=chandler -o json --output-fields=PRIORITY,MESSAGE {options}", quiet=True, check=True)[0]
        return [(int(it["PRIORITY"]), it["MESSAGE"]) for it in map(json.loads, out.splitlines())]

    def configure(self, text):
        """Writes the configuration of the installed Chandler."""
        with open(self.share + "/config.yaml", "w") as f:
            f.write("version: v1\n" + text)
        self.sh("cp /share/config.yaml /etc/chandler/.new && mv /etc/chandler/.new /etc/chandler/config.yaml", check=True)

    def stop(self):
        """Ends Chandler as an operator would; it must end well."""
        self.must("kill $(cat /run/chandler.pid)", "be there to be ended", patience=0)
        self.must("! test -d /proc/$(cat /run/chandler.pid)", "end")
        self.running = False

    def must(self, command, what, patience=PATIENCE):
        """Repeats a command in the guest until it succeeds; it is Chandler's fault if it does not."""
        began = time.time()
        while True:
            out, code = self.sh(command, quiet=True)
            if not code:
                return
            if time.time() - began > patience:
                raise Failed(f"Chandler did not {what} within {patience} s: {command}\n{out}")
            time.sleep(0.1)

    def discover(self):
        """What `chandler discover` says: {resource: {id: device}}, and its problems as text."""
        out, code = self.sh("timeout 100 chandler discover --config /share/config.yaml -o json 2>/share/discover.err", quiet=True)
        if code:
            raise Failed(f"chandler discover ended with code {code}\n" + read(self.share + "/discover.err"))
        found = json.loads(out)["resources"]
        problems = [f"{it['name']}: {p['at']}: {p['what']}" for it in found for p in it["problems"]]
        return {it["name"]: {d["id"]: d for d in it["devices"]} for it in found}, problems

    def kubelet(self):
        """Everything that the kubelet saw, with the guest's uptime as `up`."""
        seen = []
        for line in read(self.share + "/kubelet").split("\n")[:-1]:
            up, _, text = line.partition(" ")
            it = json.loads(text)
            if "event" in it:
                seen.append({**it, "up": float(up)})
        return seen

    def ask(self, cmd, **more):
        """Has the kubelet do something (see tests/kubelet/README.md); gives what came of it."""
        self.asked = getattr(self, "asked", 0) + 1
        self.sh(f"echo '{json.dumps({'cmd': cmd, 'id': self.asked, **more})}' > /run/kubelet.in", check=True)

        def answers():
            lines = [it.partition(" ")[2] for it in read(self.share + "/kubelet").split("\n")[:-1]]
            return [it for it in map(json.loads, lines) if "event" not in it and it.get("id") == self.asked]
        self._until(answers, f"the kubelet to answer {cmd}")
        if not answers()[0]["ok"]:
            raise Failed(f"{cmd} {more}: {answers()[0]['error']}")
        return answers()[0].get("result")

    def hold(self, pod, resource):
        """Starts a pod with one device of a resource; gives the device's id and the nodes that the pod has."""
        done = self.ask("allocate", pod=f"{pod}/lab/{pod}", containers=[{"name": "main", "limits": {resource: 1}}])["containers"]["main"]
        return done["devices"][resource][0], [it["PathOnHost"] for it in done["options"]["Devices"]]

    def gives(self, resource, *nodes):
        """A pod gets one device of a resource with just these nodes, and ends; gives the device's id and the pod's environment."""
        self.takers = getattr(self, "takers", 0) + 1
        taker = f"taker-{self.takers}"      # a kubelet knows a pod for a while after its end
        done = self.ask("allocate", pod=f"{taker}/lab/{taker}", containers=[{"name": "main", "limits": {resource: 1}}])["containers"]["main"]
        given = sorted(it["PathOnHost"] for it in done["options"]["Devices"])
        same(f"what a pod gets of {resource}", given, sorted(nodes))
        self.release(taker)
        return done["devices"][resource][0], {it["Name"]: it["Value"] for it in done["options"]["Envs"]}

    def refused(self, pod, resource):
        """Why a pod with one device of a resource does not start."""
        try:
            self.hold(pod, resource)
        except Failed as err:
            return str(err)
        raise Failed(f"{pod} has started")

    def release(self, pod):
        """Ends a pod."""
        self.ask("remove", pod=f"{pod}/lab/{pod}")

    def newcomer(self, resource, known):
        """Waits until a device that is not among `known` ids is healthy, and gives its id. Those must stay on the list."""
        self._until(lambda: set(self.healthy(resource)) - set(known), lambda: f"a device of {resource} beside {known}; the list is {self.list(resource)[0]}")
        new = sorted(set(self.healthy(resource)) - set(known))
        listed = [it.split(" ")[0] for it in self.list(resource)[0].splitlines()]
        if len(new) > 1 or set(known) - set(listed):
            raise Failed(f"one device has come to {resource} beside {known}, and the list is {self.list(resource)[0]}")
        return new[0]

    def list(self, resource):
        """The kubelet's list of a resource, a device a line, and when it got it."""
        text, up = None, 0.0
        for it in self.kubelet():
            if it["event"] == "devices" and it["resource"] == resource:
                lines = sorted(device_line(d) for d in it["devices"])
                if text != "\n".join(lines):
                    text, up = "\n".join(lines), it["up"]
        return text, up

    def lists(self, resource):
        """Each list of a resource that the kubelet was told, in order, as {id: health}."""
        return [{d["id"]: d["health"] for d in it["devices"]} for it in self.kubelet() if it["event"] == "devices" and it["resource"] == resource]

    def registrations(self, resource):
        """How often a resource has registered."""
        return sum(it["event"] == "registered" and it["resource"] == resource for it in self.kubelet())

    def expect(self, resource, *lines, patience=PATIENCE):
        """Waits until the kubelet's list of a resource is exactly this; gives the guest's uptime then."""
        wanted = "\n".join(sorted(lines))
        self._until(lambda: self.list(resource)[0] == wanted,
                    lambda: f"the list of {resource} to be\n    {lines}\n  it is\n    {(self.list(resource)[0] or 'nothing').splitlines()}", patience)
        return self.list(resource)[1]

    def expect_after(self, what, act, resource, *lines, event=None, given=None):
        """Makes something happen, waits for the list, and prints how long both took.

        `event` is a pattern of the kernel's event (see Lab.uevents) from which the time is taken;
        without one it is taken from the act. `given` holds once the guest's kernel has done what it
        was told, before which Chandler can know nothing: a command that succeeds, or a function."""
        before = len(self.uevents(event)) if event else 0
        acted = self.uptime()
        act()
        if given:
            self.wait_for(given) if isinstance(given, str) else self.wait_until(given, what)
        listed = self.expect(resource, *lines)
        seen = self.uevents(event)[before:] if event else []
        since = float(seen[0][0]) if seen else acted
        kernel = f", the kernel's event {since - acted:.2f} s after the act" if seen else ""
        if event and not seen:
            kernel = ", NO KERNEL EVENT"
        self.say(f"{what}: listed after {max(0.0, listed - since):.2f} s{kernel}")
        return listed - since

    def settle(self, truth):
        """Waits until the kubelet's lists are what the guest shows, and stay so while its kernel is at rest.

        `truth` reads the guest and gives {resource: its healthy ids}. What is on a list beside them must
        be Unhealthy. Gives the last truth, and the guest's uptime when the kernel and the list were last seen to change."""
        end, before, since, changed = time.time() + PATIENCE, None, time.time(), 0.0
        while True:
            now = self.sh("cat /sys/kernel/uevent_seqnum", quiet=True)[0].strip(), truth()
            wrong = {it: ids for it, ids in now[1].items() if self.healthy(it) != sorted(ids)}
            if now != before:
                before, since, changed = now, time.time(), self.uptime()
            elif not wrong and time.time() - since > QUIET:
                return now[1], changed, max(self.list(it)[1] for it in now[1])
            if time.time() > end and time.time() - since > PATIENCE / 2:
                raise Failed(f"the guest has been at rest for {PATIENCE / 2:.0f} s and shows\n    {wrong}\n  the kubelet has\n    "
                             f"{ {it: self.list(it)[0] for it in wrong} }")
            if time.time() > end + PATIENCE:
                raise GuestFailed("the guest does not come to rest")
            time.sleep(0.1)

    def wait_until(self, test, what, patience=PATIENCE):
        """Waits for something of the guest itself."""
        end = time.time() + patience
        while not test():
            if time.time() > end:
                raise GuestFailed(f"not within {patience} s: {what}")
            time.sleep(0.1)

    def rest(self):
        """Waits until the kernel has had no event for a while."""
        self.wait_for(f"a=$(cat /sys/kernel/uevent_seqnum); sleep {QUIET}; test $a = $(cat /sys/kernel/uevent_seqnum)")

    def healthy(self, resource):
        """The ids that are healthy on the kubelet's list, sorted."""
        lines = (self.list(resource)[0] or "").splitlines()
        return sorted(it.split(" ")[0] for it in lines if it.split(" ")[1] == "Healthy")

    def uptime(self):
        return float(self.sh("cat /proc/uptime", quiet=True)[0].split()[0])

    # the hardware

    def usb(self, driver, id, port, bus="usb.0", **more):
        """Plugs a USB device into a port of the controller of the preset "usb", or of another controller."""
        self.qmp("device_add", driver=driver, id=id, bus=bus, port=str(port), **more)

    def usb_serial(self, id, port, serial, bus="usb.0"):
        """An FTDI adapter, as QEMU pretends it; /dev/ttyUSB*. An empty serial number is none."""
        self._once(f"tty-{id}", lambda name: self.qmp("chardev-add", id=name, backend={"type": "null", "data": {}}))
        self.usb("usb-serial", id, port, bus, chardev=f"tty-{id}", serial=serial, **{"always-plugged": True})

    def usb_disk(self, id, port, serial):
        """A USB stick; /dev/sd*."""
        self.disk(f"disk-{id}")
        self.usb("usb-storage", id, port, drive=f"disk-{id}", serial=serial)

    def serial_ports(self):
        """What the guest's sysfs shows of USB serial adapters: {serial number: node}."""
        out = self.sh("for it in /sys/bus/usb/devices/*/serial; do for tty in ${it%/serial}/*/ttyUSB*; do"
                      " test -e $tty && test -c \"/dev/${tty##*/}\" && echo $(cat $it) /dev/${tty##*/}; done; done 2>/dev/null", quiet=True)[0]
        return dict(it.split() for it in out.splitlines() if len(it.split()) == 2)

    def usb_ttys(self):
        """What the guest's sysfs shows of USB serial ports, one a node: {the kernel's name of the interface: node}."""
        out = self.sh("for it in /sys/class/tty/tty[UA]*; do test -c /dev/${it##*/} && echo $(readlink -f $it/device) /dev/${it##*/}; done 2>/dev/null", quiet=True)[0]
        return {re.search(r"/([0-9]+-[0-9.]+:[0-9.]+)(?:/|$)", at).group(1): node for at, node in map(str.split, out.splitlines()) if ":" in at.rsplit("usb", 1)[-1]}

    def pull(self, address, ghost=False):
        """Takes the card at a PCI address away without a word to its driver (needs the preset "pciehp").

        A ghost stays in sysfs, but its registers read as all ones."""
        port = self.sh(f"basename $(dirname $(readlink -f /sys/bus/pci/devices/{address}))", quiet=True, check=True)[0].strip()
        self.sh(f"slot-off {port}" + (" ghost" if ghost else ""), check=True)

    def disk(self, name, mib=16):
        """Something for a controller to store on."""
        self._once(name, lambda name: self.qmp("blockdev-add", {"driver": "null-co", "node-name": name, "size": mib << 20, "read-zeroes": True}))

    def pci(self, driver, id, slot, **more):
        """Plugs a card into root port rp1 … rp6."""
        self.qmp("device_add", driver=driver, id=id, bus=f"rp{slot}", **more)

    def nvme(self, id, slot, serial):
        self.disk(f"disk-{id}", 64)
        self.pci("nvme", id, slot, drive=f"disk-{id}", serial=serial)

    def nvme_kept(self, id, slot, serial):
        """One on which what is written is there afterwards."""
        path = f"{self.share}/{id}"
        with open(path, "wb") as file:
            file.truncate(64 << 20)
        self.qmp("blockdev-add", {"driver": "file", "node-name": f"kept-{id}", "filename": path})
        self.pci("nvme", id, slot, drive=f"kept-{id}", serial=serial)

    def _once(self, name, make):
        self.made = getattr(self, "made", set())
        if name not in self.made:
            make(name)
            self.made.add(name)

    # waiting and failing

    def _until(self, test, what, patience=PATIENCE):
        end = time.time() + patience
        while not test():
            self._alive()
            if time.time() > end:
                raise Failed(f"waited {patience} s in vain for {what() if callable(what) else what}")
            time.sleep(0.02)

    def check_alive(self):
        """A story ends well only if Chandler is still there and never complained of itself."""
        if "panicked" in read(self.share + "/chandler"):
            raise Failed("Chandler panicked")
        if self.running and self.sh("test -d /proc/$(cat /run/chandler.pid)", quiet=True)[1]:
            raise Failed("Chandler is gone")

    def report(self):
        """All that helps to find out why a story failed."""
        parts = [("chandler", read(self.share + "/chandler")), ("kubelet", read(self.share + "/kubelet") + read(self.share + "/kubelet.err"))]
        try:
            if self.full:
                parts.append(("unit", self.sh("journalctl -b -u chandler --no-pager | tail -20; systemctl status --no-pager chandler | head -12", quiet=True)[0]))
            parts += [("kernel events", self.sh("tail -12 /run/uevents", quiet=True)[0]), ("kernel log", self.sh("dmesg | tail -8", quiet=True)[0])]
        except Exception as err:
            parts.append(("the guest does not answer", str(err)))
        return "\n".join(f"--- {name}\n{text[-2500:]}" for name, text in parts)


def device_line(device):
    """As the tests of the simulated kubelet write it: `gpu0 Healthy`, or `gpu0 Healthy numa=0,1`."""
    numa = ",".join(str(it) for it in device.get("numa_nodes") or [])
    return f"{device['id']} {device['health']}" + (f" numa={numa}" if numa else "")


def read(path):
    try:
        with open(path, errors="replace") as f:
            return f.read()
    except FileNotFoundError:
        return ""


def same(what, found, wanted):
    if found != wanted:
        raise Failed(f"{what}: found {found!r}, not {wanted!r}")
