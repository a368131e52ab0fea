"""Virtual and SCSI disks come and go, are mounted, held, and switched off, by the profile; what is no disk is never offered.

Its enemies: a disk with the serial number of another, a RAID that is just being made, and disks that are files, memory or nothing."""
DEVICES = []
CONFIG = """
resources:
  - profile: block
    health: { interval: 1s }
"""
BLOCK = "chandler/block"
OTHERS = "loop null_blk nbd zram md_mod"


def story(node):
    node.sh(f"modprobe -a {OTHERS} virtio_blk sd_mod ext4", check=True)
    node.wait_for("test -b /dev/nullb0 && test -b /dev/loop0 && test -b /dev/zram0 && test -b /dev/nbd0")
    node.start()
    node.expect(BLOCK)

    def plug(id, slot):
        node.disk(f"disk-{id}")
        node.pci("virtio-blk-pci", id, slot, drive=f"disk-{id}", serial="LABVD")

    node.expect_after("a virtual disk plugged", lambda: plug("one", 1), BLOCK, "LABVD Healthy", event=" add block .*/vda ", given="test -b /dev/vda")
    assert node.gives(BLOCK, "/dev/vda") == ("LABVD", {"BLOCK_DEVICES": "/dev/vda"})
    plug("two", 2)
    node.wait_for("test -b /dev/vdb")
    twin = node.newcomer(BLOCK, ["LABVD"])
    assert twin.startswith("LABVD@"), twin
    node.expect_after("the first pulled", lambda: node.unplug("one"), BLOCK, "LABVD Unhealthy", f"{twin} Healthy", event=" remove block .*/vda ", given="! test -e /dev/vda")
    assert node.gives(BLOCK, "/dev/vdb")[0] == twin
    node.expect_after("the second pulled", lambda: node.unplug("two"), BLOCK, "LABVD Unhealthy", f"{twin} Unhealthy", event=" remove block .*/vdb ", given="! test -e /dev/vdb")
    gone = ["LABVD Unhealthy", f"{twin} Unhealthy"]

    # Two SCSI disks, with a memory behind them.
    node.sh("modprobe scsi_debug dev_size_mb=16 max_luns=2", check=True)
    node.wait_for("test -b /dev/sda && test -b /dev/sdb")
    node._until(lambda: len(node.healthy(BLOCK)) == 2, "two SCSI disks")
    found = node.discover()[0][BLOCK]
    a, b = (next(id for id, it in found.items() if it["nodes"] == [path]) for path in ("/dev/sda", "/dev/sdb"))
    node.say(f"SCSI disks: {a}, {b}")

    def expect(first, second, **more):
        return node.expect(BLOCK, f"{a} {first}", f"{b} {second}", *gone, **more)

    node.sh("mke2fs /dev/sda >/dev/null && mkdir /run/used && mount -t ext4 /dev/sda /run/used", check=True)
    expect("Unhealthy", "Healthy")
    assert node.gives(BLOCK, "/dev/sdb")[0] == b
    node.sh("umount /run/used; echo change > /sys/block/sda/uevent", check=True)
    expect("Healthy", "Healthy")

    # The kernel tells whose it is as soon as a RAID has it.
    node.sh("echo md_lab > /sys/module/md_mod/parameters/new_array && cd /sys/block/md_lab/md && cat /sys/block/sdb/dev > new_dev && ls /sys/block/sdb/holders | grep md_lab", check=True)
    node.sh("echo change > /sys/block/sdb/uevent", check=True)
    expect("Healthy", "Unhealthy")
    node.sh("cd /sys/block/md_lab/md && echo remove > dev-sdb/state && echo clear > array_state; ! ls /sys/block/sdb/holders | grep md_lab && echo change > /sys/block/sdb/uevent", check=True)
    expect("Healthy", "Healthy")

    # A partition, and none any more.
    node.expect_after("it gets a partition", lambda: node.sh("printf 'o\\nn\\np\\n1\\n\\n\\nw\\n' | fdisk /dev/sdb", check=True), BLOCK,
                      f"{a} Healthy", f"{b} Unhealthy", *gone, event=" add block partition .*/sdb1 ", given="test -b /dev/sdb1")
    node.expect_after("it loses it", lambda: node.sh("dd if=/dev/zero of=/dev/sdb bs=512 count=1 && blockdev --rereadpt /dev/sdb", check=True), BLOCK,
                      f"{a} Healthy", f"{b} Healthy", *gone, event=" remove block partition .*/sdb1 ", given="! test -e /dev/sdb1")

    # What the kernel has given up is offered to nobody; nor is what is gone.
    node.expect_after("one switched off", lambda: node.sh("echo offline > /sys/block/sda/device/state", check=True), BLOCK, f"{a} Unhealthy", f"{b} Healthy", *gone)
    node.sh("echo running > /sys/block/sda/device/state", check=True)
    expect("Healthy", "Healthy")
    node.expect_after("the other one deleted", lambda: node.sh("echo 1 > /sys/block/sdb/device/delete", check=True), BLOCK, f"{a} Healthy", f"{b} Unhealthy", *gone,
                      event=" remove block disk .*/sdb ", given="! test -e /dev/sdb")
    found, problems = node.discover()
    assert list(found[BLOCK]) == [a] and not problems, (found, problems)
