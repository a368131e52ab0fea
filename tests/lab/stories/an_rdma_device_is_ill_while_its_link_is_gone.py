"""A soft-RoCE device is given to a pod, loses its link, gets it back, and is taken away and made again, by the profile.

Two more come, of which the name of one is how the other's begins; each has nodes of its own."""
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

    # The name of the interface says nothing of which node is whose.
    def make(name, interface):
        return lambda: node.sh(f"ip link add {interface} type dummy && ip link set {interface} up && lab-netlink {name} {interface}", check=True)

    def node_of(name):
        return node.sh(f"basename $(dirname $(grep -lx {name} /sys/class/infiniband_verbs/*/ibdev))", check=True)[0].strip()

    node.expect_after("mlx5_10 made", make("mlx5_10", "lab1"), "example.com/rdma", "rxe0 Healthy", "mlx5_10 Healthy", event=" add infiniband_verbs ", given="test -c /dev/infiniband/uverbs1")
    node.expect_after("mlx5_1 made", make("mlx5_1", "lab10"), "example.com/rdma", "rxe0 Healthy", "mlx5_10 Healthy", "mlx5_1 Healthy", event=" add infiniband_verbs ", given="test -c /dev/infiniband/uverbs2")
    for pod in ("one", "two", "three"):
        id, nodes = node.hold(pod, "example.com/rdma")
        assert [it for it in nodes if "uverbs" in it] == [f"/dev/infiniband/{node_of(id)}"], (id, nodes)
    node.expect_after("mlx5_10 taken away", lambda: node.sh("ip link del lab1", check=True), "example.com/rdma", "rxe0 Healthy", "mlx5_10 Unhealthy", "mlx5_1 Healthy",
                      event=" remove infiniband ", given="! test -e /sys/class/infiniband/mlx5_10")
