"""Two USB controllers get their drivers in the other order, so that the kernel swaps the numbers of their buses.

The adapters have no serial number: what tells them apart is the controller and the port."""
from build import GuestFailed

DEVICES = ["usb", "usb-more"]
CONFIG = """
resources:
  - name: example.com/reader
    discovery: { sysfs: class/tty, match: [{ key: usb.path, operator: In, values: ["0000:00:1c.0-usb-1"] }] }
  - name: example.com/serial
    discovery: { sysfs: class/tty, match: [{ key: usb.vendor, operator: In, values: ["0403"] }] }
"""
SERIAL, READER = "example.com/serial", "example.com/reader"
DRIVER = "/sys/bus/pci/drivers/xhci_hcd"
MORE = "0000:00:1c.0"


def story(node):
    first = node.sh(f"for it in {DRIVER}/0000:*; do basename $it; done | grep -v {MORE}", check=True)[0].strip()

    def ports():
        """{controller: [the kernel's name of the port, node]} of each adapter."""
        out = node.sh("for it in /sys/class/tty/ttyUSB*; do test -c /dev/${it##*/} && echo $(readlink -f $it/device) /dev/${it##*/}; done", quiet=True)[0]
        found = [(at.split("/"), tty) for at, tty in map(str.split, out.splitlines())]
        return {at[at.index("usb" + at[-2].split("-")[0]) - 1]: [at[-2].split(":")[0], tty] for at, tty in found}

    node.usb_serial("a", 1, "")
    node.usb_serial("b", 1, "", bus="more.0")
    node.wait_until(lambda: sorted(ports()) == sorted([first, MORE]), "both adapters")
    node.start()
    node.expect(READER, f"{MORE}-usb-1 Healthy")
    node.expect(SERIAL, f"{first}-usb-1 Healthy")
    before = ports()

    for it in (first, MORE):
        node.sh(f"echo {it} > {DRIVER}/unbind", check=True)
    node.wait_until(lambda: not ports(), "no adapter")
    node.expect(READER, f"{MORE}-usb-1 Unhealthy")
    node.expect(SERIAL, f"{first}-usb-1 Unhealthy")
    for it in (MORE, first):
        node.sh(f"echo {it} > {DRIVER}/bind", check=True)
    node.wait_until(lambda: sorted(ports()) == sorted([first, MORE]), "both adapters again")
    after = ports()
    if any(before[it][0] == after[it][0] for it in (first, MORE)):
        raise GuestFailed(f"the buses have the numbers that they had: {before}, {after}")
    node.say(f"{before} became {after}")
    node.expect(READER, f"{MORE}-usb-1 Healthy")
    node.expect(SERIAL, f"{first}-usb-1 Healthy")
    for resource, controller in ((READER, MORE), (SERIAL, first)):
        assert node.hold(controller[-4:-2], resource) == (f"{controller}-usb-1", [after[controller][1]]), f"{resource}: another node than {after}"
    node.restart()
    node.expect(READER, f"{MORE}-usb-1 Healthy")
    node.expect(SERIAL, f"{first}-usb-1 Healthy")
