"""An NVMe subsystem has two namespaces, which share its serial number, and two controllers that lead to them, by the profile.

Each namespace is a device; the paths to it are none. It is offered as long as one path is there."""
DEVICES = ["nvme-multi"]
CONFIG = """
resources:
  - profile: nvme
    health: { interval: 1s }
  - name: example.com/second
    profile: { name: nvme, namespaces: ["2"] }
    health: { interval: 1s }
    exclusive: false
"""
PATHS = "test $(ls -d /sys/class/block/nvme*c*n* | wc -l)"
NVME, SECOND = "chandler/nvme", "example.com/second"


def story(node):
    node.wait_for("test -b /dev/nvme?n1 && test -b /dev/nvme?n2 && " + PATHS + " = 4")
    # The kernel names them in the order in which it finds them.
    of = "echo /dev/$(basename $(dirname $(grep -lx %d /sys/class/block/nvme?n?/nsid)))"
    disk, other = (node.sh(of % it, check=True)[0].strip() for it in (1, 2))
    node.start()
    node._until(lambda: len(node.healthy(NVME)) == 2 and node.healthy(SECOND) == ["LABNS"], "both namespaces")
    found = node.discover()[0][NVME]
    first, second = (next(id for id, it in found.items() if it["nodes"] == [path]) for path in (disk, other))
    node.say(f"namespaces: {first}, {second}")
    assert node.gives(SECOND, other) == ("LABNS", {"BLOCK_DEVICES": other})

    def healthy(health="Healthy"):
        return [f"{first} {health}", f"{second} {health}"]

    node.expect_after("one controller pulled", lambda: node.unplug("one"), NVME, *healthy(), event=" remove nvme - ", given=PATHS + " = 2")
    node.restart()
    node.expect(NVME, *healthy())
    held = [node.hold(pod, NVME) for pod in ("one", "two")]
    assert sorted(held) == sorted([(first, [disk]), (second, [other])]), held
    node.expect_after("it is plugged in again", lambda: node.pci("nvme", "one", 1, serial="LABNS", subsys="sub"), NVME, *healthy(), event=" add nvme - ", given=PATHS + " = 4")
    node.unplug("one")
    node.expect_after("the last controller pulled", lambda: node.unplug("two"), NVME, *healthy("Unhealthy"), given="! ls /dev/nvme?n?")
    node.expect(SECOND, "LABNS Unhealthy")
    node.expect_after("it is back", lambda: node.pci("nvme", "two", 2, serial="LABNS", subsys="sub"), NVME, *healthy(), given="test -b /dev/nvme?n1 && test -b /dev/nvme?n2")
    node.expect(SECOND, "LABNS Healthy")
