"""A network card and an NVMe disk are added to running PCIe slots and taken out again, as ACPI would have it."""
DEVICES = ["misc"]
CONFIG = """
resources:
  - name: example.com/nic
    discovery:
      sysfs: bus/pci
      match: [{ key: pci.vendor, operator: In, values: ["8086"] }, { key: pci.device, operator: In, values: ["10d3"] }]
      nodes: []
  - name: example.com/nvme
    discovery: { sysfs: class/nvme }
  - name: example.com/fuse
    discovery: { nodes: [/dev/fuse] }
"""


NIC = "test -e /sys/bus/pci/devices/0000:01:00.0"
# With its node: that is what is offered.
NVME = "test -c /dev/$(basename $(dirname $(grep -l LABHOT /sys/class/nvme/*/serial)))"


def story(node):
    node.sh("modprobe -a e1000e nvme", check=True)
    node.start()
    node.expect("example.com/fuse", "fuse Healthy")
    node.expect("example.com/nic")

    node.expect_after("card added to slot 1", lambda: node.pci("e1000e", "nic", 1),
                      "example.com/nic", "0000:01:00.0 Healthy", event=" add pci - .*/0000:01:00.0 ", given=NIC)
    node.expect_after("disk added to slot 2", lambda: node.nvme("nvme", 2, "LABHOT"),
                      "example.com/nvme", "LABHOT Healthy", event=" add nvme - ", given=NVME)
    node.expect_after("card removed", lambda: node.unplug("nic"),
                      "example.com/nic", "0000:01:00.0 Unhealthy", event=" remove pci - .*/0000:01:00.0 ", given="! " + NIC)
    node.expect_after("disk removed", lambda: node.unplug("nvme"),
                      "example.com/nvme", "LABHOT Unhealthy", event=" remove nvme - ", given="! ls /sys/class/nvme/*")
    # In another slot it has another address, but the serial number is its own.
    node.expect_after("disk added to slot 3", lambda: node.nvme("nvme", 3, "LABHOT"),
                      "example.com/nvme", "LABHOT Healthy", event=" add nvme - ", given=NVME)
    node.expect_after("card added to slot 1 again", lambda: node.pci("e1000e", "nic", 1),
                      "example.com/nic", "0000:01:00.0 Healthy", event=" add pci - .*/0000:01:00.0 ", given=NIC)
    node.expect("example.com/fuse", "fuse Healthy")
