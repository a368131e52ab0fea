"""A USB device has three serial ports, which share its serial number and whose drivers are bound one after the other.

Each port is a device of its own, and one resource has all three as one device. The last port is bound first, so
that the kernel's names are in another order than the ports."""
from build import GuestFailed

DEVICES = ["usb-gadget"]
CONFIG = """
resources:
  - name: example.com/port
    discovery: { sysfs: class/tty, match: [{ key: usb.serial, operator: In, values: [LAB4] }] }
  - name: example.com/modem
    discovery: { sysfs: class/tty, match: [{ key: usb.serial, operator: In, values: [LAB4] }], groupBy: usb.port }
    exclusive: false
"""
PORT, MODEM = "example.com/port", "example.com/modem"
GADGET = """
cd /sys/kernel/config/usb_gadget && mkdir lab && cd lab && echo 0x1d6b > idVendor && echo 0x0104 > idProduct
mkdir strings/0x409 configs/c.1 && echo LAB4 > strings/0x409/serialnumber && echo Lab > strings/0x409/manufacturer && echo Modem > strings/0x409/product
for it in 0 1 2; do mkdir functions/acm.$it && ln -s functions/acm.$it configs/c.1/; done
echo dummy_udc.0 > UDC
"""
INTERFACES = ["1-1:1.4", "1-1:1.0", "1-1:1.2"]
DRIVER = "/sys/bus/usb/drivers/cdc_acm"


def story(node):
    def bind(interface):
        node.sh(f"echo {interface} > {DRIVER}/bind", check=True)

    def bound(*interfaces):
        return lambda: sorted(node.usb_ttys()) == sorted(interfaces)

    node.sh(GADGET, check=True)
    node.wait_until(bound(*INTERFACES), "the gadget")
    for it in INTERFACES:
        node.sh(f"echo {it} > {DRIVER}/unbind", check=True)
    node.wait_until(bound(), "ports without a driver")
    node.rest()
    node.start()
    node.expect(PORT)
    node.expect(MODEM)

    # One after the other, each once the one before is offered and held by a pod.
    held = {}
    for n, it in enumerate(INTERFACES, 1):
        bind(it)
        node.wait_until(bound(*INTERFACES[:n]), f"port {it}")
        new = node.newcomer(PORT, list(held))
        assert new == "LAB4" if n == 1 else new.startswith("LAB4@"), new
        id, nodes = node.hold(f"port-{n}", PORT)
        assert (id, nodes) == (new, [node.usb_ttys()[it]]), f"the pod has {id} with {nodes}, and the nodes are {node.usb_ttys()}"
        held[id] = nodes
    node.say(f"the ports are {', '.join(f'{id} {nodes[0]}' for id, nodes in held.items())}")
    all_healthy = [f"{it} Healthy" for it in held]
    node.expect(PORT, *all_healthy)
    node.restart()
    node.expect(PORT, *all_healthy)
    for n, id in enumerate(held, 1):
        node.release(f"port-{n}")
        assert node.hold(f"again-{n}", PORT) == (id, held[id]), f"{id} is another device after the restart"

    # As one device: all are taken away and come back with a short time in between, to a Chandler that has never seen them.
    for it in INTERFACES:
        node.sh(f"echo {it} > {DRIVER}/unbind", check=True)
    node.wait_until(bound(), "ports without a driver")
    node.expect(PORT, *[f"{it} Unhealthy" for it in held])
    node.restart("--state-dir", "/run/fresh")
    node.expect(MODEM)
    began, lists = node.uptime(), len(node.kubelet())
    node.sh("; sleep 0.3; ".join(f"echo {it} > {DRIVER}/bind" for it in INTERFACES), check=True)
    node.wait_until(bound(*INTERFACES), "all ports")
    node.expect(MODEM, "LAB4 Healthy")
    added = [float(it[0]) for it in node.uevents(" add tty - ") if float(it[0]) > began]
    if len(added) != 3 or max(b - a for a, b in zip(added, added[1:])) > 0.7:
        raise GuestFailed(f"the ports came too slowly: {added}")
    listed = next(it["up"] for it in node.kubelet()[lists:] if it["event"] == "devices" and it["resource"] == MODEM and it["devices"])
    assert listed > added[-1], f"the modem was offered at {listed}, and its ports came at {added}"
    node.say(f"the modem is offered {listed - added[-1]:.2f} s after its last port came")
    id, nodes = node.hold("modem", MODEM)
    assert sorted(nodes) == sorted(node.usb_ttys().values()), f"the pod has {nodes} of {node.usb_ttys()}"
