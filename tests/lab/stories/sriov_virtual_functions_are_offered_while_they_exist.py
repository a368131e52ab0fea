"""Virtual functions of an igb card are made, bound to vfio-pci, and taken away again.

The card is told by `sriov_totalvfs`: reading `sriov_numvfs` waits until functions are made or taken away."""
DEVICES = ["iommu", "igb"]
X86 = "its IOMMU is Intel's"
CONFIG = """
resources:
  - name: example.com/pf
    discovery:
      sysfs: bus/pci
      match: [{ key: sriov_totalvfs, operator: Exists }, { key: pci.device, operator: In, values: ["10c9"] }]
      nodes: []
  - name: example.com/vf-net
    discovery:
      sysfs: class/net
      match: [{ key: device/physfn, operator: Exists }]
  - name: example.com/vf-vfio
    discovery:
      sysfs: bus/pci
      match: [{ key: physfn, operator: Exists }, { key: driver, operator: In, values: [vfio-pci] }]
      nodes: ["/dev/vfio/{iommu_group}", /dev/vfio/vfio]
    allocation: { env: { PCI_ADDRESSES: "{pci.address}" } }
"""
PF = "/sys/bus/pci/devices/0000:03:00.0"


def vf(n):
    # The 82576's functions begin at 0x80 and lie two apart, odd ones on the other port.
    return f"0000:03:{0x10 + (n * 2) // 8:02x}.{(n * 2) % 8}"


def story(node):
    node.wait_for(f"ls {PF}/net/*")
    node.start()
    node.expect("example.com/pf", "0000:03:00.0 Healthy")
    node.expect("example.com/vf-net")
    node.expect("example.com/vf-vfio")

    def nets(*numbers):
        return " && ".join(f"ls -d /sys/bus/pci/devices/{vf(n)}/net/*" for n in numbers)

    def make(n):
        node.sh(f"echo {n} > {PF}/sriov_numvfs", check=True)

    node.expect_after("three functions made", lambda: make(3),
                      "example.com/vf-net", *[f"{vf(n)} Healthy" for n in range(3)], event=" add net - .*/0000:03:1", given=nets(0, 1, 2))

    def bind(address):
        node.sh(f"echo vfio-pci > /sys/bus/pci/devices/{address}/driver_override; echo {address} > /sys/bus/pci/devices/{address}/driver/unbind; echo {address} > /sys/bus/pci/drivers_probe", check=True)

    node.expect_after("one bound to vfio-pci", lambda: bind(vf(1)),
                      "example.com/vf-vfio", f"{vf(1)} Healthy", event=" bind pci - .*/" + vf(1),
                      given=f"cd /sys/bus/pci/devices/{vf(1)} && readlink driver | grep vfio-pci && test -c /dev/vfio/$(basename $(readlink iommu_group))")
    node.expect("example.com/vf-net", f"{vf(0)} Healthy", f"{vf(1)} Unhealthy", f"{vf(2)} Healthy")
    nodes = node.discover()[0]["example.com/vf-vfio"][vf(1)]["nodes"]
    assert len(nodes) == 2 and nodes[1] == "/dev/vfio/vfio", nodes

    node.expect_after("all taken away", lambda: make(0),
                      "example.com/vf-vfio", f"{vf(1)} Unhealthy", event=" remove pci - .*/" + vf(1),
                      given="! ls -d /sys/bus/pci/devices/0000:03:1*")
    node.expect("example.com/vf-net", *[f"{vf(n)} Unhealthy" for n in range(3)])
    node.expect("example.com/pf", "0000:03:00.0 Healthy")
    node.expect_after("two made again", lambda: make(2),
                      "example.com/vf-net", f"{vf(0)} Healthy", f"{vf(1)} Healthy", f"{vf(2)} Unhealthy", event=" add net - .*/0000:03:1", given=nets(0, 1))
