"""What one pod has written to the registers of a network card, the next one does not find: it was reset between them."""
DEVICES = ["misc"]
CONFIG = """
resources:
  - name: example.com/nic
    discovery:
      sysfs: bus/pci
      match: [{ key: pci.vendor, operator: In, values: ["8086"] }, { key: pci.device, operator: In, values: ["10c9"] }]
      nodes: []
    preStart:
      - { command: [/run/register, "{pci.address}", found] }
      - { write: { attribute: reset_method, value: flr } }
      - { reset: pci }
      - { command: [/run/register, "{pci.address}", left] }
"""
CARD = "0000:01:00.0"

# The register of the card's lights is its driver's, of which there is none here. Only a reset gives it its first value back.
# It is read and written where the first of the card's memories lies.
REGISTER = """#!/bin/sh
read start rest < /sys/bus/pci/devices/$1/resource
at=$(printf 0x%x $((start + 0xe00)))
case $2 in
set) devmem $at 32 $3 ;;
*) echo "$(cut -d' ' -f1 /proc/uptime) $(devmem $at 32)" > /run/$2 ;;
esac
"""


def story(node):
    node.sh(f"cat > /run/register <<'END'\n{REGISTER}END\nchmod +x /run/register", check=True)
    node.pci("igb", "nic", 1)
    node.wait_for(f"test -e /sys/bus/pci/devices/{CARD}/reset_method && echo 1 > /sys/bus/pci/devices/{CARD}/enable")
    node.sh(f"/run/register {CARD} fresh", check=True)
    fresh = read(node, "fresh")[1]
    node.start()
    node.expect("example.com/nic", f"{CARD} Healthy")

    node.hold("first", "example.com/nic")
    node.sh(f"/run/register {CARD} set 0x12345678 && /run/register {CARD} used", check=True)
    assert read(node, "used")[1] == "0x12345678", read(node, "used")
    node.release("first")

    began = node.uptime()
    node.hold("second", "example.com/nic")
    started = node.uptime()
    found, left = read(node, "found"), read(node, "left")
    assert found[1] == "0x12345678", f"{found[1]} was there before the reset"
    assert left[1] == fresh, f"{left[1]} was there after the reset, and {fresh} at first"
    assert began <= found[0] <= left[0] <= started, (began, found, left, started)
    node.say(f"reset within {left[0] - found[0]:.2f} s, before the second container started; its register: {found[1]}, then {left[1]}")


def read(node, name):
    """When a register was read, and what was in it."""
    up, value = node.sh(f"cat /run/{name}", check=True)[0].split()
    return float(up), value
