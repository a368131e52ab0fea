"""NVMe disks are plugged, given to a pod, used by the host for swap and with partitions, and taken away, by the profile."""
DEVICES = ["nvme"]
CONFIG = """
resources:
  - name: example.com/disk
    profile: nvme
    health: { interval: 1s }
"""


def story(node):
    node.wait_for("test -b /dev/nvme0n1")
    node.start()
    node.expect("example.com/disk", "LABNVME1 Healthy")

    node.expect_after("a disk plugged", lambda: node.nvme_kept("nvme2", 2, "LABNVME2"),
                      "example.com/disk", "LABNVME1 Healthy", "LABNVME2 Healthy", event=" add block ", given="test -b /dev/nvme1n1")
    held = node.hold("db", "example.com/disk")
    assert held in [("LABNVME1", ["/dev/nvme0n1"]), ("LABNVME2", ["/dev/nvme1n1"])], held
    node.release("db")

    node.sh("mkswap /dev/nvme1n1 && swapon /dev/nvme1n1", check=True)
    node.expect("example.com/disk", "LABNVME1 Healthy", "LABNVME2 Unhealthy")
    node.sh("swapoff /dev/nvme1n1", check=True)
    node.expect("example.com/disk", "LABNVME1 Healthy", "LABNVME2 Healthy", patience=90)

    node.expect_after("it gets a partition", lambda: node.sh("printf 'o\\nn\\np\\n1\\n\\n\\nw\\n' | fdisk /dev/nvme1n1", check=True),
                      "example.com/disk", "LABNVME1 Healthy", "LABNVME2 Unhealthy", event=" add block .*nvme1n1p1", given="test -b /dev/nvme1n1p1")
    assert "LABNVME2" not in node.discover()[0].get("example.com/disk", {})

    node.expect_after("the other one is taken away", lambda: node.unplug("nvme1"),
                      "example.com/disk", "LABNVME1 Unhealthy", "LABNVME2 Unhealthy", event=" remove block ", given="! test -e /dev/nvme0n1")
