"""Cards of a driver that nobody else has come, get hot, fail and count errors, and go, by the profile that is there to be copied.

A card that is new has no serial number for a moment, and one that comes has that of another."""
DEVICES = ["custom"]
X86 = "its driver is built for x86_64 only"
CONFIG = """
resources:
  - profile: custom-accelerator
    health: { interval: 1s, healthyAfter: 1 }
"""
ACC = "chandler/custom-accelerator"
CLASS = "/sys/class/custom-accelerator"


def story(node):
    def add(n, serial=""):
        return lambda: node.sh(f"echo '{n} {serial}' > {CLASS}/add", check=True)

    def says(n, file, text):
        return lambda: node.sh(f"echo '{text}' > {CLASS}/acc{n}/{file}", check=True)

    def event(action, n):
        return {"event": f" {action} custom-accelerator - .*/acc{n} ", "given": ("! " if action == "remove" else "") + f"test -c /dev/acc{n}"}

    node.wait_for(f"test -e {CLASS}/add")
    node.start()
    node.expect(ACC)
    node.expect_after("a card added", add(0, "SN-0"), ACC, "SN-0 Healthy", **event("add", 0))
    id, environment = node.gives(ACC, "/dev/acc0")
    assert (id, environment) == ("SN-0", {"ACCELERATOR_DEVICES": "/dev/acc0", "ACCELERATOR_MODELS": "NPU-100"}), (id, environment)

    # Its driver does not know the serial number at once.
    add(1)()
    node.wait_for("test -c /dev/acc1")
    node.rest()
    node.expect(ACC, "SN-0 Healthy")
    assert any("acc1" in it for it in node.discover()[1]), node.discover()
    node.expect_after("its serial number becomes known", lambda: (says(1, "serial", "SN-1")(), node.sh(f"echo change > {CLASS}/acc1/uevent", check=True)),
                      ACC, "SN-0 Healthy", "SN-1 Healthy", event=" change custom-accelerator ")

    for what, file, bad, good in (("too hot", "temperature", "91", "40"), ("given up by its driver", "status", "failed", "online")):
        node.expect_after(f"a card is {what}", says(0, file, bad), ACC, "SN-0 Unhealthy", "SN-1 Healthy")
        assert node.gives(ACC, "/dev/acc1")[0] == "SN-1"
        node.expect_after("it is well again", says(0, file, good), ACC, "SN-0 Healthy", "SN-1 Healthy")
    # A twin cannot be told from the first by an id that is the serial number. It is offered when the first is gone, as if that had moved.
    add(2, "SN-0")()
    node.wait_for("test -c /dev/acc2")
    node.rest()
    node.expect(ACC, "SN-0 Healthy", "SN-1 Healthy")
    found, problems = node.discover()
    assert found[ACC]["SN-0"]["nodes"] == ["/dev/acc0"] and ["acc2" in it and "the same id" in it for it in problems] == [True], (found, problems)
    node.restart()
    node.expect(ACC, "SN-0 Healthy", "SN-1 Healthy")
    assert node.discover()[0][ACC]["SN-0"]["nodes"] == ["/dev/acc0"]
    node.sh(f"echo 0 > {CLASS}/remove", check=True)
    node.wait_for("! test -e /dev/acc0")
    node._until(lambda: node.discover()[0][ACC].get("SN-0", {}).get("nodes") == ["/dev/acc2"], "the twin to be offered")
    node.expect(ACC, "SN-0 Healthy", "SN-1 Healthy")
    held = dict([node.hold("one", ACC), node.hold("two", ACC)])
    assert held == {"SN-1": ["/dev/acc1"], "SN-0": ["/dev/acc2"]}, held
    node.expect_after("a card taken away", lambda: node.sh(f"echo 2 > {CLASS}/remove", check=True), ACC, "SN-0 Unhealthy", "SN-1 Healthy", **event("remove", 2))
    node.expect_after("it comes back under another number", add(3, "SN-0"), ACC, "SN-0 Healthy", "SN-1 Healthy", **event("add", 3))

    # An old total is no fault, many errors within a minute are one.
    node.expect_after("many errors at once", says(1, "error_count", "12"), ACC, "SN-0 Healthy", "SN-1 Unhealthy")
