"""Virtual functions of an igb card are made, bound to vfio-pci, and taken away again, by the profiles for them.

The card is told by `sriov_totalvfs`: reading `sriov_numvfs` waits until functions are made or taken away."""
DEVICES = ["iommu", "igb"]
X86 = "its IOMMU is Intel's"
CONFIG = """
resources:
  - name: example.com/pf
    exclusive: false
    discovery:
      sysfs: bus/pci
      match: [{ key: sriov_totalvfs, operator: Exists }, { key: pci.device, operator: In, values: ["10c9"] }]
      nodes: []
  - name: example.com/card
    profile: { name: sriov-net, functions: physical, devices: ["10c9"] }
  - name: example.com/vf-net
    profile: { name: sriov-net, rootDevices: ["0000:03:00.0#0-2"], linkTypes: [ether] }
    health: { interval: 1s }
  - name: example.com/vf-vfio
    profile: { name: sriov-vfio, vendors: ["8086"] }
"""
PF = "/sys/bus/pci/devices/0000:03:00.0"


def vf(n):
    # The 82576's functions begin at 0x80 and lie two apart, odd ones on the other port.
    return f"0000:03:{0x10 + (n * 2) // 8:02x}.{(n * 2) % 8}"


def story(node):
    node.wait_for(f"ls {PF}/net/*")
    card = node.sh(f"ls {PF}/net", check=True)[0].strip()
    # QEMU's router announces itself.
    node.sh(f"echo 0 > /proc/sys/net/ipv6/conf/{card}/accept_ra; ip link set {card} up", check=True)
    node.wait_for(f"grep 1 {PF}/net/{card}/carrier")
    node.start()
    node.expect("example.com/pf", "0000:03:00.0 Healthy")
    node.expect("example.com/card", "0000:03:00.0 Healthy")
    node.expect("example.com/vf-net")
    node.expect("example.com/vf-vfio")
    # What the host itself is reached by is given to nobody. The kernel says nothing of routes.
    look = f"echo change > /sys/class/net/{card}/uevent"
    node.sh(f"ip route add default dev {card}; {look}", check=True)
    node.expect("example.com/card", "0000:03:00.0 Unhealthy")
    node.sh(f"ip route del default dev {card}; {look}", check=True)
    node.expect("example.com/card", "0000:03:00.0 Healthy")

    def nets(*numbers):
        return " && ".join(f"ls -d /sys/bus/pci/devices/{vf(n)}/net/*" for n in numbers)

    def make(n):
        node.sh(f"echo {n} > {PF}/sriov_numvfs", check=True)

    node.expect_after("three functions made", lambda: make(3),
                      "example.com/vf-net", *[f"{vf(n)} Healthy" for n in range(3)], event=" add net - .*/0000:03:1", given=nets(0, 1, 2))
    # A card with functions is what they go through, and is given to nobody.
    node.expect("example.com/card", "0000:03:00.0 Unhealthy")
    assert node.hold("net", "example.com/vf-net")[1] == []
    node.release("net")

    def bind(address):
        node.sh(f"echo vfio-pci > /sys/bus/pci/devices/{address}/driver_override; echo {address} > /sys/bus/pci/devices/{address}/driver/unbind; echo {address} > /sys/bus/pci/drivers_probe", check=True)

    node.expect_after("one bound to vfio-pci", lambda: bind(vf(1)),
                      "example.com/vf-vfio", f"{vf(1)} Healthy", event=" bind pci - .*/" + vf(1),
                      given=f"cd /sys/bus/pci/devices/{vf(1)} && readlink driver | grep vfio-pci && test -c /dev/vfio/$(basename $(readlink iommu_group))")
    node.expect("example.com/vf-net", f"{vf(0)} Healthy", f"{vf(1)} Unhealthy", f"{vf(2)} Healthy")
    group = node.sh(f"basename $(readlink /sys/bus/pci/devices/{vf(1)}/iommu_group)", check=True)[0].strip()
    assert node.hold("dpdk", "example.com/vf-vfio") == (vf(1), ["/dev/vfio/vfio", f"/dev/vfio/{group}"])
    node.release("dpdk")

    # Without a link at the card nothing comes through its functions.
    node.sh(f"ip link set {card} down", check=True)
    node.expect("example.com/vf-net", f"{vf(0)} Unhealthy", f"{vf(1)} Unhealthy", f"{vf(2)} Unhealthy")
    node.sh(f"ip link set {card} up", check=True)
    node.expect("example.com/vf-net", f"{vf(0)} Healthy", f"{vf(1)} Unhealthy", f"{vf(2)} Healthy")

    # Whoever has an interface in a network of its own has no sick device.
    net = node.sh(f"ls /sys/bus/pci/devices/{vf(0)}/net", check=True)[0].strip()
    node.sh("unshare -n sleep 1000 & echo $! > /run/other", check=True)
    node.wait_for(f"ip link set {net} netns $(cat /run/other) && ! ls -d /sys/bus/pci/devices/{vf(0)}/net/{net}")
    node.expect("example.com/vf-net", f"{vf(0)} Healthy", f"{vf(1)} Unhealthy", f"{vf(2)} Healthy")
    assert vf(0) in node.discover()[0]["example.com/vf-net"]
    node.sh("kill $(cat /run/other)", check=True)

    node.expect_after("all taken away", lambda: make(0),
                      "example.com/vf-vfio", f"{vf(1)} Unhealthy", event=" remove pci - .*/" + vf(1),
                      given="! ls -d /sys/bus/pci/devices/0000:03:1*")
    node.expect("example.com/vf-net", *[f"{vf(n)} Unhealthy" for n in range(3)])
    node.expect("example.com/pf", "0000:03:00.0 Healthy")
    node.expect("example.com/card", "0000:03:00.0 Healthy")
    node.expect_after("two made again", lambda: make(2),
                      "example.com/vf-net", f"{vf(0)} Healthy", f"{vf(1)} Healthy", f"{vf(2)} Unhealthy", event=" add net - .*/0000:03:1", given=nets(0, 1))
