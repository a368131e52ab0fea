"""Two USB serial adapters with one serial number come and go in turn, and Chandler is started again in between.

The adapter that was offered first keeps the id of its serial number, and the pod that holds it keeps its node."""
DEVICES = ["usb"]
CONFIG = """
resources:
  - name: example.com/serial
    discovery: { sysfs: class/tty, match: [{ key: usb.vendor, operator: In, values: ["0403"] }] }
"""
SERIAL = "example.com/serial"


def story(node):
    def node_at(port):
        """The node of the adapter at this port, or nothing."""
        return {at.partition(":")[0].partition("-")[2]: tty for at, tty in node.usb_ttys().items()}.get(str(port))

    def plugged(*ports):
        return lambda: sorted(node.usb_ttys()) == [f"1-{it}:1.0" for it in ports]

    node.start()
    node.expect_after("the first plugged into port 1", lambda: node.usb_serial("first", 1, "0001"),
                      SERIAL, "0001 Healthy", event=" add tty - ", given=plugged(1))
    assert node.hold("one", SERIAL) == ("0001", [node_at(1)]), "the first pod has another device"

    node.usb_serial("twin", 2, "0001")
    node.wait_until(plugged(1, 2), "the twin")
    twin = node.newcomer(SERIAL, ["0001"])
    assert twin.startswith("0001@"), twin
    node.say(f"the twin is {twin}")
    both = ["0001 Healthy", f"{twin} Healthy"]
    node.expect(SERIAL, *both)
    held = node.hold("two", SERIAL)
    assert held == (twin, [node_at(2)]) and node_at(1) != node_at(2), f"the second pod has {held}, and the nodes are {node.usb_ttys()}"

    node.restart()
    node.expect(SERIAL, *both)

    # Alone, the twin is still not the first.
    node.expect_after("the first pulled", lambda: node.unplug("first"), SERIAL, "0001 Unhealthy", f"{twin} Healthy",
                      event=" remove tty - ", given=plugged(2))
    node.restart()
    node.expect(SERIAL, "0001 Unhealthy", f"{twin} Healthy")
    node.release("two")
    assert node.hold("three", SERIAL) == (twin, [node_at(2)]), "the third pod has another device than the twin"

    node.expect_after("the first plugged in again", lambda: node.usb_serial("first", 1, "0001"), SERIAL, *both,
                      event=" add tty - ", given=plugged(1, 2))
    node.release("one")
    assert node.hold("four", SERIAL) == ("0001", [node_at(1)]), "the fourth pod has another device than the first"
