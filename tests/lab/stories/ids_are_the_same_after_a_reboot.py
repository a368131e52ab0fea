"""Whatever the guest has is discovered in two boots, with the drivers loaded the other way round in the second.

Names that the kernel counts up are given in the order of loading, so they differ; ids must not."""
from build import GuestFailed

DEVICES = ["nvme", "nvme-sriov", "igb", "e1000e", "rdma", "gpu", "sound", "i2c", "tpm", "watchdog", "ipmi", "uio", "mdev", "accel", "usb", "cxl"]
GUEST = [{"memory": 1536}, {"memory": 1536, "backwards": True}]
X86 = "its TPM and its management controller are those of a PC"
CONFIG = """
resources:
  - { name: example.com/nvme, discovery: { sysfs: class/nvme } }
  - { name: example.com/disk, discovery: { sysfs: class/block, match: [{ key: name, operator: InRegexp, values: ["^nvme"] }] } }
  - { name: example.com/nic, discovery: { sysfs: class/net, match: [{ key: pci.vendor, operator: In, values: ["8086"] }] } }
  - { name: example.com/rdma, discovery: { sysfs: class/infiniband } }
  - { name: example.com/card, discovery: { sysfs: class/drm, match: [{ key: pci.address, operator: Exists }, { key: name, operator: InRegexp, values: ["^card[0-9]+$"] }] } }
  - { name: example.com/render, discovery: { sysfs: class/drm, match: [{ key: name, operator: InRegexp, values: ["^renderD"] }] } }
  - { name: example.com/sound, discovery: { nodes: ["/dev/snd/*"], groupBy: pci.address, match: [{ key: pci.address, operator: Exists }] } }
  - { name: example.com/i2c, discovery: { sysfs: class/i2c-dev, match: [{ key: pci.address, operator: Exists }] } }
  - { name: example.com/tpm, discovery: { sysfs: class/tpm } }
  - { name: example.com/tpmrm, discovery: { sysfs: class/tpmrm } }
  - { name: example.com/watchdog, discovery: { sysfs: class/watchdog } }
  - { name: example.com/ipmi, discovery: { sysfs: class/ipmi } }
  - { name: example.com/uio, discovery: { sysfs: class/uio } }
  - { name: example.com/accelerator, discovery: { sysfs: class/accel } }
  - { name: example.com/mdev, discovery: { sysfs: bus/mdev, nodes: [] } }
  - { name: example.com/cxl, discovery: { sysfs: bus/cxl, match: [{ key: name, operator: InRegexp, values: ["^mem"] }] } }
  - { name: example.com/serial, discovery: { nodes: ["/dev/ttyUSB*"] } }
  - { name: example.com/stick, discovery: { sysfs: class/block, match: [{ key: usb.serial, operator: Exists }] } }
"""
# What the guest must show before anything can be claimed.
SHOWN = ("test -c /dev/nvme0 && test -c /dev/nvme1 && ls -d /sys/bus/pci/devices/0000:03:00.0/net/* /sys/bus/pci/devices/0000:04:00.0/net/*"
         " && ls /dev/infiniband/uverbs* /dev/dri/card* /dev/snd/pcm* /dev/i2c-* /dev/tpm0 /dev/tpmrm0 /dev/watchdog0 /dev/ipmi0 /dev/uio0"
         " /dev/accel/accel0 /sys/bus/cxl/devices/mem* /sys/bus/mdev/devices/*")
MDEV = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"
first = {}


def story(node):
    order = ["a", "b"] if not first else ["b", "a"]
    for port, it in enumerate(order, 1):
        node.usb_serial(it, port, "LAB-" + it)
        node.usb_disk("disk-" + it, port + 2, "STICK-" + it)
        node.wait_until(lambda: len(node.serial_ports()) == port, f"adapter {it}")
        node.wait_for(f"test $(ls -d /sys/class/block/sd? | wc -l) = {port} && test -b /dev/sd{'ab'[port - 1]}")
    node.sh(f"echo {MDEV} > /sys/class/mdev_bus/mtty/mdev_supported_types/mtty-2/create", check=True)
    node.wait_for(SHOWN)
    node.rest()
    found, problems = node.discover()
    ids = {name: sorted(devices) for name, devices in found.items()}
    nodes = {f"{name} {id}": it["nodes"] for name, devices in found.items() for id, it in devices.items()}
    empty = [name for name, it in ids.items() if not it]
    assert not empty, f"nothing found: {empty}; {problems}"
    if not first:
        first.update(ids=ids, nodes=nodes)
        node.say(f"{sum(map(len, ids.values()))} devices in {len(ids)} resources")
        return
    for name in ids:
        assert ids[name] == first["ids"][name], f"{name}: {first['ids'][name]} became {ids[name]}"
    moved = [it for it in nodes if nodes[it] != first["nodes"][it]]
    node.say(f"{len(moved)} of them have other nodes after the reboot, as they should: {', '.join(moved)}")
    if not moved:
        raise GuestFailed("the same names in another order of loading")
