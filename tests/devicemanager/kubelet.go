package main

import (
	"flag"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	cadvisorapi "github.com/google/cadvisor/info/v1"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/client-go/tools/record"
	watcherapi "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
	"k8s.io/kubernetes/pkg/kubelet/cm/containermap"
	"k8s.io/kubernetes/pkg/kubelet/cm/devicemanager"
	"k8s.io/kubernetes/pkg/kubelet/cm/topologymanager"
	"k8s.io/kubernetes/pkg/kubelet/lifecycle"
	"k8s.io/kubernetes/pkg/kubelet/pluginmanager"
)

// options are the command line flags.
type options struct {
	dir              string
	registry         string
	period           time.Duration
	numaNodes        int
	topologyPolicy   string
	topologyScope    string
	featureGateFlags string
}

func (o *options) register(f *flag.FlagSet) {
	f.StringVar(&o.dir, "dir", "/var/lib/kubelet/device-plugins", "the device plugin `directory`")
	f.StringVar(&o.registry, "plugins-registry", "", "also run the plugin watcher on this `directory`")
	f.DurationVar(&o.period, "node-status-period", 10*time.Millisecond, "how often the node's capacity is computed; a kubelet's is 10s")
	f.IntVar(&o.numaNodes, "numa-nodes", 1, "`number` of NUMA nodes the topology manager believes in")
	f.StringVar(&o.topologyPolicy, "topology-policy", "none", "none, best-effort, restricted or single-numa-node")
	f.StringVar(&o.topologyScope, "topology-scope", "container", "container or pod")
	f.StringVar(&o.featureGateFlags, "feature-gates", "", "feature gates as `Name=bool,...`")
}

// kubelet is the part of a kubelet that a device plugin has to do with: the
// device manager, the topology manager that calls it when a pod is admitted,
// the predicates that are checked next, and the list of pods.
type kubelet struct {
	options    options
	out        *output
	manager    *devicemanager.ManagerImpl
	topology   topologymanager.Manager
	predicates lifecycle.PodAdmitHandler
	ready      readySources

	admission sync.Mutex // a kubelet admits one pod at a time

	mu         sync.Mutex
	refreshing sync.Mutex // taken before mu, and before the manager is asked
	pods       map[types.UID]*podState
	node       map[string]quantity // what the node status says of each resource
}

// quantity is one resource in the node status.
type quantity struct {
	Capacity    int64 `json:"capacity"`
	Allocatable int64 `json:"allocatable"`
	Deleted     bool  `json:"deleted,omitempty"` // plugin gone for good, explicit zero
}

// readySources says whether every source of pods has been heard.
type readySources struct{ atomic.Bool }

func (r *readySources) AddSource(string) {}

func (r *readySources) AllReady() bool { return r.Load() }

func newKubelet(options options, out *output) (*kubelet, error) {
	if err := utilfeature.DefaultMutableFeatureGate.Set(options.featureGateFlags); err != nil {
		return nil, err
	}
	machine := make([]cadvisorapi.Node, options.numaNodes)
	for i := range machine {
		machine[i].Id = i
	}
	k := &kubelet{
		options: options,
		out:     out,
		pods:    make(map[types.UID]*podState),
		node:    make(map[string]quantity),
	}
	var err error
	k.topology, err = newTopologyManager(machine, options.topologyPolicy, options.topologyScope)
	if err != nil {
		return nil, err
	}
	k.manager, err = newManager(filepath.Join(options.dir, "kubelet.sock"), machine, k.topology)
	if err != nil {
		return nil, err
	}
	addHintProvider(k.topology, k.manager)
	k.predicates = newPredicateHandler(k.nodeObject, k.manager.UpdatePluginResources)
	return k, nil
}

// startup is the result of a restart.
type startup struct {
	Version  string            `json:"version"`
	Readmits []admissionResult `json:"readmitted"`
}

// start does what a kubelet does once the container runtime has answered: it
// starts the device manager, then admits the pods it had before, and only then
// counts its sources of pods as ready. The request is that of the restart; it
// is empty at the first start.
func (k *kubelet) start(before []podSpec, req request) (*startup, error) {
	containers := containermap.NewContainerMap()
	running := map[string]sets.Empty{}
	for _, spec := range before {
		for i := range spec.Containers {
			// After a reboot nothing runs until it is started once more.
			spec.Containers[i].Running = spec.Containers[i].Running && !req.Reboot
		}
		state, err := newPodState(spec)
		if err != nil {
			return nil, err
		}
		k.pods[state.pod.UID] = state
		for _, c := range spec.Containers {
			id := string(state.pod.UID) + "/" + c.Name
			containers.Add(string(state.pod.UID), c.Name, id)
			if c.Running {
				running[id] = sets.Empty{}
			}
		}
	}
	k.ready.Store(len(before) == 0)
	began := time.Now()
	if err := startManager(k.manager, k.activePods, &k.ready, containers, running); err != nil {
		return nil, err
	}
	k.out.setEpoch()
	k.out.event("listening", map[string]any{"version": kubernetesVersion, "dir": k.options.dir, "start_ms": ms(time.Since(began))})

	if k.options.registry != "" {
		if err := os.MkdirAll(k.options.registry, 0o750); err != nil {
			return nil, err
		}
		plugins := pluginmanager.NewPluginManager(k.options.registry, &record.FakeRecorder{})
		plugins.AddHandler(watcherapi.DevicePlugin, k.manager.GetWatcherHandler())
		go runPluginManager(plugins, &k.ready)
	}

	go k.watchNode()
	go k.watchHealth()
	time.Sleep(time.Duration(req.AdmitMS) * time.Millisecond)
	result := &startup{Version: kubernetesVersion, Readmits: []admissionResult{}}
	for _, spec := range before {
		result.Readmits = append(result.Readmits, k.admit(k.pods[uid(spec.Pod)]))
	}
	k.ready.Store(true)
	return result, nil
}

func (k *kubelet) watchNode() {
	for range time.Tick(k.options.period) {
		k.refreshNode()
	}
}

// refreshNode recomputes the node status from the manager and reports a change.
func (k *kubelet) refreshNode() map[string]quantity {
	// The manager asks for the active pods, which needs mu, with its own mutex
	// taken: asking the manager with mu taken would be a deadlock.
	k.refreshing.Lock()
	defer k.refreshing.Unlock()
	capacity, allocatable, deleted := capacityOf(k.manager)
	k.mu.Lock()
	defer k.mu.Unlock()
	node := maps.Clone(k.node)
	for _, name := range deleted {
		node[name] = quantity{Deleted: true}
	}
	for name, c := range capacity {
		a := allocatable[name]
		node[string(name)] = quantity{Capacity: c.Value(), Allocatable: a.Value()}
	}
	if !maps.Equal(node, k.node) {
		k.node = node
		k.out.event("capacity", map[string]any{"resources": node})
	}
	return node
}

// watchHealth reports the pods whose devices changed their health. A kubelet
// does so only with the feature gate ResourceHealthStatus.
func (k *kubelet) watchHealth() {
	for pods := range healthUpdates(k.manager) {
		k.out.event("health", map[string]any{"pods": pods})
	}
}

// nodeObject is the node as the predicates see it.
func (k *kubelet) nodeObject() *v1.Node {
	k.mu.Lock()
	defer k.mu.Unlock()
	list := func(value func(quantity) int64) v1.ResourceList {
		l := v1.ResourceList{
			v1.ResourceCPU:    resource.MustParse("1000"),
			v1.ResourceMemory: resource.MustParse("1Ti"),
			v1.ResourcePods:   resource.MustParse("1000"),
		}
		for name, q := range k.node {
			l[v1.ResourceName(name)] = *resource.NewQuantity(value(q), resource.DecimalSI)
		}
		return l
	}
	return &v1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "node", Labels: map[string]string{v1.LabelOSStable: "linux"}},
		Status: v1.NodeStatus{
			Capacity:    list(func(q quantity) int64 { return q.Capacity }),
			Allocatable: list(func(q quantity) int64 { return q.Allocatable }),
		},
	}
}
