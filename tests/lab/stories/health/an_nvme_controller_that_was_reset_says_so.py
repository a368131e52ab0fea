"""A controller announces that it is connected again after a reset, and waits for an operator then. Its state is what it was."""
DEVICES = ["nvme"]
CONFIG = """
resources:
  - name: example.com/nvme
    discovery: { sysfs: class/nvme }
    health:
      interval: 3s
      timeout: 3s
      recovery: manual
      rules: [{ key: state, operator: In, values: [live] }]
      events: [{ subsystem: nvme, property: NVME_EVENT, values: [connected] }]
"""
RESOURCE = "example.com/nvme"


def story(node):
    node.wait_for("grep live /sys/class/nvme/nvme0/state")
    node.start()
    node.expect(RESOURCE, "LABNVME1 Healthy")
    node.expect_after("the controller is reset", lambda: node.sh("echo 1 > /sys/class/nvme/nvme0/reset_controller", check=True),
                      RESOURCE, "LABNVME1 Unhealthy", given="grep live /sys/class/nvme/nvme0/state")
    node.restart()
    node.expect(RESOURCE, "LABNVME1 Unhealthy")
    assert "NVME_EVENT is `connected`" in node.discover()[0][RESOURCE]["LABNVME1"]["reason"]
    node.must("chandler uncordon LABNVME1", "uncordon the controller", patience=0)
    node.expect(RESOURCE, "LABNVME1 Healthy")
    node.restart()
    node.expect(RESOURCE, "LABNVME1 Healthy")
