"""A fatal error is injected into a card, and one that is not fatal into another.

Of a fatal error of an endpoint the kernel cannot read the particulars, because the link may be down: it counts at
the root port only, and `aer_dev_fatal` of the card stays as it was."""
DEVICES = ["e1000e", "igb", "aer"]
CONFIG = """
resources:
  - name: example.com/nic
    discovery: { sysfs: class/net, match: [{ key: pci.vendor, operator: In, values: ["8086"] }] }
    health:
      interval: 3s
      timeout: 3s
      rules:
        - { key: device/aer_dev_nonfatal, operator: Rises, values: [1, 10m] }
        - { key: "^aer_rootport_total_err_fatal", operator: Rises, values: [1, 10m] }
"""


def inject(bus, uncorrectable=0, correctable=0):
    """Bus, device, function, 0, then both status words (little-endian), then four words of a header."""
    words = bytes([bus, 0, 0, 0]) + uncorrectable.to_bytes(4, "little") + correctable.to_bytes(4, "little") + bytes(20)
    return "printf '" + "".join(f"\\{it:o}" if it else "\\0" for it in words) + "' > /dev/aer_inject"


def story(node):
    node.wait_for("ls /sys/bus/pci/devices/0000:03:00.0/net/* /sys/bus/pci/devices/0000:04:00.0/net/*")
    node.start()
    node.expect("example.com/nic", "0000:03:00.0 Healthy", "0000:04:00.0 Healthy")
    node.sh(inject(4, correctable=1), check=True)                       # a receiver error harms nobody
    node.wait_for("grep -q 'RxErr 1' /sys/bus/pci/devices/0000:04:00.0/aer_dev_correctable")
    node.expect_after("a malformed packet, which is fatal", lambda: node.sh(inject(4, uncorrectable=0x40000), check=True),
                      "example.com/nic", "0000:03:00.0 Healthy", "0000:04:00.0 Unhealthy",
                      given="grep -v '^0' $(dirname $(readlink -f /sys/bus/pci/devices/0000:04:00.0))/aer_rootport_total_err_fatal")
    total = node.sh("grep TOTAL /sys/bus/pci/devices/0000:04:00.0/aer_dev_fatal")[0].strip()
    node.say(f"the card's own counter of fatal errors says {total}")
    node.expect_after("a completion that did not come, which is not", lambda: node.sh(inject(3, uncorrectable=0x4000), check=True),
                      "example.com/nic", "0000:03:00.0 Unhealthy", "0000:04:00.0 Unhealthy",
                      given="grep 'TOTAL_ERR_NONFATAL 1' /sys/bus/pci/devices/0000:03:00.0/aer_dev_nonfatal")
