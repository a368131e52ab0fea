"""Mediated devices of the kernel's example, mtty, are made, given to a pod, and taken away, by the profile."""
DEVICES = ["mdev"]
X86 = "its driver is built for x86_64 only"
CONFIG = """
resources:
  - name: example.com/mtty
    profile: { name: vfio-mdev, types: [Dual port serial] }
"""
PARENT = "/sys/class/mdev_bus/mtty/mdev_supported_types"
FIRST, SECOND = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001", "83b8f4f2-509f-382f-3c1e-e6bfe0fa1002"


def story(node):
    node.wait_for(f"ls {PARENT}/mtty-2/create && test -c /dev/vfio/vfio")
    node.start()
    node.expect("example.com/mtty")

    def made(uuid):
        return f"test -c /dev/vfio/$(basename $(readlink /sys/bus/mdev/devices/{uuid}/iommu_group))"

    def make(uuid, kind):
        node.sh(f"echo {uuid} > {PARENT}/{kind}/create", check=True)

    node.expect_after("one made", lambda: make(FIRST, "mtty-2"),
                      "example.com/mtty", f"{FIRST} Healthy", event=" add mdev ", given=made(FIRST))
    # One of another type.
    make(SECOND, "mtty-1")
    node.wait_for(made(SECOND))
    group = node.sh(f"basename $(readlink /sys/bus/mdev/devices/{FIRST}/iommu_group)", check=True)[0].strip()
    assert node.hold("vm", "example.com/mtty") == (FIRST, ["/dev/vfio/vfio", f"/dev/vfio/{group}"])
    node.release("vm")
    node.expect_after("it is taken away", lambda: node.sh(f"echo 1 > /sys/bus/mdev/devices/{FIRST}/remove", check=True),
                      "example.com/mtty", f"{FIRST} Unhealthy", event=" remove mdev ", given=f"! test -e /sys/bus/mdev/devices/{FIRST}")
