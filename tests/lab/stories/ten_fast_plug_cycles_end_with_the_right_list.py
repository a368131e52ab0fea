"""USB adapters and a PCI card are plugged and unplugged ten times, faster than anybody can look."""
DEVICES = ["usb"]
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
    node.usb_serial("fixed", 4, "FIXED")
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
    def settled(*wanted):
        def holds():
            list = (node.list("example.com/serial")[0] or "").split("\n")
            return all(it in list for it in wanted) and sum(it.endswith(" Healthy") for it in list) == len(wanted)
        return holds

    acted = node.uptime()
    cycles(last=False)
    node.say(f"ten cycles took {node.uptime() - acted:.1f} s")
    node.wait_for("! ls /sys/bus/pci/devices/0000:01:00.0 && ! test -e /sys/bus/usb/devices/1-1 && ! test -e /sys/bus/usb/devices/1-2")
    # From the list that the survey makes of a quiet machine, there is no way to another one.
    node._until(settled("FIXED Healthy"), lambda: f"only FIXED: {node.list('example.com/serial')}")
    acted = node.uptime()
    cycles(last=True)
    node.wait_for("test -c /dev/ttyUSB1 && ls /sys/bus/pci/devices/0000:01:00.0/net && ! test -e /sys/bus/usb/devices/1-2")
    quiet = node.uptime()
    node._until(settled("FIXED Healthy", "LAB0001 Healthy"), lambda: f"FIXED and LAB0001: {node.list('example.com/serial')}")
    listed = node.expect("example.com/nic", "0000:01:00.0 Healthy")
    node.say(f"ten more took {quiet - acted:.1f} s; the right lists {max(0.0, listed - quiet):.2f} s after the last event")
    lists = [it for it in node.kubelet() if it["event"] == "devices"]
    node.say(f"the kubelet was sent {len(lists)} lists in all")
