#!/bin/sh
# A whole Kubernetes cluster of one node on this machine: etcd, the API server, the controller
# manager, the scheduler and, as the node, containerd and a kubelet. All are unmodified releases.
#
#   cluster.sh up                        the control plane
#   cluster.sh join                      this machine becomes the node "localhost"
#   cluster.sh kubectl ARGUMENT...       speak to it as cluster-admin
#   cluster.sh load NAME [FILE...]       a busybox image, with FILEs in its /bin
#   cluster.sh ctr ARGUMENT...           speak to containerd
#   cluster.sh stop|start|restart PART [SIGNAL]  etcd, apiserver, controllers,
#                                        scheduler, proxy, containerd or kubelet
#   cluster.sh status                    what runs, with its memory
#   cluster.sh down                      end everything and remove its state
#
# As root only. All of it lives in a network namespace of its own that has no way out, so that
# nothing it sends can leave this machine. README.md tells more.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
version=${KUBERNETES_VERSION:-1.37.0}
state=${CLUSTER_STATE:-/var/lib/chandler-cluster}
verbosity=${V:-2}
# The first address of the services' range, on the loopback interface: where programs in pods look
# for the API server.
api=10.96.0.1
node=localhost                  # a name that resolves, for "kubectl exec"
network=chandler-cluster        # the network namespace
image=lab.invalid/busybox:1

programs() { cat "$state/programs"; }
pid() { cat "$state/$1.pid" 2>/dev/null || echo 0; }

# All parts have the state's path in their arguments: a number that has become somebody else's,
# after a crash of the machine, is not taken for ours.
running() { grep -qsaF "$state/" "/proc/$(pid "$1")/cmdline"; }

await() { # await SECONDS COMMAND...: until it succeeds
	tries=$(($1 * 10))
	shift
	until "$@" >/dev/null 2>&1; do
		tries=$((tries - 1))
		[ "$tries" -gt 0 ] || { echo "cluster.sh: gave up on: $*" >&2; return 1; }
		sleep 0.1
	done
}

enter() { nsenter --net="/run/netns/$network" "$@"; }

launch() { # launch PART PROGRAM ARGUMENT...: in the background, remembered
	part=$1
	shift
	# The shell that is started becomes setsid, nsenter, then the program: one process.
	PATH=$(programs):$PATH setsid nsenter --net="/run/netns/$network" "$@" \
		>>"$state/$part.log" 2>&1 </dev/null &
	echo $! >"$state/$part.pid"
	await 20 running "$part"
}

start() {
	running "$1" && return 0
	case $1 in
	etcd)
		launch etcd etcd --name lab --data-dir "$state/etcd" --log-level warn --unsafe-no-fsync \
			--listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
			--listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 \
			--initial-cluster lab=http://127.0.0.1:2380
		;;
	apiserver)
		enter ip address replace "$api/32" dev lo
		launch apiserver kube-apiserver --etcd-servers http://127.0.0.1:2379 \
			--bind-address "$api" --advertise-address "$api" --secure-port 443 \
			--endpoint-reconciler-type none --cert-dir "$state/pki" \
			--authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction \
			--token-auth-file "$state/pki/tokens.csv" --service-cluster-ip-range 10.96.0.0/24 \
			--service-account-issuer https://kubernetes.default.svc \
			--service-account-key-file "$state/pki/sa.pub" \
			--service-account-signing-key-file "$state/pki/sa.key" \
			--kubelet-preferred-address-types Hostname --allow-privileged --v "$verbosity"
		;;
	controllers)
		launch controllers kube-controller-manager --kubeconfig "$state/controllers.kubeconfig" \
			--use-service-account-credentials --leader-elect=false --secure-port 0 \
			--service-account-private-key-file "$state/pki/sa.key" \
			--root-ca-file "$state/pki/apiserver.crt" --v "$verbosity"
		;;
	scheduler)
		launch scheduler kube-scheduler --kubeconfig "$state/scheduler.kubeconfig" \
			--leader-elect=false --secure-port 0 --v "$verbosity"
		;;
	proxy)
		# The API for programs outside the network namespace: plain HTTP on a Unix socket.
		rm -f "$state/api.sock"
		launch proxy kubectl --kubeconfig "$state/admin.kubeconfig" proxy --unix-socket "$state/api.sock"
		await 20 test -S "$state/api.sock"
		;;
	containerd)
		launch containerd containerd --config "$state/containerd.toml"
		await 60 ctr version
		;;
	kubelet)
		launch kubelet kubelet --config "$state/kubelet.yaml" --kubeconfig "$state/kubelet.kubeconfig" \
			--hostname-override "$node" --v "$verbosity"
		;;
	*) echo "cluster.sh: no such part: $1" >&2; return 2 ;;
	esac
}

stop() { # stop PART [SIGNAL]: end it and wait until it is gone
	if running "$1"; then
		kill -s "${2:-TERM}" "$(pid "$1")"
		while running "$1"; do sleep 0.05; done
	fi
	rm -f "$state/$1.pid"
}

identity() { # identity PART USER [GROUP]: a token, and a kubeconfig that has it
	token=$(openssl rand -hex 16)
	echo "$token,$2,$2,$3" >>"$state/pki/tokens.csv"
	cat >"$state/$1.kubeconfig" <<-END
		apiVersion: v1
		kind: Config
		clusters: [{name: lab, cluster: {server: "https://$api", certificate-authority: $state/pki/apiserver.crt}}]
		users: [{name: $1, user: {token: "$token"}}]
		contexts: [{name: lab, context: {cluster: lab, user: $1}}]
		current-context: lab
	END
}

kubectl() { enter "$(programs)/kubectl" --kubeconfig "$state/admin.kubeconfig" --cache-dir "$state/cache" "$@"; }

up() {
	[ ! -e "$state" ] || { echo "cluster.sh: $state is there already; down removes it" >&2; return 1; }
	bin=$("$here/build.sh" "$version")
	mkdir -p -m 700 "$state" "$state/pki"
	echo "$bin" >"$state/programs"
	ip netns delete "$network" 2>/dev/null || true
	ip netns add "$network"
	enter ip link set lo up
	# The kubelet wants an address and a default route to call its own; they lead nowhere.
	enter ip link add node0 type bridge
	enter ip address add 10.98.0.1/24 dev node0
	enter ip link set node0 up
	enter ip route add default dev node0
	openssl genrsa -out "$state/pki/sa.key" 2048 2>/dev/null
	openssl rsa -in "$state/pki/sa.key" -pubout -out "$state/pki/sa.pub" 2>/dev/null
	identity admin admin system:masters
	identity controllers system:kube-controller-manager ""
	identity scheduler system:kube-scheduler ""
	identity kubelet "system:node:$node" system:nodes
	start etcd
	start apiserver
	await 180 kubectl get --raw /readyz
	start controllers
	start scheduler
	start proxy
	await 120 kubectl get serviceaccount default
}

join() {
	if [ -e /var/lib/kubelet ] && [ ! -e "$state/kubelet.yaml" ]; then
		echo "cluster.sh: there is a /var/lib/kubelet already, and not from here" >&2
		return 1
	fi
	for file in containerd.toml kubelet.yaml cni.conflist; do
		sed "s|@STATE@|$state|g; s|@IMAGE@|$image|g" "$here/$file" >"$state/$file"
	done
	mkdir -p "$state/cni"
	# The DaemonSet makes it; it is removed again, unless it was there before.
	[ -e /var/lib/chandler ] || touch "$state/no-var-lib-chandler"
	mv "$state/cni.conflist" "$state/cni"
	start containerd
	load "$image"
	start kubelet
	await 180 kubectl wait --for condition=Ready --timeout 1s "node/$node"
}

load() { # load NAME [FILE...]
	"$here/image.sh" "$state/image.tar" "$@"
	ctr images import "$state/image.tar" >/dev/null
	rm "$state/image.tar"
}

ctr() {
	CONTAINERD_SUPPRESS_DEPRECATION_WARNINGS=1 \
		"$(programs)/ctr" --address "$state/containerd.sock" --namespace k8s.io "$@"
}

status() {
	for part in etcd apiserver controllers scheduler proxy containerd kubelet; do
		if running "$part"; then
			echo "$part $(pid "$part") $(sed -n 's/^VmRSS:[[:space:]]*//p' "/proc/$(pid "$part")/status")"
		else
			echo "$part -"
		fi
	done
}

shims() { # the processes in which this containerd keeps its containers
	for process in /proc/[0-9]*; do
		tr '\0' ' ' 2>/dev/null <"$process/cmdline" | grep -q -e "-address $state/containerd.sock " &&
			echo "${process#/proc/}"
	done
}

down() { # also what a run that was killed has left
	[ -e "$state" ] || return 0
	stop kubelet KILL
	# Only containerd knows what runs in containers.
	if [ -e "$state/containerd.toml" ] && [ -e "/run/netns/$network" ] && start containerd; then
		ctr tasks list -q | while read -r id; do
			ctr tasks delete --force "$id" >/dev/null 2>&1 || true
		done
	fi
	for part in containerd proxy scheduler controllers apiserver etcd; do stop "$part" KILL; done
	shims | while read -r shim; do kill -s KILL "$shim" 2>/dev/null || true; done
	[ ! -e "$state/kubelet.yaml" ] || leave
	ip netns delete "$network" 2>/dev/null || true
	rm -rf --one-file-system "$state"
}

leave() { # what join and its containers left on the machine
	awk -v state="$state/" 'index($2, state) == 1 || $2 ~ "^/var/lib/kubelet(/|$)" { print $2 }' /proc/mounts |
		sort -r | while read -r mount; do umount -l "$mount"; done
	find /var/log/containers -lname "$state/*" -delete 2>/dev/null || true
	rmdir /var/log/containers 2>/dev/null || true
	[ ! -e "$state/no-var-lib-chandler" ] || rm -rf --one-file-system /var/lib/chandler
	rm -rf --one-file-system /var/lib/kubelet /var/lib/cni/networks/chandler-cluster
}

command=${1:-}
[ $# -eq 0 ] || shift
case $command in
up | join | status | down) "$command" ;;
kubectl | ctr | load | start | stop) "$command" "$@" ;;
restart)
	stop "$1" "${2:-TERM}"
	start "$1"
	;;
*)
	sed -n 's/^#   //p' "$0" >&2
	exit 2
	;;
esac
