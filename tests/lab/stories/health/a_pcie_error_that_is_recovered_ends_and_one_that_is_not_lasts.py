"""The kernel announces that it recovers a card from an error, and whether it could: a card without a driver cannot be."""
DEVICES = ["e1000e", "igb", "aer"]
CONFIG = """
resources:
  - name: example.com/nic
    discovery:
      sysfs: bus/pci
      match:
        - { key: pci.vendor, operator: In, values: ["8086"] }
        - { key: pci.class, operator: In, values: ["02"] }
        - { key: name, operator: InRegexp, values: ["^0000:0[34]:"] }
      nodes: []
    health:
      interval: 3s
      timeout: 3s
      events:
        - { subsystem: pci, property: ERROR_EVENT, values: [BEGIN_RECOVERY, FAILED_RECOVERY], clears: [SUCCESSFUL_RECOVERY], action: reset }
"""
RESOURCE = "example.com/nic"
NOT_FATAL = 0x4000      # a completion that did not come


def inject(bus):
    """Bus, device, function, 0, then both status words (little-endian), then four words of a header."""
    words = bytes([bus, 0, 0, 0]) + NOT_FATAL.to_bytes(4, "little") + bytes(24)
    return "printf '" + "".join(f"\\{it:o}" for it in words) + "' > /dev/aer_inject"


def story(node):
    node.wait_for("test -e /sys/bus/pci/devices/0000:03:00.0/driver && test -e /sys/bus/pci/devices/0000:04:00.0/driver")
    node.start()
    node.expect(RESOURCE, "0000:03:00.0 Healthy", "0000:04:00.0 Healthy")
    node.sh(inject(3), check=True)
    node.wait_for("dmesg | grep 'device recovery successful'")
    node._until(lambda: any(it["0000:03:00.0"] == "Unhealthy" for it in node.lists(RESOURCE)), "the card that is recovered to be unhealthy meanwhile")
    node.expect(RESOURCE, "0000:03:00.0 Healthy", "0000:04:00.0 Healthy")

    node.sh("echo 0000:04:00.0 > /sys/bus/pci/devices/0000:04:00.0/driver/unbind", check=True)
    node.expect_after("an error of a card without a driver", lambda: node.sh(inject(4), check=True),
                      RESOURCE, "0000:03:00.0 Healthy", "0000:04:00.0 Unhealthy", given="dmesg | grep 'device recovery failed'")
    node.restart()
    node.expect(RESOURCE, "0000:03:00.0 Healthy", "0000:04:00.0 Unhealthy")
    device = node.discover()[0][RESOURCE]["0000:04:00.0"]
    assert "ERROR_EVENT is `FAILED_RECOVERY`" in device["reason"] and device["action"] == "reset", device
    node.must("chandler uncordon 0000:04:00.0", "uncordon the card", patience=0)
    node.expect(RESOURCE, "0000:03:00.0 Healthy", "0000:04:00.0 Healthy")
