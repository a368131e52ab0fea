"""A driver complains before Chandler starts, while it runs and while it does not, and takes it back. The date jumps meanwhile."""
DEVICES = ["e1000e", "igb"]
CONFIG = """
resources:
  - name: example.com/nic
    discovery: { sysfs: class/net, match: [{ key: pci.vendor, operator: In, values: ["8086"] }] }
    health:
      interval: 2s
      timeout: 2s
      kernelLog:
        - pattern: 'lab (?P<address>[0-9a-f:.]+): error (?P<code>[0-9]+)'
          match: { address: pci.address }
          clears: 'lab (?P<address>[0-9a-f:.]+): well again'
"""
RESOURCE = "example.com/nic"


def says(node, bus, what):
    node.sh(f"echo 'lab 0000:0{bus}:00: {what}' > /dev/ttyprintk", check=True)


def story(node):
    node.wait_for("ls /sys/bus/pci/devices/0000:03:00.0/net/* /sys/bus/pci/devices/0000:04:00.0/net/*")
    node.sh("modprobe ttyprintk", check=True)       # what is written to it the kernel says as its own
    says(node, 4, "error 79")
    node.start()
    node.expect(RESOURCE, "0000:03:00.0 Healthy", "0000:04:00.0 Unhealthy")
    node.sh("date -s @$(($(date +%s) + 86400))", check=True)
    node.restart()
    node.expect(RESOURCE, "0000:03:00.0 Healthy", "0000:04:00.0 Unhealthy")
    node.sh("date -s @$(($(date +%s) - 172800))", check=True)
    n_before = len(node.lists(RESOURCE))
    assert all(it["0000:04:00.0"] == "Unhealthy" for it in node.lists(RESOURCE)), node.lists(RESOURCE)
    node.expect_after("it is taken back", lambda: says(node, 4, "well again"),
                      RESOURCE, "0000:03:00.0 Healthy", "0000:04:00.0 Healthy")
    node.stop()
    says(node, 3, "error 80")
    node.resume()
    node.expect(RESOURCE, "0000:03:00.0 Unhealthy", "0000:04:00.0 Healthy")
    node.restart()
    node.expect(RESOURCE, "0000:03:00.0 Unhealthy", "0000:04:00.0 Healthy")
    assert all(it["0000:04:00.0"] == "Healthy" for it in node.lists(RESOURCE)[n_before:][1:]), node.lists(RESOURCE)
