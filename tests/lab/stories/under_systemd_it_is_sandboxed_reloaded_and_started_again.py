"""The package's unit, in a Debian guest with systemd and udev: from its installation to its removal."""
DEVICES = ["usb", "e1000e"]
GUEST = {"full": True}
X86 = "the Debian guest is made for x86_64 only"
CONFIG = ""
SERIAL = """
resources:
  - name: example.com/serial
    discovery: { nodes: ["/dev/ttyUSB*"] }
"""
NIC = """  - name: example.com/nic
    discovery: { sysfs: class/net, match: [{ key: pci.device, operator: In, values: ["10d3"] }] }
    health: { interval: 5s, timeout: 5s, recovery: manual, kernelLog: [{ pattern: 'dead: (?P<address>[0-9a-f:.]+)', match: { address: pci.address } }] }
"""
PLUGINS = "/var/lib/kubelet/device-plugins"
PREPARED = """    preStart: [{ write: { attribute: device/driver_override, value: e1000e } }]
"""
DROP_IN = "/run/systemd/system/chandler.service.d"


def story(node):
    node.install()
    node.must("test $(systemctl is-active chandler) = active", "be active once it is installed", patience=0)
    node.start_kubelet(PLUGINS)
    node.expect("example.com/null", "null Healthy")

    # It runs as nobody who could do harm.
    status = dict(it.split(":\t", 1) for it in node.sh(f"cat /proc/{node.unit('MainPID')}/status", check=True)[0].splitlines() if ":\t" in it)
    for name, wanted in (("CapEff", "0" * 16), ("CapBnd", "0" * 16), ("NoNewPrivs", "1"), ("Seccomp", "2")):
        assert status[name] == wanted, (name, status[name])

    # Another configuration, in which it says nothing of the old one.
    pid = node.unit("MainPID")
    node.configure(SERIAL + NIC)
    node.must("systemctl reload chandler", "be told to reload", patience=0)
    node.expect("example.com/nic", "0000:04:00.0 Healthy")
    node.expect("example.com/serial")
    node.must("test \"$(systemctl show -p StatusText --value chandler)\" = 'resources=2 served'", "tell its status")
    # Both ways by which it hears of hotplug lead through the sandbox: netlink, and inotify on /dev.
    node.expect_after("adapter plugged", lambda: node.usb_serial("a", 1, "LAB0001"), "example.com/serial", "LAB0001 Healthy",
                      event=" add tty - ", given=lambda: list(node.serial_ports()) == ["LAB0001"])
    node.expect_after("adapter unplugged", lambda: node.unplug("a"), "example.com/serial", "LAB0001 Unhealthy",
                      event=" remove tty - ", given=lambda: not node.serial_ports())
    # A mistake changes nothing.
    node.configure("resources: 7\n")
    node.must("systemctl reload chandler", "be told to reload", patience=0)
    node.must("journalctl -b -u chandler -p err | grep 'the configuration stays as it was'", "complain of the configuration")
    assert node.unit("MainPID") == pid and node.unit("ActiveState") == "active", "a reload started it again"
    said = node.journal()
    levels = {level for level, _ in said}
    assert {3, 6} <= levels <= {3, 4, 6}, f"priorities {levels}"
    assert all(level == 3 for level, text in said if "stays as it was" in text), said
    assert not any("\n" in text or text.startswith("<") for _, text in said), said

    # The kernel's log, with the drop-in that allows it. The watchdog of the unit itself takes half a minute.
    node.configure(SERIAL + NIC)
    node.sh(f"install -D -m 644 /share/package/kernel-log.conf {DROP_IN}/kernel-log.conf;"
            f"printf '[Service]\\nWatchdogSec=10s\\n' > {DROP_IN}/short.conf; systemctl daemon-reload", check=True)
    before = node.registrations("example.com/nic")
    node.must("systemctl restart chandler", "start again", patience=0)
    node._until(lambda: node.registrations("example.com/nic") > before, "a registration after the restart")
    node.expect("example.com/nic", "0000:04:00.0 Healthy")
    node.expect_after("a line in the kernel's log", lambda: node.sh("modprobe ttyprintk; echo 'dead: 0000:04:00.0' > /dev/ttyprintk", check=True),
                      "example.com/nic", "0000:04:00.0 Unhealthy")

    # What is done to devices, with the drop-in that allows it; what the kernel is told elsewhere stays as it is.
    node.must("chandler uncordon 0000:04:00.0", "be told that the card is mended")
    node.configure(SERIAL + NIC + PREPARED)
    node.must("systemctl reload chandler", "be told to reload", patience=0)
    node._until(lambda: [it for it in node.kubelet() if it["event"] == "registered" and it["pre_start_required"]], "a registration with preStart")
    node.expect("example.com/nic", "0000:04:00.0 Healthy")
    assert "Read-only file system" in node.refused("early", "example.com/nic")
    node.release("early")
    node.sh(f"install -m 644 /share/package/actions.conf {DROP_IN}/actions.conf; systemctl daemon-reload", check=True)
    before = node.registrations("example.com/nic")
    node.must("systemctl restart chandler", "start again", patience=0)
    node._until(lambda: node.registrations("example.com/nic") > before, "a registration after the restart")
    node.expect("example.com/nic", "0000:04:00.0 Healthy")
    node.hold("job", "example.com/nic")
    node.must("grep e1000e /sys/bus/pci/devices/0000:04:00.0/driver_override", "prepare the card", patience=0)
    mounts = node.sh(f"cat /proc/{node.unit('MainPID')}/mounts", check=True)[0]
    rights = {it.split()[1]: it.split()[3].split(",")[0] for it in mounts.splitlines()}
    assert (rights["/sys"], rights["/sys/devices"], rights["/proc/sys"]) == ("ro", "rw", "ro"), rights
    node.release("job")
    before = node.registrations("example.com/nic")
    node.configure(SERIAL + NIC)
    node._until(lambda: node.registrations("example.com/nic") > before, "a registration without preStart")
    node.expect_after("a line in the kernel's log", lambda: node.sh("echo 'dead: 0000:04:00.0' > /dev/ttyprintk", check=True),
                      "example.com/nic", "0000:04:00.0 Unhealthy")

    # Its loop is stuck, and so is everything else of it.
    before, acted = node.registrations("example.com/nic"), node.uptime()
    node.sh("kill -STOP $(systemctl show -p MainPID --value chandler)", check=True)
    node._until(lambda: node.registrations("example.com/nic") > before, "a registration after the watchdog")
    node.say(f"stuck: killed, started again and registered after {node.uptime() - acted:.1f} s, with a watchdog of 10 s")
    node.must("test $(systemctl is-active chandler) = active", "be active after the watchdog")
    assert node.unit("NRestarts") == "1", node.unit("NRestarts")
    node.must("journalctl -b -u chandler | grep -i 'watchdog timeout'", "be ended by the watchdog", patience=0)
    # What the kernel has condemned waits for an operator, whoever was killed meanwhile.
    node.expect("example.com/nic", "0000:04:00.0 Unhealthy")
    node.must("chandler uncordon 0000:04:00.0", "be told that the card is mended")
    node.expect("example.com/nic", "0000:04:00.0 Healthy")

    began = node.uptime()
    node.must("systemctl stop chandler", "be ended", patience=0)
    node.say(f"stopped in {node.uptime() - began:.1f} s")
    result = node.unit("ActiveState"), node.unit("Result")
    assert result == ("inactive", "success"), result
    node.must("journalctl -b -u chandler | tail -4 | grep 'Deactivated successfully'", "end well", patience=0)
    left = node.sh(f"ls {PLUGINS} | grep chandler", quiet=True)[0]
    assert not left, f"it has left {left}"

    # What is wrong stays wrong: it is not started again and again.
    node.configure("resources: 7\n")
    node.sh("systemctl start chandler", quiet=True)
    result = {it: node.unit(it) for it in ("ActiveState", "ExecMainStatus", "NRestarts")}
    assert result == {"ActiveState": "failed", "ExecMainStatus": "2", "NRestarts": "0"}, result
    assert not any("panicked" in text for _, text in node.journal())

    if node.is_packaged():
        node.must("dpkg --purge chandler", "be removed", patience=0)
        node.must("! ls /usr/bin/chandler /lib/systemd/system/chandler.service /etc/chandler", "be gone", patience=0)
        node.say("installed and removed as a package")
