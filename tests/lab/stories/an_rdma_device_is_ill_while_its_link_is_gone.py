"""A soft-RoCE device is given to a pod, loses its link, gets it back, and is taken away and made again, by the profile."""
DEVICES = ["rdma"]
CONFIG = """
resources:
  - name: example.com/rdma
    profile: { name: infiniband, management: true }
    health: { interval: 1s }
"""


def story(node):
    node.wait_for("test -c /dev/infiniband/uverbs0 && test -c /dev/infiniband/rdma_cm && grep ACTIVE /sys/class/infiniband/rxe0/ports/1/state")
    node.start()
    node.expect("example.com/rdma", "rxe0 Healthy")
    held = node.hold("mpi", "example.com/rdma")
    assert held[0] == "rxe0" and held[1][:2] == ["/dev/infiniband/rdma_cm", "/dev/infiniband/uverbs0"], held
    node.release("mpi")
    node.sh("ip link set lab0 down", check=True)
    node.expect("example.com/rdma", "rxe0 Unhealthy")
    node.sh("ip link set lab0 up", check=True)
    node.expect("example.com/rdma", "rxe0 Healthy")
    node.expect_after("its interface taken away", lambda: node.sh("ip link del lab0", check=True),
                      "example.com/rdma", "rxe0 Unhealthy", event=" remove infiniband ", given="! test -e /sys/class/infiniband/rxe0")
    node.expect_after("made again", lambda: node.sh("ip link add lab0 type dummy && ip link set lab0 up && lab-netlink rxe0 lab0", check=True),
                      "example.com/rdma", "rxe0 Healthy", event=" add infiniband_verbs ", given="test -c /dev/infiniband/uverbs0")
