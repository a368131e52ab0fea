"""A pod makes a partition on its disk and ends: the disk is cleaned, again and again until that succeeds, and then the next pod's."""
DEVICES = ["nvme"]
CONFIG = """
resources:
  - name: example.com/disk
    profile: nvme
    health: { interval: 1s }
    release: [{ command: [/bin/clean, "{node}"] }]
"""
CLEAN = r"""#!/bin/sh
echo x >> /run/tries
test -e /run/may || { echo not yet; exit 1; }
dd if=/dev/zero of=$1 bs=1M count=1 conv=fsync && blockdev --rereadpt $1
"""


def story(node):
    node.sh(f"cat > /bin/clean <<'E'\n{CLEAN}E\nchmod +x /bin/clean", check=True)
    node.wait_for("test -b /dev/nvme0n1")
    node.start(pods=True)
    node.expect("example.com/disk", "LABNVME1 Healthy")
    # The other disk keeps what is written to it.
    assert node.hold("other", "example.com/disk")[0] == "LABNVME1"
    node.expect_after("a disk plugged", lambda: node.nvme_kept("nvme2", 2, "LABNVME2"),
                      "example.com/disk", "LABNVME1 Healthy", "LABNVME2 Healthy", event=" add block ", given="test -b /dev/nvme1n1")
    assert node.hold("db", "example.com/disk")[0] == "LABNVME2"
    node.sh("printf 'o\\nn\\np\\n1\\n\\n\\nw\\n' | fdisk /dev/nvme1n1", check=True)
    node.wait_for("test -b /dev/nvme1n1p1")
    node.release("db")
    node.expect("example.com/disk", "LABNVME1 Healthy", "LABNVME2 Unhealthy")
    node.must("test $(wc -l < /run/tries) -gt 1", "try again to clean the disk")
    node.restart()
    node.expect("example.com/disk", "LABNVME1 Healthy", "LABNVME2 Unhealthy")
    node.sh("touch /run/may", check=True)
    node.expect("example.com/disk", "LABNVME1 Healthy", "LABNVME2 Healthy")
    assert node.hold("next", "example.com/disk") == ("LABNVME2", ["/dev/nvme1n1"])
    node.wait_for("! test -e /dev/nvme1n1p1")
