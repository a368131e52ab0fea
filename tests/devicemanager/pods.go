package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/kubernetes/pkg/kubelet/cm/devicemanager"
	"k8s.io/kubernetes/pkg/kubelet/lifecycle"
)

// podSpec is a pod as the commands describe it.
type podSpec struct {
	Pod        string          `json:"pod"` // uid/namespace/name
	Containers []containerSpec `json:"containers"`
}

// containerSpec is one container of a pod, app container unless Init or Sidecar.
type containerSpec struct {
	Name    string           `json:"name"`
	Init    bool             `json:"init,omitempty"`
	Sidecar bool             `json:"sidecar,omitempty"` // an init container that keeps running
	Limits  map[string]int64 `json:"limits"`
	Running bool             `json:"running,omitempty"`
}

// knowsSidecars says whether the release has init containers that keep running.
// To an earlier one they are init containers like any other.
var _, knowsSidecars = reflect.TypeFor[v1.Container]().FieldByName("RestartPolicy")

type podState struct {
	spec podSpec
	pod  *v1.Pod
}

func newPodState(spec podSpec) (*podState, error) {
	part := strings.Split(spec.Pod, "/")
	if len(part) != 3 || part[0] == "" {
		return nil, fmt.Errorf("pod %q is not uid/namespace/name", spec.Pod)
	}
	pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{UID: types.UID(part[0]), Namespace: part[1], Name: part[2]}}
	spec.Containers = slices.Clone(spec.Containers)
	for i, c := range spec.Containers {
		if c.Sidecar && !knowsSidecars {
			c.Init, c.Sidecar = true, false
			spec.Containers[i] = c
		}
		limits := v1.ResourceList{}
		for name, count := range c.Limits {
			limits[v1.ResourceName(name)] = *resource.NewQuantity(count, resource.DecimalSI)
		}
		container := v1.Container{Name: c.Name, Resources: v1.ResourceRequirements{Limits: limits, Requests: limits}}
		switch {
		case c.Sidecar:
			// As JSON, because 1.26 and 1.27 lack the field.
			if err := json.Unmarshal([]byte(`{"restartPolicy":"Always"}`), &container); err != nil {
				return nil, err
			}
			fallthrough
		case c.Init:
			pod.Spec.InitContainers = append(pod.Spec.InitContainers, container)
		default:
			pod.Spec.Containers = append(pod.Spec.Containers, container)
		}
	}
	return &podState{spec: spec, pod: pod}, nil
}

func uid(pod string) types.UID {
	id, _, _ := strings.Cut(pod, "/")
	return types.UID(id)
}

func containerOf(pod *v1.Pod, name string) (*v1.Container, error) {
	for _, list := range [][]v1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			if list[i].Name == name {
				return &list[i], nil
			}
		}
	}
	return nil, fmt.Errorf("no container %q in pod %s", name, pod.Name)
}

func (k *kubelet) activePods() []*v1.Pod {
	k.mu.Lock()
	defer k.mu.Unlock()
	var pods []*v1.Pod
	for _, state := range k.pods {
		pods = append(pods, state.pod)
	}
	return pods
}

func (k *kubelet) podSpecs() []podSpec {
	k.mu.Lock()
	defer k.mu.Unlock()
	specs := []podSpec{}
	for _, id := range slices.Sorted(maps.Keys(k.pods)) {
		spec := k.pods[id].spec
		spec.Containers = slices.Clone(spec.Containers)
		specs = append(specs, spec)
	}
	return specs
}

func (k *kubelet) find(name string) (*podState, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if state, ok := k.pods[uid(name)]; ok {
		return state, nil
	}
	return nil, fmt.Errorf("no pod %q", name)
}

// forget makes a pod inactive; its devices are free at the next admission.
func (k *kubelet) forget(pod *v1.Pod) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.pods, pod.UID)
}

type admissionResult struct {
	Pod      string  `json:"pod"`
	Admitted bool    `json:"admitted"`
	Reason   string  `json:"reason,omitempty"`
	Message  string  `json:"message,omitempty"`
	AdmitMS  float64 `json:"admit_ms"`
}

// admit asks the two handlers that matter here, in the kubelet's order.
func (k *kubelet) admit(state *podState) admissionResult {
	k.admission.Lock()
	defer k.admission.Unlock()
	k.refreshNode()
	began := time.Now()
	others := slices.DeleteFunc(k.activePods(), func(p *v1.Pod) bool { return p.UID == state.pod.UID })
	attrs := &lifecycle.PodAdmitAttributes{Pod: state.pod, OtherPods: others}
	setOperation(attrs)
	for _, handler := range []lifecycle.PodAdmitHandler{k.topology, k.predicates} {
		if r := admitWith(handler, attrs); !r.Admit {
			k.forget(state.pod)
			return admissionResult{Pod: state.spec.Pod, Reason: r.Reason, Message: r.Message, AdmitMS: ms(time.Since(began))}
		}
	}
	return admissionResult{Pod: state.spec.Pod, Admitted: true, AdmitMS: ms(time.Since(began))}
}

// setOperation marks the admission as that of a new pod where the release knows
// of others (1.36 and later).
func setOperation(attrs *lifecycle.PodAdmitAttributes) {
	if f := reflect.ValueOf(attrs).Elem().FieldByName("Operation"); f.IsValid() {
		f.SetString("add")
	}
}

// containerResult is what the container runtime is told about a container.
type containerResult struct {
	Devices map[string][]string                      `json:"devices"`
	Options *devicemanager.DeviceRunContainerOptions `json:"options,omitempty"`
	StartMS float64                                  `json:"start_ms"`
}

// startContainer asks for what the container runtime is to be told, which is
// done at every start of a container, the first one and every other.
func (k *kubelet) startContainer(state *podState, name string) (*containerResult, error) {
	container, err := containerOf(state.pod, name)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	options, err := runOptions(k.manager, state.pod, container)
	if err != nil {
		return nil, err
	}
	result := &containerResult{Devices: map[string][]string{}, Options: options, StartMS: ms(time.Since(began))}
	for name, devices := range k.manager.GetDevices(string(state.pod.UID), name) {
		result.Devices[name] = slices.Sorted(maps.Keys(devices))
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for i := range state.spec.Containers {
		if c := &state.spec.Containers[i]; c.Name == name {
			c.Running = !c.Init
		}
	}
	return result, nil
}
