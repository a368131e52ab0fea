"""Cards are pulled without a word to their drivers: PCIe surprise removal."""
DEVICES = ["pciehp", "nvme", "e1000e", "misc"]
X86 = "the power of a slot cannot be cut"
CONFIG = """
resources:
  - name: example.com/nic
    discovery:
      sysfs: class/net
      match: [{ key: pci.device, operator: In, values: ["10d3"] }]
  - name: example.com/nvme
    discovery: { sysfs: class/nvme }
  - name: example.com/fuse
    discovery: { nodes: [/dev/fuse] }
"""


def story(node):
    node.wait_for("test -c /dev/nvme0 && ls /sys/bus/pci/devices/0000:04:00.0/net/*")
    node.start()
    node.expect("example.com/nvme", "LABNVME1 Healthy")
    node.expect("example.com/nic", "0000:04:00.0 Healthy")
    node.expect("example.com/fuse", "fuse Healthy")

    node.expect_after("disk pulled", lambda: node.pull("0000:01:00.0"),
                      "example.com/nvme", "LABNVME1 Unhealthy", event=" remove nvme - ", given="! ls /sys/class/nvme/*")
    node.expect_after("card pulled", lambda: node.pull("0000:04:00.0"),
                      "example.com/nic", "0000:04:00.0 Unhealthy", event=" remove net - ", given="! ls /sys/bus/pci/devices/0000:04:00.0/net")
    node.expect("example.com/fuse", "fuse Healthy")
