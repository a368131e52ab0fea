"""The stories, in the order in which they are told. The name of each is the claim that it makes.

They go on from one another: the first installs the kustomization, the last removes what is there."""
import base64, calendar, glob, json, os, subprocess, time

from node import CARDS, PLUGINS, STATE, TOP, Failed, Load, plug, pod_spec, pull, read, same, write

SHARED = 10         # replicas of /dev/fuse
CAP_SYSLOG = 34     # as in linux/capability.h

CONFIG = f"""version: v1
resources:
  - name: example.com/null
    discovery: {{ nodes: [/dev/null] }}
  - name: example.com/fuse
    discovery: {{ nodes: [/dev/fuse] }}
    sharing: {{ replicas: {SHARED} }}
  - name: example.com/card
    discovery: {{ nodes: ["/dev/loop700[0-2]"] }}
    allocation:
      devices:
        - {{ hostPath: "{{node}}", containerPath: "/dev/card{{index}}" }}
      env: {{ CARD_VISIBLE_DEVICES: "{{ids}}" }}
      mounts:
        - {{ hostPath: {STATE}/firmware, containerPath: /firmware, readOnly: true }}
"""
# By the profiles, one word each. Loop devices are the disks here that nobody has; the machine's own disk is in use.
PROFILES = """version: v1
resources:
  - { name: example.com/fuse, profile: fuse, sharing: { replicas: 2 } }
  - { name: example.com/tun, profile: tun, sharing: { replicas: 2 } }
  - name: example.com/card
    profile: loop
    discovery: { match: [{ key: name, operator: InRegexp, values: ["^loop700[0-2]$"] }] }
    health: { interval: 1s }
  - { name: example.com/disk, profile: block }
"""
OFFERED = {"example.com/null": 1, "example.com/fuse": SHARED, "example.com/card": len(CARDS)}


def the_daemonset_of_the_kustomization_becomes_ready(node):
    os.makedirs(STATE + "/firmware")
    write(STATE + "/firmware/version", "firmware 7\n")
    for card in CARDS:
        plug(card)
    began = time.time()
    node.install(CONFIG)
    node.rolled_out()
    node.say(f"ready {time.time() - began:.1f} s after kubectl apply")


def its_process_has_no_more_rights_than_the_manifest_states(node, *writable, looks_at=()):
    pod = node.rolled_out()
    spec, container = pod["spec"], pod["spec"]["containers"][0]
    same("the container's rights", container["securityContext"], {
        "privileged": False, "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}})
    same("the pod's rights", spec["securityContext"], {
        "runAsUser": 0, "runAsGroup": 0, "seccompProfile": {"type": "RuntimeDefault"}})
    same("host namespaces", [key for key in ("hostNetwork", "hostPID", "hostIPC") if spec.get(key)], [])
    same("volumes that are neither configuration nor of the host", [it for it in spec["volumes"] if not it.keys() & {"configMap", "hostPath"}],
         [{"name": "run", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}])

    pid = node.pid(pod)
    status = dict(line.split(":\t", 1) for line in read(f"/proc/{pid}/status").splitlines())
    for key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        same(key, int(status[key], 16), 0)
    for key, wanted in (("NoNewPrivs", "1"), ("Seccomp", "2"), ("Uid", "0\t0\t0\t0")):
        same(key, status[key].strip(), wanted)
    kubelet = read(STATE + "/kubelet.pid").strip()
    for kind in ("net", "pid", "ipc", "mnt", "uts"):
        if os.readlink(f"/proc/{pid}/ns/{kind}") == os.readlink(f"/proc/{kubelet}/ns/{kind}"):
            raise Failed(f"it is in the node's {kind} namespace")
    mounts = {it[4]: it[5].split(",") for it in (line.split() for line in read(f"/proc/{pid}/mountinfo").splitlines())}
    # /dev brings what the node has mounted in it, such as /dev/shm.
    hosts = {at: options for at, options in mounts.items() if at.startswith(("/host/", "/var/", "/run/", "/etc/chandler")) and not at.startswith("/host/dev/")}
    seen = ["/etc/chandler", "/host/dev", "/host/sys/bus", "/host/sys/class", "/host/sys/dev", "/host/sys/devices", "/var/lib/kubelet/pod-resources"]
    seen = sorted([*seen, *looks_at])
    same("what it sees of the host", sorted(hosts), sorted([*seen, PLUGINS, "/run/chandler", "/var/lib/chandler", *writable]))
    same("what of that it may only look at", sorted(at for at in hosts if "ro" in hosts[at]), seen)
    same("the root is read-only", "ro" in mounts["/"], True)
    same("a token", os.path.exists(f"/proc/{pid}/root/var/run/secrets"), False)
    same("what its image holds", sorted(os.listdir(f"/proc/{pid}/root/usr/bin")), ["chandler"])
    node.say(f"no capability, no new privileges, seccomp, namespaces of its own, no token; {status['VmRSS'].strip()}, of which its own {status['RssAnon'].strip()}")


def the_node_has_the_capacity(node):
    took = node.until("the node's allocatable", lambda: _offered(node, "allocatable") == OFFERED)
    same("capacity", _offered(node, "capacity"), OFFERED)
    node.say(f"{OFFERED} ({took:.1f} s)")


def a_pod_gets_nodes_environment_and_mounts(node):
    node.run("bare")
    node.run("equipped", fuse=1, card=2)
    # Without asking there is no way in: the container runtime guards what nodes can be opened.
    major, minor = _numbers("/dev/fuse")
    same("opening fuse without asking", "not permitted" in node.sh("bare", f"mknod /tmp/fuse c {major} {minor}; exec 3<>/tmp/fuse"), True)
    same("opening fuse", node.sh("equipped", "exec 3<>/dev/fuse && echo opened"), "opened")
    ids = node.sh("equipped", "echo $CARD_VISIBLE_DEVICES").split(",")
    same("cards it was told of", len(set(ids) & {f"loop{card}" for card in CARDS}), 2)
    listed = node.sh("equipped", "ls -l /dev/card*")
    for index, name in enumerate(ids):
        found = node.sh("equipped", f"stat -c '%t %T' /dev/card{index}").split()
        same(f"/dev/card{index}", tuple(int(it, 16) for it in found), _numbers("/dev/" + name))
        same(f"/dev/card{index} is forbidden", "not permitted" in node.sh("equipped", f"exec 3</dev/card{index}"), False)
    same("cards in it", len(listed.splitlines()), 2)
    same("the mounted file", node.sh("equipped", "cat /firmware/version"), "firmware 7")
    same("writing there", "Read-only" in node.sh("equipped", "echo > /firmware/version"), True)
    node.say(f"CARD_VISIBLE_DEVICES={','.join(ids)}")
    for line in listed.splitlines():
        node.say(line)
    node.delete("bare", "equipped")


def what_does_not_fit_stays_pending(node):
    spec = {"replicas": len(CARDS) + 2, "selector": {"matchLabels": {"app": "many"}},
            "template": {"metadata": {"labels": {"app": "many"}}, "spec": pod_spec({"card": 1})}}
    node.api("POST", "/apis/apps/v1/namespaces/default/deployments", {"metadata": {"name": "many"}, "spec": spec})

    def by_phase():
        pods = node.pods(selector="app=many")
        return {phase: [it for it in pods if it["status"]["phase"] == phase] for phase in ("Running", "Pending", "Failed")}

    def unschedulable(pod):
        return any(it["type"] == "PodScheduled" and it.get("reason") == "Unschedulable" for it in pod["status"].get("conditions", []))
    node.until("three to run and two to wait", lambda: len(by_phase()["Running"]) == len(CARDS) and sum(map(unschedulable, by_phase()["Pending"])) == 2)
    phases = by_phase()
    same("pods that were refused", phases["Failed"], [])
    held = sorted(node.sh(it["metadata"]["name"], "echo $CARD_VISIBLE_DEVICES") for it in phases["Running"])
    same("each card is given once", held, [f"loop{card}" for card in CARDS])
    node.api("DELETE", "/apis/apps/v1/namespaces/default/deployments/many?propagationPolicy=Foreground")
    node.until("them to be gone", lambda: not node.pods(selector="app=many"))
    node.say("3 run, each with a card of its own; 2 wait")


def a_device_that_goes_leaves_the_node_and_comes_back(node):
    for turn in (1, 2):
        began = time.time()
        pull(CARDS[1])
        node.until("the card to be gone", lambda: node.allocatable("example.com/card") == len(CARDS) - 1)
        gone = time.time() - began
        node.until("nobody to hold it", lambda: _offered(node, "capacity")["example.com/card"] == len(CARDS) - 1)
        node.say(f"nobody holds it, so it is dropped from the capacity after {time.time() - began:.1f} s")
        began = time.time()
        plug(CARDS[1])
        node.until("the card to be back", lambda: node.allocatable("example.com/card") == len(CARDS))
        node.say(f"gone from the node's allocatable after {gone:.2f} s, back after {time.time() - began:.2f} s")


def a_device_is_cordoned_by_hand(node):
    card = f"loop{CARDS[2]}"
    node.chandler("cordon", card, "--reason", "loose plug")
    took = node.until("the card to be out of use", lambda: node.allocatable("example.com/card") == len(CARDS) - 1)
    log = node.kubectl("-n", "chandler", "logs", node.chandlers()[0]["metadata"]["name"])
    same("the log tells why", f"device={card} unhealthy: cordoned: loose plug" in log, True)
    same("chandler discover tells why", "loose plug" in node.chandler("discover"), True)
    node.chandler("uncordon", card)
    node.until("the card to be in use", lambda: node.allocatable("example.com/card") == len(CARDS))
    node.say(f"out of use after {took:.2f} s")


def pods_outlive_the_kubelet_and_new_ones_are_admitted(node):
    node.run("holder", fuse=1, card=1)
    before = node.pod("holder")["status"]["containerStatuses"][0]
    pid = node.pid(node.pod("holder"))
    node.cluster("stop", "kubelet", "KILL")
    killed = time.time()
    same("the pod lives without a kubelet", os.path.exists(f"/proc/{pid}"), True)
    node.cluster("start", "kubelet")
    # What the node says is of the new kubelet once it has said so after it was started.
    node.until("the next kubelet to speak", lambda: _heartbeat(node) > killed)
    node.until("the devices to be back", lambda: _offered(node, "allocatable") == OFFERED)
    node.say(f"all devices are back {time.time() - killed:.1f} s after the kubelet was killed")
    node.run("newcomer", fuse=1, card=1)
    after = node.pod("holder")["status"]
    same("the pod that was there", (after["phase"], after["containerStatuses"][0]["containerID"], after["containerStatuses"][0]["restartCount"]),
         ("Running", before["containerID"], 0))
    same("its device", node.sh("holder", "exec 3<>/dev/fuse && echo opened"), "opened")
    held = [node.sh(it, "echo $CARD_VISIBLE_DEVICES") for it in ("holder", "newcomer")]
    same("each has a card of its own", len(set(held)), 2)
    node.delete("holder", "newcomer")


def a_rolling_update_under_load_refuses_no_pod(node):
    with Load(node, hands=3, fuse=1) as load:
        load.more(3)
        for turn in (1, 2):
            old, before, began = node.rolled_out(), load.admitted, time.time()
            node.install(CONFIG + f"# Version {turn}.\n")
            node.until("another pod", lambda: node.rolled_out()["metadata"]["uid"] != old["metadata"]["uid"])
            took = time.time() - began
            load.more(3)
            node.say(f"update {turn}: {took:.1f} s, {load.admitted - before} pods admitted meanwhile")
    node.say(f"{load.admitted} pods admitted, {len(load.refused)} refused; the slowest ran after {load.slowest:.1f} s")
    if load.refused and tuple(map(int, node.version.split(".")[:2])) < (1, 37):
        node.say("a kubelet before 1.37 that closes the connection to one of two plugins refuses pods meanwhile: " + load.refused[0])
    else:
        same("pods that were refused", load.refused, [])
    node.until("all devices", lambda: _offered(node, "allocatable") == OFFERED)


def a_configuration_that_is_refused_does_not_end_the_old_pod(node):
    old = node.rolled_out()
    node.install(CONFIG.replace("discovery", "discvery", 1))
    why = _gives_up(node, old)
    same("its exit code", why["exitCode"], 2)
    same("it says where the mistake is", "discvery" in why.get("message", ""), True)
    pods = {pod["metadata"]["uid"]: pod for pod in node.chandlers()}
    same("the old pod is ready", pods[old["metadata"]["uid"]]["status"]["containerStatuses"][0]["ready"], True)
    node.run("meanwhile", fuse=1, card=1)
    node.delete("meanwhile")
    node.say(why["message"].strip().splitlines()[0])
    node.install(CONFIG)
    node.until("all devices", lambda: node.rolled_out() and _offered(node, "allocatable") == OFFERED)


def containerd_gives_by_cdi_what_it_gives_by_the_plain_answer(node):
    by_answer = _given(node, "false")
    node.say(f"plain: {by_answer['nodes']}")
    by_name = _given(node, "{ required: true }")
    its_process_has_no_more_rights_than_the_manifest_states(node, "/var/run/cdi", looks_at=["/host/etc/cdi", "/host/var/run/cdi"])
    same("specs", sorted(it for it in os.listdir(STATE + "/cdi") if not it.startswith(".")),
         ["chandler_example.com_card.json", "chandler_example.com_fuse.json"])
    for what in ("nodes", "mounts", "env"):
        same(f"{what} of the container", by_name[what], by_answer[what])
    same("hosts' paths in the kubelet's record of the plain answer", b"/dev/fuse" in by_answer["record"], True)
    same("hosts' paths in its record of names", b"/dev/fuse" in by_name["record"] or b"/dev/loop" in by_name["record"], False)
    for name in ("chandler-fuse=fuse", *(f"chandler-card=loop{card}" for card in CARDS)):
        same(f"{name} in the record", f"example.com/{name}".encode() in by_name["record"], True)
    node.install(CONFIG)
    node.until("all devices", lambda: node.rolled_out() and _offered(node, "allocatable") == OFFERED)


def the_kernels_log_is_heard_with_one_capability(node):
    old = node.rolled_out()["metadata"]["uid"]
    word = f"chandler-{time.time_ns()}"
    health = "    health: { recovery: manual, kernelLog: [{ pattern: " + word + " }] }\n"
    node.install(CONFIG.replace("  - name: example.com/card\n", "  - name: example.com/card\n" + health), "kernel-log")
    node.until("another pod", lambda: node.rolled_out()["metadata"]["uid"] != old)
    node.until("all devices", lambda: _offered(node, "allocatable") == OFFERED)
    status = dict(line.split(":\t", 1) for line in read(f"/proc/{node.pid(node.rolled_out())}/status").splitlines())
    same("capabilities", {key: int(status[key], 16) for key in ("CapPrm", "CapEff", "CapBnd")}, dict.fromkeys(("CapPrm", "CapEff", "CapBnd"), 1 << CAP_SYSLOG))
    same("no new privileges and seccomp", (status["NoNewPrivs"].strip(), status["Seccomp"].strip()), ("1", "2"))
    # A line of the kernel itself, which programs cannot write: it says which option of a mount it does not know.
    subprocess.run(["mount", "-t", "tmpfs", "-o", word, "none", "/mnt"], env={**os.environ, "LIBMOUNT_FORCE_MOUNT2": "always"}, capture_output=True)
    node.until("no card", lambda: _offered(node, "allocatable") == {**OFFERED, "example.com/card": 0})
    node.install(CONFIG)
    node.until("all devices", lambda: node.rolled_out() and _offered(node, "allocatable") == OFFERED)


def a_pod_gets_the_nodes_of_disks_and_of_network_interfaces_by_profiles(node):
    old = node.rolled_out()["metadata"]["uid"]
    node.install(PROFILES, "disks")
    node.until("another pod", lambda: node.rolled_out()["metadata"]["uid"] != old)
    its_process_has_no_more_rights_than_the_manifest_states(node, looks_at=["/host/proc"])
    node.until("its devices", lambda: _given_out(node) == {"fuse": 2, "tun": 2, "card": len(CARDS), "disk": 0})
    node.run("bare")
    node.run("equipped", fuse=1, tun=1, card=1)
    card, *more = node.sh("equipped", "find /dev -name 'loop*'").split()
    same("other disks in it", more, [])
    for path in ("/dev/fuse", "/dev/net/tun", card):
        same(f"opening {path}", node.sh("equipped", f"exec 3<{path} && echo opened"), "opened")
    major, minor = _numbers(card)
    same("a disk without asking", "not permitted" in node.sh("bare", f"mknod /tmp/card b {major} {minor}; exec 3</tmp/card"), True)
    # What the host has begun to use is given to nobody else.
    file = STATE + "/disk.img"
    write(file, "\0" * (1 << 20))
    other = next(f"/dev/loop{it}" for it in CARDS if f"/dev/loop{it}" != card)
    began = time.time()
    subprocess.run(["losetup", other, file], check=True)
    try:
        node.until("the other disk to be in use", lambda: _given_out(node)["card"] == len(CARDS) - 1)
        node.say(f"{card} is the pod's; {other} is in use by the host after {time.time() - began:.2f} s")
    finally:
        subprocess.run(["losetup", "-d", other], check=True)
    node.until("it to be free again", lambda: _given_out(node)["card"] == len(CARDS))
    # The machine's own disks are seen, and left out.
    whole = [it for it in os.listdir("/sys/block") if it.startswith(("sd", "vd", "nvme", "xvd"))]
    if whole:
        said = node.chandler("explain", whole[0])
        same("why the machine's disk is not offered", "block.use" in said, True)
        node.say(next(line.strip() for line in said.splitlines() if "block.use" in line))
    node.delete("bare", "equipped")
    node.install(CONFIG)
    node.until("all devices", lambda: node.rolled_out() and _offered(node, "allocatable") == OFFERED)


def what_the_kustomization_made_is_removed(node):
    node.kubectl("delete", "-k", node.work + "/kustomize")
    _nothing_is_left(node)


def the_daemonset_of_the_chart_becomes_ready_and_serves(node):
    _render_the_chart(node, CONFIG)
    if node.api("GET", "/api/v1/namespaces/chandler"):
        what_the_kustomization_made_is_removed(node)
    node.kubectl("create", "namespace", "chandler")
    began = time.time()
    node.kubectl("apply", "-n", "chandler", "-f", node.work + "/chart.yaml")
    its_process_has_no_more_rights_than_the_manifest_states(node)
    node.until("the node's allocatable", lambda: _offered(node, "allocatable") == OFFERED)
    node.run("equipped", fuse=1, card=1)
    same("opening fuse", node.sh("equipped", "exec 3<>/dev/fuse && echo opened"), "opened")
    node.delete("equipped")
    node.say(f"ready, and a pod served, after {time.time() - began:.1f} s")


def a_configuration_of_the_chart_that_is_refused_reaches_no_pod_but_the_first(node):
    old = node.rolled_out()
    _render_the_chart(node, CONFIG.replace("discovery", "discvery", 1))
    node.kubectl("apply", "-n", "chandler", "-f", node.work + "/chart.yaml")
    why = _gives_up(node, old)
    same("its exit code", why["exitCode"], 2)
    same("it says where the mistake is", "discvery" in why.get("message", ""), True)

    # The old pod has its own configuration, which is there for as long as it is. Helm would have removed what it does not keep.
    kept = [it["metadata"] for it in node.api("GET", "/api/v1/namespaces/chandler/configmaps?labelSelector=app.kubernetes.io/name=chandler")["items"]]
    same("ConfigMaps that Helm keeps", [it["annotations"].get("helm.sh/resource-policy") for it in kept], ["keep", "keep"])
    same("its file is the new one", "discvery" in read(f"/proc/{node.pid(old)}/root/etc/chandler/config.yaml"), False)
    same("it has read the new one", "discvery" in node.kubectl("-n", "chandler", "logs", old["metadata"]["name"]), False)
    same("it is ready", node.pod(old["metadata"]["name"], "chandler")["status"]["containerStatuses"][0]["ready"], True)
    node.run("meanwhile", fuse=1, card=1)
    node.delete("meanwhile")
    node.say("the old pod goes on with its own configuration, and serves")

    _render_the_chart(node, CONFIG)
    node.kubectl("apply", "-n", "chandler", "-f", node.work + "/chart.yaml")
    same("the pod after all that", node.rolled_out()["metadata"]["uid"], old["metadata"]["uid"])
    node.until("all devices", lambda: _offered(node, "allocatable") == OFFERED)


def what_the_chart_made_is_removed(node):
    node.kubectl("delete", "-n", "chandler", "-f", node.work + "/chart.yaml")
    node.kubectl("delete", "namespace", "chandler")
    _nothing_is_left(node)


def _render_the_chart(node, config, more=""):
    """Into the file chart.yaml."""
    values = "".join("  " + line + "\n" for line in config.splitlines())
    write(node.work + "/values.yaml", f"config:\n{values}{more}\n")
    environment = {**os.environ, "REPOSITORY": TOP}
    done = subprocess.run([node.work + "/manifests", "helm", node.work + "/values.yaml"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise Failed(f"the chart cannot be rendered: {done.stderr}")
    write(node.work + "/chart.yaml", done.stdout)


def _given(node, cdi):
    """What a container has that asks for all cards and a share of fuse, where they are given so."""
    config = CONFIG.replace("/dev/card{index}", "/dev/card-{name}").replace("    allocation:\n", f"    allocation:\n      cdi: {cdi}\n")
    config = config.replace("    sharing:", f"    allocation: {{ cdi: {cdi} }}\n    sharing:")
    old = node.rolled_out()["metadata"]["uid"]
    node.install(config, "cdi")
    node.until("another pod", lambda: node.rolled_out()["metadata"]["uid"] != old)
    node.until("all devices", lambda: _offered(node, "allocatable") == OFFERED)
    node.run("equipped", fuse=1, card=len(CARDS))
    record = json.loads(read(PLUGINS + "/kubelet_internal_checkpoint"))["Data"]["PodDeviceEntries"]
    given = {
        "nodes": node.sh("equipped", "find /dev -type b -o -type c | sort | xargs stat -c '%n %F %t:%T %a'").splitlines(),
        "mounts": node.sh("equipped", "cut -d' ' -f4-6 /proc/self/mountinfo | grep firmware"),
        "env": node.sh("equipped", "echo $CARD_VISIBLE_DEVICES"),
        "record": b"".join(base64.b64decode(it["AllocResp"]) for it in record),
    }
    same("opening fuse", node.sh("equipped", "exec 3<>/dev/fuse && echo opened"), "opened")
    same("writing to the mount", "Read-only" in node.sh("equipped", "echo > /firmware/version"), True)
    for card in CARDS:
        same(f"card {card} is forbidden", "not permitted" in node.sh("equipped", f"exec 3</dev/card-loop{card}"), False)
    node.delete("equipped")
    return given


def _gives_up(node, old):
    """Waits until the container of a pod that is not `old` has ended; tells how."""
    ended = []

    def has_ended():
        for pod in node.chandlers():
            if pod["metadata"]["uid"] != old["metadata"]["uid"]:
                for it in pod["status"].get("containerStatuses", []):
                    ended.extend(filter(None, [it.get("state", {}).get("terminated"), it.get("lastState", {}).get("terminated")]))
        return ended
    node.until("the new pod to give up", has_ended)
    return ended[0]


def _nothing_is_left(node):
    node.until("the namespace to be gone", lambda: not node.api("GET", "/api/v1/namespaces/chandler"))
    pods = [it["metadata"]["name"] for it in node.api("GET", "/api/v1/pods")["items"]]
    same("pods", [it for it in pods if "chandler" in it], [])
    same("sockets", glob.glob(PLUGINS + "/chandler*"), [])
    node.until("nothing to be allocatable", lambda: set(_offered(node, "allocatable").values()) <= {0})
    node.say("no pod, no namespace, no socket, nothing allocatable")


def _offered(node, what):
    """Resources of ours. A kubelet still tells of those for which nothing is left; only the cluster's own count then."""
    found = {name: int(n) for name, n in node.node()["status"][what].items() if name.startswith("example.com/")}
    return {name: n for name, n in found.items() if n or name in OFFERED}


def _given_out(node):
    """What of the profiles' resources can be allocated."""
    status = node.node()["status"]["allocatable"]
    return {it: int(status[f"example.com/{it}"]) for it in ("fuse", "tun", "card", "disk") if f"example.com/{it}" in status}


def _heartbeat(node):
    """When the kubelet last spoke, in whole seconds."""
    ready = next(it for it in node.node()["status"]["conditions"] if it["type"] == "Ready")
    return calendar.timegm(time.strptime(ready["lastHeartbeatTime"], "%Y-%m-%dT%H:%M:%SZ"))


def _numbers(path):
    number = os.stat(path).st_rdev
    return os.major(number), os.minor(number)


STORIES = [it for name, it in list(globals().items()) if callable(it) and getattr(it, "__module__", "") == __name__ and not name.startswith("_")]
