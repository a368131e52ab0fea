"""The ghost: a card that is dead, but still listed in sysfs. Nothing but its configuration space tells."""
DEVICES = ["pciehp", "e1000e", "nvme"]
X86 = "the power of a slot cannot be cut"
CONFIG = """
resources:
  - name: example.com/nic
    discovery: { sysfs: class/net, match: [{ key: pci.device, operator: In, values: ["10d3"] }] }
    health: { interval: 3s, timeout: 3s }
  - name: example.com/nvme
    discovery: { sysfs: class/nvme }
    health: { interval: 3s, timeout: 3s }
"""


def story(node):
    node.wait_for("test -c /dev/nvme0 && ls /sys/bus/pci/devices/0000:04:00.0/net/*")
    node.start()
    node.expect("example.com/nic", "0000:04:00.0 Healthy")
    node.expect("example.com/nvme", "LABNVME1 Healthy")
    node.expect_after("the card dies", lambda: node.pull("0000:04:00.0", ghost=True),
                      "example.com/nic", "0000:04:00.0 Unhealthy",
                      given="hexdump -n 4 -e '1/4 \"%x\"' /sys/bus/pci/devices/0000:04:00.0/config | grep ffffffff")
    assert node.sh("cat /sys/bus/pci/devices/0000:04:00.0/vendor")[0].strip() == "0x8086", "sysfs still knows it"
    node.expect("example.com/nvme", "LABNVME1 Healthy")
