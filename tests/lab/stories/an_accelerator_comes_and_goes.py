"""Cards of the kernel's accelerator class are added and removed; the node is handed over, by the profile."""
DEVICES = ["accel"]
X86 = "its driver is built for x86_64 only"
CONFIG = """
resources:
  - profile: accel
    allocation:
      devices: [{ hostPath: "{node}", containerPath: "/dev/accelerator{index}" }]
"""


def has(address):
    return f"test -c /dev/accel/$(basename /sys/bus/pci/devices/0000:{address}:00.0/accel/*)"


def story(node):
    node.wait_for(has("05"))
    node.start()
    node.expect("chandler/accel-lab_accel", "0000:05:00.0 Healthy")
    node.expect_after("card added", lambda: node.pci("edu", "acc2", 4),
                      "chandler/accel-lab_accel", "0000:05:00.0 Healthy", "0000:04:00.0 Healthy", event=" add accel ", given=has("04"))
    found = node.discover()[0]["chandler/accel-lab_accel"]
    name = node.sh("basename /sys/bus/pci/devices/0000:04:00.0/accel/*", check=True)[0].strip()
    assert found["0000:04:00.0"]["nodes"] == ["/dev/accel/" + name], found
    second = node.hold("job", "chandler/accel-lab_accel"), node.hold("other", "chandler/accel-lab_accel")
    assert dict((id, nodes) for id, nodes in second)["0000:04:00.0"] == ["/dev/accel/" + name], second
    node.expect_after("the first card removed", lambda: node.unplug("acc1"),
                      "chandler/accel-lab_accel", "0000:05:00.0 Unhealthy", "0000:04:00.0 Healthy", event=" remove accel ", given="! test -e /sys/bus/pci/devices/0000:05:00.0")
    # The kernel's number is given to another card; the id is not.
    node.expect_after("it is put in again", lambda: node.pci("edu", "acc1", 6),
                      "chandler/accel-lab_accel", "0000:05:00.0 Unhealthy", "0000:04:00.0 Healthy", "0000:06:00.0 Healthy", event=" add accel ", given=has("06"))
