"""A file that a probe reads never answers: a FUSE mount that nobody serves, and a FIFO without a writer."""
DEVICES = ["misc", "nvme", "usb", "e1000e"]
CONFIG = """
resources:
  - name: example.com/nvme
    discovery: { sysfs: class/nvme }
    health: { interval: 3s, timeout: 3s, rules: [{ key: model, operator: Exists }] }
  - name: example.com/nic
    discovery: { sysfs: class/net, match: [{ key: pci.device, operator: In, values: ["10d3"] }] }
    health: { interval: 3s, timeout: 3s, rules: [{ key: mtu, operator: Gt, values: [100] }] }
  - name: example.com/serial
    discovery: { nodes: ["/dev/ttyUSB*"] }
    health: { interval: 3s, timeout: 3s }
"""
FUSE = ("exec 5<>/dev/fuse; mount -t fuse -o fd=5,rootmode=100000,user_id=0,group_id=0 hang /sys/class/nvme/nvme0/model;"
        " (sleep 1000 <&5 >/dev/null 2>&1 &)")
ABORT = ("mount -t fusectl f /sys/fs/fuse/connections; umount -l /sys/class/nvme/nvme0/model;"
         " for it in /sys/fs/fuse/connections/*/abort; do echo 1 > $it; done 2>/dev/null; true")


def story(node):
    node.wait_for("test -c /dev/nvme0 && ls /sys/bus/pci/devices/0000:04:00.0/net/*")
    node.start()
    node.expect("example.com/nvme", "LABNVME1 Healthy")
    node.expect("example.com/nic", "0000:04:00.0 Healthy")
    node.expect_after("a file of the disk hangs", lambda: node.sh(FUSE, check=True),
                      "example.com/nvme", "LABNVME1 Unhealthy")
    # A FIFO is no attribute; it must be refused, not waited for.
    node.expect_after("a file of the card is a FIFO",
                      lambda: node.sh("mkfifo /tmp/f; mount --bind /tmp/f /sys/class/net/eth0/mtu", check=True),
                      "example.com/nic", "0000:04:00.0 Unhealthy")
    # All the others are served on, and what is new is found.
    node.expect_after("an adapter plugged", lambda: node.usb_serial("a", 1, "LAB0001"),
                      "example.com/serial", "LAB0001 Healthy", event=" add tty - ",
                      given=lambda: list(node.serial_ports()) == ["LAB0001"])
    node.expect_after("the card's file is right again", lambda: node.must("umount /sys/class/net/eth0/mtu", "let go of the FIFO"),
                      "example.com/nic", "0000:04:00.0 Healthy")
    node.expect_after("the disk's file answers again", lambda: node.sh(ABORT, check=True),
                      "example.com/nvme", "LABNVME1 Healthy")
    # While a probe hangs, it can be ended all the same.
    node.sh(FUSE, check=True)
    node.expect("example.com/nvme", "LABNVME1 Unhealthy")
    node.stop()
