"""A machine with two NUMA nodes and a card in each, by the profile, and by hand where nobody is to know it."""
DEVICES = ["numa"]
X86 = "without ACPI no PCI bus has a NUMA node"
CONFIG = """
resources:
  - name: example.com/nic
    profile: { name: sriov-net, functions: physical, devices: ["10d3"] }
  - name: example.com/nic-anywhere
    exclusive: false
    topology: none
    discovery:
      sysfs: bus/pci
      match: [{ key: pci.device, operator: In, values: ["10d3"] }]
      nodes: []
"""


def story(node):
    for number, address in enumerate(["0000:41:00.0", "0000:61:00.0"]):
        node.wait_for(f"cd /sys/bus/pci/devices/{address} && ls net/* && test $(cat numa_node) = {number}")
        # Without a link a card is unhealthy.
        node.sh(f"cd /sys/bus/pci/devices/{address}/net && ip link set $(ls) up", check=True)
        node.wait_for(f"grep 1 /sys/bus/pci/devices/{address}/net/*/carrier")
    node.start()
    node.expect("example.com/nic", "0000:41:00.0 Healthy numa=0", "0000:61:00.0 Healthy numa=1")
    node.expect("example.com/nic-anywhere", "0000:41:00.0 Healthy", "0000:61:00.0 Healthy")
    held = [node.hold(pod, "example.com/nic")[0] for pod in ("one", "two")]
    assert sorted(held) == ["0000:41:00.0", "0000:61:00.0"], held
