"""Two USB serial adapters and a disk come and go under a running Chandler."""
DEVICES = ["usb"]
CONFIG = """
resources:
  - name: example.com/serial
    discovery: { usb: { vendor: "0403", product: "6001" }, nodes: ["{usb.tty}"] }
  - name: example.com/disk
    discovery:
      sysfs: class/block
      match: [{ key: usb.serial, operator: Exists }, { key: partition, operator: DoesNotExist }]
"""


def story(node):
    node.start()
    node.expect("example.com/serial")
    node.expect("example.com/disk")

    tty, disk = r" add tty - ", r" add block disk "
    node.expect_after("adapter 1 plugged into port 1", lambda: node.usb_serial("a", 1, "LAB0001"),
                      "example.com/serial", "LAB0001 Healthy", event=tty)
    node.expect_after("adapter 2 plugged into port 2", lambda: node.usb_serial("b", 2, "LAB0002"),
                      "example.com/serial", "LAB0001 Healthy", "LAB0002 Healthy", event=tty)
    node.expect_after("disk plugged into port 3", lambda: node.usb_disk("c", 3, "LAB0003"),
                      "example.com/disk", "LAB0003 Healthy", event=disk)
    before = node.discover()[0]

    node.expect_after("adapter 1 unplugged", lambda: node.unplug("a"),
                      "example.com/serial", "LAB0001 Unhealthy", "LAB0002 Healthy", event=" remove tty - ")
    node.expect_after("adapter 2 unplugged", lambda: node.unplug("b"),
                      "example.com/serial", "LAB0001 Unhealthy", "LAB0002 Unhealthy", event=" remove tty - ")
    node.expect_after("disk unplugged", lambda: node.unplug("c"),
                      "example.com/disk", "LAB0003 Unhealthy", event=" remove block disk ")

    # The other way round, so that ports and kernel names are other ones.
    node.expect_after("disk plugged into port 1", lambda: node.usb_disk("c", 1, "LAB0003"),
                      "example.com/disk", "LAB0003 Healthy", event=disk)
    node.expect_after("adapter 2 plugged into port 3", lambda: node.usb_serial("b", 3, "LAB0002"),
                      "example.com/serial", "LAB0001 Unhealthy", "LAB0002 Healthy", event=tty)
    node.expect_after("adapter 1 plugged into port 2", lambda: node.usb_serial("a", 2, "LAB0001"),
                      "example.com/serial", "LAB0001 Healthy", "LAB0002 Healthy", event=tty)
    after = node.discover()[0]
    assert before["example.com/serial"]["LAB0001"]["nodes"] == ["/dev/ttyUSB0"], before
    assert after["example.com/serial"]["LAB0001"]["nodes"] == ["/dev/ttyUSB1"], after
