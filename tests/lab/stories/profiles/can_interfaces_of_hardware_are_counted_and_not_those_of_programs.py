"""CAN interfaces at serial ports come and go beside those that programs make, by the profile.

A program can call its interface as it likes, can7 too; no pod may wait at a bus that is not there."""
DEVICES = []
X86 = "the guest's program for it is made for x86_64 only"
CONFIG = """
resources:
  - profile: can
"""


def story(node):
    node.sh("modprobe -a can slcan vcan vxcan; ip link add type vcan; ip link add can7 type vcan; ip link add can8 type vxcan", check=True)
    node.wait_for("cd /sys/class/net && grep 280 can7/type can8/type vcan0/type vxcan0/type")
    node.start()
    node.expect("chandler/can")

    def plug():
        """A serial port with an adapter; gives the process that is its cable."""
        interface, process = node.sh("lab-slcan", check=True)[0].split()
        cables[interface] = process

    cables = {}
    node.expect_after("an adapter attached", plug, "chandler/can", "can0 Healthy", event=" add net - .*/can0 ", given="test -e /sys/class/net/can0")
    node.expect_after("another one attached", plug, "chandler/can", "can0 Healthy", "can1 Healthy", event=" add net - .*/can1 ", given="test -e /sys/class/net/can1")
    id, environment = node.gives("chandler/can")
    assert environment == {"CAN_INTERFACES": id}, (id, environment)

    node.expect_after("the first adapter pulled", lambda: node.sh(f"kill {cables['can0']}", check=True),
                      "chandler/can", "can0 Unhealthy", "can1 Healthy", event=" remove net - .*/can0 ", given="! test -e /sys/class/net/can0")
    # A program that takes its name does not become what it was.
    node.sh("ip link add can0 type vcan", check=True)
    node.rest()
    node.restart()
    node.expect("chandler/can", "can0 Unhealthy", "can1 Healthy")
    node.sh("ip link del can0", check=True)
    node.expect_after("it is attached again", plug, "chandler/can", "can0 Healthy", "can1 Healthy", event=" add net - .*/can0 ", given="test -e /sys/class/net/can0")
    found, problems = node.discover()
    assert sorted(found["chandler/can"]) == ["can0", "can1"] and not problems, (found, problems)
