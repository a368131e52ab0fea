"""What a story may say: a node is this machine, in a cluster of its own, with Chandler as a DaemonSet."""
import fcntl, http.client, json, os, re, shutil, socket, subprocess, threading, time

HERE = os.path.dirname(os.path.realpath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
STATE = os.environ.get("CLUSTER_STATE", "/var/lib/chandler-cluster")
PLUGINS = "/var/lib/kubelet/device-plugins"
BUSYBOX = "lab.invalid/busybox:1"
PATIENCE = 300      # seconds; a story that passes never waits for them all

# Three cards that come and go: loop devices of these numbers, which nobody else has.
CARDS = [7000, 7001, 7002]
LOOP_CTL_ADD, LOOP_CTL_REMOVE = 0x4C80, 0x4C81


class Failed(Exception):
    """A claim that does not hold, with all that is known."""


class Node:
    def __init__(self, version, work, say=print):
        self.version, self.work, self.say, self.restarts = version, work, say, 0
        self.namespace = "chandler"

    # the cluster

    def cluster(self, *args, check=True, input=None):
        """Runs cluster.sh; gives what it prints."""
        done = subprocess.run([HERE + "/cluster.sh", *args], stdin=subprocess.DEVNULL if input is None else None, input=input,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace")
        if check and done.returncode:
            raise Failed(f"{' '.join(args)}: code {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def kubectl(self, *args, **more):
        return self.cluster("kubectl", *args, **more)

    def api(self, method, path, body=None):
        """Asks the API server; None if there is no such thing."""
        connection = UnixConnection(STATE + "/api.sock")
        try:
            connection.request(method, path, body and json.dumps(body), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        if answer.status == 404:
            return None
        if answer.status >= 300:
            raise Failed(f"{method} {path}: {answer.status} {text}")
        return json.loads(text)

    def node(self):
        return self.api("GET", "/api/v1/nodes/localhost")

    def allocatable(self, resource):
        """How many of a resource the node says it can give, or None."""
        found = self.node()["status"]["allocatable"].get(resource)
        return found and int(found)

    # pods

    def pods(self, namespace="default", selector=""):
        return self.api("GET", f"/api/v1/namespaces/{namespace}/pods?labelSelector={selector}")["items"]

    def pod(self, name, namespace="default"):
        return self.api("GET", f"/api/v1/namespaces/{namespace}/pods/{name}")

    def create(self, name, **limits):
        """Creates a pod that asks for so many: `card=1` is example.com/card."""
        self.api("POST", "/api/v1/namespaces/default/pods", {"metadata": {"name": name}, "spec": pod_spec(limits)})

    def run(self, name, **limits):
        """Creates a pod and waits until it runs."""
        self.create(name, **limits)
        self.running(name)

    def running(self, name):
        def runs():
            status = self.pod(name)["status"]
            if status["phase"] == "Failed":
                raise Failed(f"pod {name} was refused: {status.get('reason')}: {status.get('message')}")
            return status["phase"] == "Running"
        self.until(f"pod {name} to run", runs)

    def delete(self, *names):
        for name in names:
            self.api("DELETE", f"/api/v1/namespaces/default/pods/{name}")
        self.until(f"{names} to be gone", lambda: not any(self.pod(name) for name in names))

    def sh(self, name, command):
        """Runs a command in a pod; gives what it prints, errors too."""
        return self.kubectl("exec", name, "--", "sh", "-c", f"({command}) 2>&1; true").strip()

    # Chandler

    def install(self, config, overlay=""):
        """What docs/install.md tells: the configuration into the kustomization, and apply."""
        shutil.copytree(TOP + "/deploy/kustomize", self.work + "/kustomize", dirs_exist_ok=True)
        write(self.work + "/kustomize/base/config.yaml", config)
        if overlay == "cdi":
            # Where this cluster's containerd reads specs.
            path = self.work + "/kustomize/components/cdi/kustomization.yaml"
            write(path, read(path).replace("path: /var/run/cdi", f"path: {STATE}/cdi"))
        self.kubectl("apply", "-k", f"{self.work}/kustomize/{overlay}")

    def rolled_out(self):
        """Waits until the DaemonSet's newest version is ready; gives its pod."""
        def ready():
            it = self.api("GET", f"/apis/apps/v1/namespaces/{self.namespace}/daemonsets/chandler")
            status = it["status"]
            return (status.get("observedGeneration") == it["metadata"]["generation"]
                    and status.get("updatedNumberScheduled") == status.get("numberReady") == status["desiredNumberScheduled"] == 1
                    and len(self.chandlers()) == 1)
        self.until("the DaemonSet to be rolled out", ready)
        return self.chandlers()[0]

    def chandlers(self):
        return self.pods(self.namespace, "app.kubernetes.io/name=chandler")

    def chandler(self, *args):
        """Runs a command of Chandler in its pod."""
        return self.kubectl("-n", self.namespace, "exec", self.chandlers()[0]["metadata"]["name"], "--", "/usr/bin/chandler", *args)

    def pid(self, pod):
        """The process of a pod's first container, as this machine numbers it."""
        container = pod["status"]["containerStatuses"][0]["containerID"].split("//")[1]
        listed = re.search(rf"^{container}\s+(\d+)", self.cluster("ctr", "tasks", "list"), re.M)
        if not listed:
            raise Failed(f"no process of container {container}")
        return int(listed.group(1))

    def check_alive(self):
        """A story ends well only if no Chandler died, or complained of itself."""
        for pod in self.chandlers():
            status = pod["status"]["containerStatuses"][0]
            if status["restartCount"]:
                raise Failed(f"Chandler died: {status['lastState']}")
            if "panicked" in self.kubectl("-n", self.namespace, "logs", pod["metadata"]["name"]):
                raise Failed("Chandler panicked")

    # waiting and failing

    def until(self, what, test, patience=PATIENCE):
        """Waits until it is true; gives the seconds that it took."""
        began = time.time()
        while not test():
            if time.time() > began + patience:
                raise Failed(f"waited {patience} s in vain for {what}")
            time.sleep(0.05)
        return time.time() - began

    def broken(self):
        """Which part of the cluster has died, or nothing."""
        return [line.split()[0] for line in self.cluster("status", check=False).splitlines() if line.endswith(" -")]

    def report(self):
        """All that helps to find out why a story failed."""
        of = ["-n", self.namespace]
        parts = [("pods", ["get", "pods", "-A", "-o", "wide"]),
                 ("chandler's pods", [*of, "describe", "pods"]),
                 ("chandler", [*of, "logs", "-l", "app.kubernetes.io/name=chandler", "--prefix", "--tail=60"]),
                 ("events", ["get", "events", "-A", "--sort-by=.lastTimestamp"]),
                 ("node", ["get", "node", "localhost", "-o", "jsonpath={.status.allocatable}"])]
        texts = [(name, self.cluster("kubectl", "--request-timeout=20s", *args, check=False)) for name, args in parts]
        texts += [(name, read(f"{STATE}/{name}.log")) for name in ("kubelet", "containerd")]
        return "\n".join(f"--- {name}\n{text[-6000:]}" for name, text in texts)


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=60)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Load:
    """Pods that come and go without a pause, from several hands."""

    def __init__(self, node, hands, **limits):
        self.node, self.limits, self.ended = node, limits, threading.Event()
        self.admitted, self.refused, self.error, self.slowest = 0, [], None, 0.0
        self.threads = [threading.Thread(target=self._work, args=(hand,)) for hand in range(hands)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        for thread in self.threads:
            thread.join()

    def more(self, n):
        """Waits until so many more pods have been admitted."""
        wanted = self.admitted + n
        self.node.until(f"{n} more pods", lambda: self.admitted >= wanted or self.error)
        if self.error:
            raise Failed(f"the load ended: {self.error}")

    def _work(self, hand):
        try:
            n = 0
            while not self.ended.is_set():
                n += 1
                self._one(f"load-{hand}-{n}")
        except Exception as err:
            self.error = err

    def _one(self, name):
        began, status = time.time(), {}

        def decided():
            status.update(self.node.pod(name)["status"])
            return status["phase"] in ("Running", "Failed")
        self.node.create(name, **self.limits)
        self.node.until(f"pod {name} to run", decided)
        if status["phase"] == "Failed":
            self.refused.append(f"{name}: {status.get('reason')}: {status.get('message')}")
        else:
            self.admitted += 1
            self.slowest = max(self.slowest, time.time() - began)
        self.node.delete(name)


def pod_spec(limits):
    limits = {f"example.com/{name}": str(n) for name, n in limits.items()}
    return {"automountServiceAccountToken": False, "enableServiceLinks": False, "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "main", "image": BUSYBOX, "imagePullPolicy": "Never", "resources": {"limits": limits}}]}


# the hardware

def plug(number):
    """Makes a card appear. Where the kernel makes no node for it, the node alone is the card."""
    path = f"/dev/loop{number}"
    _loop_control(LOOP_CTL_ADD, number)
    if not os.path.exists(path):
        os.mknod(path, 0o660 | 0o060000, os.makedev(7, number))


def pull(number):
    """Makes a card disappear, with its node."""
    path = f"/dev/loop{number}"
    _loop_control(LOOP_CTL_REMOVE, number)
    if os.path.exists(path):
        os.unlink(path)


def _loop_control(what, number):
    try:
        with open("/dev/loop-control") as control:
            fcntl.ioctl(control, what, number)
    except OSError:
        pass        # no loop devices here, or it is as it should be


def read(path):
    try:
        with open(path, errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


def same(what, found, wanted):
    if found != wanted:
        raise Failed(f"{what}: found {found!r}, not {wanted!r}")
