"""A pod mounts its disk and takes its interface into its own network: both stay healthy, also over a restart of Chandler.

The kubelet says who holds what. The same, done where no pod holds the device, takes it off the list."""
DEVICES = ["nvme", "e1000e"]
CONFIG = """
resources:
  - name: example.com/disk
    profile: nvme
    health: { interval: 1s }
  - name: example.com/port
    discovery:
      sysfs: class/net
      match: [{ key: driver, operator: In, values: [e1000e] }]
      nodes: []
    health: { interval: 1s }
"""
PORT = "0000:04:00.0"


def story(node):
    node.wait_for("test -b /dev/nvme0n1 && ls /sys/bus/pci/drivers/e1000e/*/net")
    port = node.sh("ls /sys/bus/pci/drivers/e1000e/*/net", check=True)[0].strip()
    node.start(pods=True)
    node.expect("example.com/disk", "LABNVME1 Healthy")
    node.expect("example.com/port", f"{PORT} Healthy")

    # The first disk keeps nothing, so the pod must hold the other one.
    assert node.hold("other", "example.com/disk")[0] == "LABNVME1"
    node.expect_after("a disk plugged", lambda: node.nvme_kept("nvme2", 2, "LABNVME2"),
                      "example.com/disk", "LABNVME1 Healthy", "LABNVME2 Healthy", event=" add block ", given="test -b /dev/nvme1n1")
    assert node.hold("db", "example.com/disk") == ("LABNVME2", ["/dev/nvme1n1"])
    assert node.hold("bus", "example.com/port")[0] == PORT
    node.sh("modprobe ext4; mke2fs /dev/nvme1n1 && mkdir -p /run/data && mount -t ext4 /dev/nvme1n1 /run/data", check=True)
    network(node, port)
    node.restart()
    for resource, id in [("example.com/disk", "LABNVME2"), ("example.com/port", PORT)]:
        ill = [it for it in node.lists(resource) if it.get(id, "Healthy") != "Healthy"]
        assert not ill, (resource, ill)
    node.expect("example.com/disk", "LABNVME1 Healthy", "LABNVME2 Healthy")
    node.expect("example.com/port", f"{PORT} Healthy")

    # The pods end. What they leave is as they leave it.
    node.release("db")
    node.expect("example.com/disk", "LABNVME1 Healthy", "LABNVME2 Unhealthy")
    node.sh("umount /run/data", check=True)
    node.expect("example.com/disk", "LABNVME1 Healthy", "LABNVME2 Healthy")
    node.release("bus")
    node.sh("kill $(cat /run/other)", check=True)
    node.wait_for(f"test -e /sys/class/net/{port}")
    node.expect("example.com/port", f"{PORT} Healthy")

    # What nobody holds and is not to be seen is gone.
    node.sh("mount -t ext4 /dev/nvme1n1 /run/data", check=True)
    network(node, port)
    node.expect("example.com/port")
    node.expect("example.com/disk", "LABNVME1 Healthy")


def network(node, port):
    """Another network, and the interface in it."""
    node.sh("unshare -n sleep 1000 & echo $! > /run/other", check=True)
    node.wait_for(f"ip link set {port} netns $(cat /run/other); ! test -e /sys/class/net/{port}")
