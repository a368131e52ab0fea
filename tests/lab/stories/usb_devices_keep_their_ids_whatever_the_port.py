"""Two USB serial adapters and a disk come and go under a running Chandler."""
from build import GuestFailed

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
    disks = "ls /sys/class/block/sd* >/dev/null && test -b /dev/sd*"

    def ports(*serials):
        return lambda: sorted(node.serial_ports()) == list(serials)

    node.expect_after("adapter 1 plugged into port 1", lambda: node.usb_serial("a", 1, "LAB0001"),
                      "example.com/serial", "LAB0001 Healthy", event=tty, given=ports("LAB0001"))
    node.expect_after("adapter 2 plugged into port 2", lambda: node.usb_serial("b", 2, "LAB0002"),
                      "example.com/serial", "LAB0001 Healthy", "LAB0002 Healthy", event=tty, given=ports("LAB0001", "LAB0002"))
    node.expect_after("disk plugged into port 3", lambda: node.usb_disk("c", 3, "LAB0003"),
                      "example.com/disk", "LAB0003 Healthy", event=disk, given=disks)
    before, was = node.discover()[0], node.serial_ports()

    node.expect_after("adapter 1 unplugged", lambda: node.unplug("a"),
                      "example.com/serial", "LAB0001 Unhealthy", "LAB0002 Healthy", event=" remove tty - ", given=ports("LAB0002"))
    node.expect_after("adapter 2 unplugged", lambda: node.unplug("b"),
                      "example.com/serial", "LAB0001 Unhealthy", "LAB0002 Unhealthy", event=" remove tty - ", given=ports())
    node.expect_after("disk unplugged", lambda: node.unplug("c"),
                      "example.com/disk", "LAB0003 Unhealthy", event=" remove block disk ", given="! ls /sys/class/block/sd*")

    # The other way round, so that ports and kernel names are other ones.
    node.expect_after("disk plugged into port 1", lambda: node.usb_disk("c", 1, "LAB0003"),
                      "example.com/disk", "LAB0003 Healthy", event=disk, given=disks)
    node.expect_after("adapter 2 plugged into port 3", lambda: node.usb_serial("b", 3, "LAB0002"),
                      "example.com/serial", "LAB0001 Unhealthy", "LAB0002 Healthy", event=tty, given=ports("LAB0002"))
    node.expect_after("adapter 1 plugged into port 2", lambda: node.usb_serial("a", 2, "LAB0001"),
                      "example.com/serial", "LAB0001 Healthy", "LAB0002 Healthy", event=tty, given=ports("LAB0001", "LAB0002"))
    after, now = node.discover()[0], node.serial_ports()
    for found, shown in ((before, was), (after, now)):
        for serial, tty in shown.items():
            assert found["example.com/serial"][serial]["nodes"] == [tty], (found, shown)
    if was["LAB0001"] == now["LAB0001"]:
        raise GuestFailed(f"no other names for other ports: {was}, {now}")
