"""Graphics cards come and go beside displays that stand for no hardware, by the profile.

QEMU's cannot be plugged in: the kernel is told to forget a card, and to look for it again. Then it has other nodes, and its id."""
DEVICES = []
GUEST = {"args": [it for n in (1, 2) for it in ("-device", f"virtio-gpu-pci,bus=rp{n}")]}
X86 = "its driver for a display without hardware is built for x86_64 only"
CONFIG = """
resources:
  - profile: drm
  - profile: { name: drm, node: card }
"""
RENDER, CARD = "chandler/drm-virtio-pci", "chandler/drm-card-virtio-pci"


def story(node):
    def nodes(slot):
        """The nodes of the card in a slot: (to draw with, of displays)."""
        names = node.sh(f"cd /sys/bus/pci/devices/0000:0{slot}:00.0/drm && ls -d renderD* card?", check=True)[0].split()
        return [f"/dev/dri/{next(it for it in names if it.startswith(kind))}" for kind in ("renderD", "card")]

    def has(slot):
        return f"cd /sys/bus/pci/devices/0000:0{slot}:00.0/drm && cd /dev/dri && test -c $(basename /sys/bus/pci/devices/0000:0{slot}:00.0/drm/renderD*)"

    def forget(*slots):
        for slot in slots:
            node.sh(f"echo 1 > /sys/bus/pci/devices/0000:0{slot}:00.0/remove", check=True)

    def look(slot):
        node.sh(f"echo 1 > /sys/class/pci_bus/0000:0{slot}/rescan", check=True)

    node.wait_for("test -e /sys/bus/pci/devices/0000:02:00.0")
    forget(1, 2)
    node.sh("modprobe -a vgem virtio_gpu", check=True)
    node.wait_for("test -c /dev/dri/card0 && test -c /dev/dri/renderD128")
    node.start()
    node.expect_after("a card found", lambda: look(1), RENDER, "0000:01:00.0 Healthy", event=" add drm .*/0000:01:00.0/drm/renderD", given=has(1))
    node.expect(CARD, "0000:01:00.0 Healthy")
    render, card = nodes(1)
    assert node.gives(RENDER, render)[0] == node.gives(CARD, card)[0] == "0000:01:00.0"
    node.expect_after("another one found", lambda: look(2), RENDER, "0000:01:00.0 Healthy", "0000:02:00.0 Healthy",
                      event=" add drm .*/0000:02:00.0/drm/renderD", given=has(2))
    node.expect_after("the first gone", lambda: forget(1), RENDER, "0000:01:00.0 Unhealthy", "0000:02:00.0 Healthy",
                      event=" remove drm .*/0000:01:00.0/drm/renderD", given="! test -e /sys/bus/pci/devices/0000:01:00.0")
    node.expect(CARD, "0000:01:00.0 Unhealthy", "0000:02:00.0 Healthy")
    assert node.gives(RENDER, nodes(2)[0])[0] == "0000:02:00.0"
    # What it had before is another's now.
    node.sh("modprobe vkms", check=True)
    node.wait_for(f"test -c {card}")
    node.expect_after("it is found again", lambda: look(1), RENDER, "0000:01:00.0 Healthy", "0000:02:00.0 Healthy",
                      event=" add drm .*/0000:01:00.0/drm/renderD", given=has(1))
    found, _ = node.discover()
    assert {name: sorted(it) for name, it in found.items()} == {it: ["0000:01:00.0", "0000:02:00.0"] for it in (RENDER, CARD)}, found
    assert found[CARD]["0000:01:00.0"]["nodes"] == [nodes(1)[1]], (found, nodes(1))
    node.say(f"{card} is {nodes(1)[1]} now")
