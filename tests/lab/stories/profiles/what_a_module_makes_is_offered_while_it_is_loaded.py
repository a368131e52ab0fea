"""Nodes of the kernel's own appear with their module and go with it, and pods share them, by the profiles for them.

Of the random numbers the node is always there: what counts is whether something makes them."""
DEVICES = ["rng"]
X86 = "its processor has no virtualization of AMD's"
CONFIG = """
resources:
  - { profile: kvm, sharing: { replicas: 2 } }
  - { profile: fuse, sharing: { replicas: 2 } }
  - { profile: tun, sharing: { replicas: 2 } }
  - { profile: ppp, sharing: { replicas: 2 } }
  - { profile: uinput, sharing: { replicas: 2 } }
  - { profile: { name: vhost, of: net }, sharing: { replicas: 2 } }
  - { profile: { name: vhost, of: vsock }, sharing: { replicas: 2 } }
  - { profile: { name: vhost, of: scsi }, sharing: { replicas: 2 } }
  - { profile: hwrng, sharing: { replicas: 2 }, health: { interval: 1s } }
  - { profile: loop, discovery: { match: [{ key: name, operator: In, values: [loop0, loop1] }] } }
  - name: example.com/tun-of-another
    discovery: { nodes: [/dev/net/tun] }
"""
# (resource, node, modules in the order in which they are unloaded, of which the first is loaded)
SHARED = [
    ("chandler/kvm", "/dev/kvm", "kvm_amd kvm"),
    ("chandler/tun", "/dev/net/tun", "tun"),
    ("chandler/ppp", "/dev/ppp", "ppp_generic"),
    ("chandler/uinput", "/dev/uinput", "uinput"),
    ("chandler/vhost-net", "/dev/vhost-net", "vhost_net"),
    ("chandler/vhost-vsock", "/dev/vhost-vsock", "vhost_vsock"),
    ("chandler/vhost-scsi", "/dev/vhost-scsi", "vhost_scsi"),
]


def story(node):
    def listed(node_name, health):
        return [f"{node_name}::{it} {health}" for it in (0, 1)]

    node.sh("modprobe fuse", check=True)
    node.start()
    node.expect("chandler/fuse", *listed("fuse", "Healthy"))
    for resource, path, modules in SHARED:
        module, name = modules.split()[0], path.rsplit("/", 1)[1]
        node.expect_after(f"{module} loaded", lambda: node.sh(f"modprobe {module}", check=True), resource, *listed(name, "Healthy"),
                          event=f" add misc - .*/{name} " if name != "ppp" else " add ppp - ", given=f"test -c {path}")
        node.gives(resource, path)
    # What another resource has taken before is not offered twice.
    node.expect("example.com/tun-of-another")

    first, second = (node.hold(it, "chandler/kvm")[0] for it in ("one", "two"))
    assert {first, second} == {"kvm::0", "kvm::1"}, (first, second)
    node.release("one")
    node.release("two")

    # Nothing makes random numbers here at first, and the node is there all the same.
    node.expect("chandler/hwrng")
    assert node.sh("test -c /dev/hwrng && cat /sys/class/misc/hw_random/rng_current", check=True)[0].strip() == "none"
    node.sh("modprobe virtio_rng", check=True)
    node.wait_for("cat /sys/class/misc/hw_random/rng_current | grep virtio")
    node.expect("chandler/hwrng", *listed("hw_random", "Healthy"))
    node.gives("chandler/hwrng", "/dev/hwrng")
    node.sh("rmmod virtio_rng", check=True)
    node.expect("chandler/hwrng", *listed("hw_random", "Unhealthy"))

    # A loop device to which somebody has attached a file is his.
    node.expect_after("loop loaded", lambda: node.sh("modprobe loop", check=True), "chandler/loop", "loop0 Healthy", "loop1 Healthy", given="test -b /dev/loop1")
    other = {"loop0": "/dev/loop1", "loop1": "/dev/loop0"}[node.hold("other", "chandler/loop")[0]]
    node.gives("chandler/loop", other)
    node.release("other")
    node.sh("truncate -s 1M /run/image; losetup /dev/loop1 /run/image", check=True)
    node.expect("chandler/loop", "loop0 Healthy", "loop1 Unhealthy")
    node.gives("chandler/loop", "/dev/loop0")
    node.sh("losetup -d /dev/loop1", check=True)
    node.expect("chandler/loop", "loop0 Healthy", "loop1 Healthy")
    node.sh("rmmod loop", check=True)
    node.expect("chandler/loop", "loop0 Unhealthy", "loop1 Unhealthy")

    for resource, path, modules in reversed(SHARED):
        name = path.rsplit("/", 1)[1]
        node.expect_after(f"{modules.split()[0]} unloaded", lambda: [node.sh(f"rmmod {it} 2>/dev/null; ! test -d /sys/module/{it}", check=True) for it in modules.split()],
                          resource, *listed(name, "Unhealthy"), event=f" remove misc - .*/{name} " if name != "ppp" else " remove ppp - ", given=f"! test -e {path}")
    node.expect("chandler/fuse", *listed("fuse", "Healthy"))
    assert [len(it) for it in node.discover()[0].values()] == [0, 1] + [0] * 9, node.discover()
