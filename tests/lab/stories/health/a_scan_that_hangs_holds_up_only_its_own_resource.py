"""A file that discovery reads never answers. Nothing new is found there, but all else goes on."""
from build import Failed
from story import read

DEVICES = ["misc", "nvme", "usb"]
CONFIG = """
resources:
  - name: example.com/nvme
    discovery: { sysfs: class/nvme }
    health: { interval: 3s, timeout: 3s }
  - name: example.com/serial
    discovery: { nodes: ["/dev/ttyUSB*"] }
    health: { interval: 3s, timeout: 3s }
"""
FUSE = ("exec 5<>/dev/fuse; mount -t fuse -o fd=5,rootmode=100000,user_id=0,group_id=0 hang /sys/class/nvme/nvme0/serial;"
        " (sleep 1000 <&5 >/dev/null 2>&1 &)")


def story(node):
    node.wait_for("test -c /dev/nvme0")
    node.start()
    node.expect("example.com/nvme", "LABNVME1 Healthy")
    node.expect_after("an adapter plugged", lambda: node.usb_serial("a", 1, "LAB0001"),
                      "example.com/serial", "LAB0001 Healthy", event=" add tty - ",
                      given=lambda: list(node.serial_ports()) == ["LAB0001"])
    node.sh(FUSE + "; echo change > /sys/class/nvme/nvme0/uevent", check=True)
    node.must("grep -q fuse /proc/$(cat /run/chandler.pid)/task/*/wchan /proc/$(cat /run/chandler.pid)/task/*/stack", "read the file that hangs")
    node.expect_after("it is unplugged while the scan hangs", lambda: node.unplug("a"),
                      "example.com/serial", "LAB0001 Unhealthy", event=" remove tty - ",
                      given=lambda: not node.serial_ports())
    node.expect_after("another is plugged", lambda: node.usb_serial("b", 2, "LAB0002"),
                      "example.com/serial", "LAB0001 Unhealthy", "LAB0002 Healthy", event=" add tty - ",
                      given=lambda: list(node.serial_ports()) == ["LAB0002"])
    if "a read of the host is blocked" not in read(node.share + "/chandler"):
        raise Failed("Chandler does not say that the read is blocked")
    began = node.uptime()
    node.stop()
    node.say(f"stopped in {node.uptime() - began:.1f} s")
