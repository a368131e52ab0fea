"""PCI cards behind an IOMMU are bound to vfio-pci, given to a pod with the node of their group, and unbound, by the profile."""
DEVICES = ["iommu", "e1000e", "nvme"]
X86 = "its IOMMU is Intel's"
CONFIG = """
resources:
  - name: example.com/passthrough
    profile: vfio-pci
    health: { interval: 1s }
"""


def story(node):
    nic, disk = "0000:04:00.0", "0000:01:00.0"
    node.wait_for(f"ls /sys/bus/pci/devices/{nic}/net/* && test -b /dev/nvme0n1")
    node.start()
    node.expect("example.com/passthrough")

    def bind(address, driver):
        node.sh(f"echo {driver} > /sys/bus/pci/devices/{address}/driver_override; echo {address} > /sys/bus/pci/devices/{address}/driver/unbind; echo {address} > /sys/bus/pci/drivers_probe", check=True)

    def group(address):
        return node.sh(f"basename $(readlink /sys/bus/pci/devices/{address}/iommu_group)", check=True)[0].strip()

    ready = "test -c /dev/vfio/$(basename $(readlink /sys/bus/pci/devices/{}/iommu_group))"
    node.expect_after("a network card bound", lambda: bind(nic, "vfio-pci"),
                      "example.com/passthrough", f"{nic} Healthy", event=" bind pci - .*/" + nic, given=ready.format(nic))
    assert node.hold("vm", "example.com/passthrough") == (nic, ["/dev/vfio/vfio", f"/dev/vfio/{group(nic)}"])
    node.release("vm")
    node.expect_after("a disk bound", lambda: bind(disk, "vfio-pci"),
                      "example.com/passthrough", f"{disk} Healthy", f"{nic} Healthy", event=" bind pci - .*/" + disk, given=ready.format(disk))
    node.expect_after("the network card given back to the kernel", lambda: bind(nic, "e1000e"),
                      "example.com/passthrough", f"{disk} Healthy", f"{nic} Unhealthy", event=" bind pci - .*/" + nic, given=f"ls /sys/bus/pci/devices/{nic}/net/*")
    node.expect_after("the disk taken away", lambda: node.unplug("nvme1"),
                      "example.com/passthrough", f"{disk} Unhealthy", f"{nic} Unhealthy", event=" remove pci - .*/" + disk, given=f"! test -e /sys/bus/pci/devices/{disk}")
