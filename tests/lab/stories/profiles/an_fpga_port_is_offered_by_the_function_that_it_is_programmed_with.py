"""A card whose port says a function's id is taken by the kernel's dfl drivers, let go, and comes back with another function, by the profile.

A port of which all bits read as ones is dead, and given to nobody."""
DEVICES = ["fpga"]
X86 = "its driver is built for x86_64 only"
CONFIG = """
resources:
  - profile: intel-fpga
    health: { interval: 1s }
  - profile: { name: intel-fpga, mode: fme }
  - { profile: { name: intel-fpga, mode: region }, exclusive: false }
"""
CARD = "0000:06:00.0"
FME, REGION = "fpga.intel.com/fme", "fpga.intel.com/region-1ab00000000000051ab0000000000004"
PORT = "test -c /dev/dfl-port.0 && cat /sys/bus/platform/devices/dfl-port.0/afu_id"
DRIVER = "/sys/bus/pci/drivers/dfl-pci"


def function(half):
    return f"fpga.intel.com/af-{half}{half}"


def story(node):
    first, second, dead = "1ab0000000000006", "1ab0000000000007", "f" * 16

    def program(half):
        node.sh(f"lab-dfl /sys/bus/pci/devices/{CARD}/resource0 {half} && echo {CARD} > {DRIVER}/bind && {PORT}", check=True)

    def let_go():
        node.sh(f"echo {CARD} > {DRIVER}/unbind", check=True)

    node.wait_for(f"{PORT} | grep {first}")
    node.start()
    node.expect(function(first), f"{CARD} Healthy")
    node.expect(FME, f"{CARD} Healthy")
    node.expect(REGION, f"{CARD} Healthy")
    for resource, path in ((function(first), "/dev/dfl-port.0"), (REGION, "/dev/dfl-port.0"), (FME, "/dev/dfl-fme.0")):
        assert node.gives(resource, path)[0] == CARD

    node.expect_after("its driver lets it go", let_go, function(first), f"{CARD} Unhealthy", given="! test -e /dev/dfl-port.0")
    node.expect(FME, f"{CARD} Unhealthy")
    node.expect_after("it comes back with another function", lambda: program(second), function(second), f"{CARD} Healthy", event=" add platform - .*/dfl-port.0 ", given=PORT)
    node.expect(FME, f"{CARD} Healthy")
    node.expect(function(first), f"{CARD} Unhealthy")
    assert "dfl-port" in str(node.hold("match", function(second))), "the second function"
    why = node.refused("late", function(first))
    assert "Unhealthy" in why or "healthy" in why or "Admission" in why, why
    node.release("match")

    let_go()
    node.wait_for("! test -e /dev/dfl-port.0")
    program(dead)
    node.wait_for(f"{PORT} | grep ffffffff")
    node.expect(function(dead), f"{CARD} Unhealthy")
    node.expect(function(second), f"{CARD} Unhealthy")
    let_go()
    node.wait_for("! test -e /dev/dfl-port.0")
    program(first)
    node.wait_for(f"{PORT} | grep {first}")
    node.expect(function(first), f"{CARD} Healthy")
