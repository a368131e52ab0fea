"""A driver announces that its card is wedged, and later that it is not; another leaves a dump behind. Nothing of it is in an attribute."""
DEVICES = ["accel"]
X86 = "its driver is built for x86_64 only"
CONFIG = """
resources:
  - name: example.com/accelerator
    discovery: { sysfs: class/accel }
    health:
      interval: 3s
      timeout: 3s
      recovery: manual
      events:
        - { subsystem: accel, property: WEDGED, values: [rebind, bus-reset], clears: [none], action: reset }
        - { subsystem: devcoredump, property: ACTION, values: [add], severity: degraded, action: support }
"""
RESOURCE = "example.com/accelerator"


def has(address):
    return f"test -c /dev/accel/$(basename /sys/bus/pci/devices/0000:{address}:00.0/accel/*)"


def happens(node, address, what):
    node.sh(f"echo {what} > /sys/bus/pci/devices/0000:{address}:00.0/fail", check=True)


def story(node):
    node.pci("edu", "acc2", 4)
    node.wait_for(has("05") + " && " + has("04"))
    node.start()
    node.expect(RESOURCE, "0000:05:00.0 Healthy", "0000:04:00.0 Healthy")
    node.expect_after("a card is wedged", lambda: happens(node, "05", "WEDGED=bus-reset"),
                      RESOURCE, "0000:05:00.0 Unhealthy", "0000:04:00.0 Healthy")
    node.restart()
    node.expect(RESOURCE, "0000:05:00.0 Unhealthy", "0000:04:00.0 Healthy")
    device = node.discover()[0][RESOURCE]["0000:05:00.0"]
    assert "WEDGED is `bus-reset`" in device["reason"] and device["action"] == "reset", device
    node.expect_after("it is not any more", lambda: happens(node, "05", "WEDGED=none"),
                      RESOURCE, "0000:05:00.0 Healthy", "0000:04:00.0 Healthy")

    n_lists = len(node.lists(RESOURCE))
    happens(node, "04", "dump")
    is_degraded = lambda: "ACTION is `add`" in node.discover()[0][RESOURCE]["0000:04:00.0"].get("reason", "")
    node._until(is_degraded, "the card with a dump to be degraded")
    node.restart()
    node._until(is_degraded, "the dump to be remembered")
    assert all(it["0000:04:00.0"] == "Healthy" for it in node.lists(RESOURCE)[n_lists:]), node.lists(RESOURCE)
