"""USB adapters and a PCI card are plugged and unplugged ten times, faster than anybody can look.

What the right list is, the guest's kernel says once it has come to rest: a port that it gave up after
so many cycles, or a name that it has counted up, is no fault of the list."""
DEVICES = ["usb"]
X86 = "without ACPI nothing is fast: a card is let go after five seconds"
CONFIG = """
resources:
  - name: example.com/serial
    discovery: { nodes: ["/dev/ttyUSB*"] }
  - name: example.com/nic
    discovery:
      sysfs: class/net
      match: [{ key: pci.device, operator: In, values: ["10d3"] }]
"""


def story(node):
    node.sh("modprobe e1000e", check=True)
    node.start()
    node.expect("example.com/serial")
    node.expect("example.com/nic")
    node.usb_serial("fixed", 4, "FIXED")
    node.wait_until(lambda: list(node.serial_ports()) == ["FIXED"], "the first adapter")
    node.expect("example.com/serial", "FIXED Healthy")

    def cycles(last):
        for n in range(10):
            node.usb_serial("a", 1, "LAB0001")
            node.pci("e1000e", "nic", 1)
            node.usb_serial("b", 2, "LAB0002")
            if n < 9 or not last:
                node.unplug("a")
                node.unplug("nic")
            node.unplug("b")

    # A serial that was listed once stays as Unhealthy; whether it was seen at all is chance.
    def truth():
        cards = node.sh("for it in /sys/class/net/*/device/device; do test -e $it && grep -q 10d3 $it && basename $(readlink -f ${it%/device}); done", quiet=True)[0]
        return {"example.com/serial": sorted(node.serial_ports()), "example.com/nic": cards.split()}

    for last, told in ((False, {"example.com/serial": ["FIXED"], "example.com/nic": []}),
                       (True, {"example.com/serial": ["FIXED", "LAB0001"], "example.com/nic": ["0000:01:00.0"]})):
        acted = node.uptime()
        cycles(last)
        took = node.uptime() - acted
        shown, quiet, listed = node.settle(truth)
        node.say(f"ten cycles took {took:.1f} s; the right lists {max(0.0, listed - quiet):.2f} s after the kernel's last event")
        if shown != told:
            node.say(f"the kernel has not followed: it shows {shown}, and so does the list")
    lists = [it for it in node.kubelet() if it["event"] == "devices"]
    node.say(f"the kubelet was sent {len(lists)} lists in all")
