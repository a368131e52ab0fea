"""Drivers say in the kernel's log what no attribute shows."""
DEVICES = ["e1000e", "igb"]
CONFIG = """
resources:
  - name: example.com/nic
    discovery: { sysfs: class/net, match: [{ key: pci.vendor, operator: In, values: ["8086"] }] }
    health:
      interval: 3s
      timeout: 3s
      recovery: manual
      kernelLog:
        - pattern: 'NVRM: Xid \\(PCI:(?P<address>[0-9a-f:.]+)\\): (?P<code>[0-9]+)'
          match: { address: pci.address }
          ignoreCodes: [13, 31]
"""
both = "0000:03:00.0 Healthy", "0000:04:00.0 Healthy"


def story(node):
    node.wait_for("ls /sys/bus/pci/devices/0000:03:00.0/net/* /sys/bus/pci/devices/0000:04:00.0/net/*")
    node.sh("modprobe ttyprintk", check=True)       # what is written to it the kernel says as its own
    node.start()
    node.expect("example.com/nic", *both)
    # What a program says counts for nothing.
    node.sh("echo '<3>NVRM: Xid (PCI:0000:03:00): 79, GPU has fallen off the bus' > /dev/kmsg", check=True)
    node.sh("echo 'NVRM: Xid (PCI:0000:03:00): 31, pid=1, MMU Fault' > /dev/ttyprintk", check=True)      # ignored
    node.sh("echo 'NVRM: Xid (PCI:0000:09:00): 79, GPU has fallen off the bus' > /dev/ttyprintk", check=True)    # nobody
    node.expect_after("a line about one card",
                      lambda: node.sh("echo 'NVRM: Xid (PCI:0000:04:00): 79, GPU has fallen off the bus' > /dev/ttyprintk", check=True),
                      "example.com/nic", "0000:03:00.0 Healthy", "0000:04:00.0 Unhealthy")
