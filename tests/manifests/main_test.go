package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// What a set of manifests holds. An object of any other kind is a mistake: no roles above all.
type objects struct {
	daemonSet  *appsv1.DaemonSet
	configMaps []corev1.ConfigMap
	namespaces []corev1.Namespace
}

// parse refuses fields that Kubernetes does not know.
func parse(t *testing.T, text string) objects {
	t.Helper()
	var all objects
	for _, document := range strings.Split(text, "\n---\n") {
		document = strings.TrimPrefix(document, "---\n")
		var kind struct{ Kind, APIVersion string }
		if err := yaml.Unmarshal([]byte(document), &kind); err != nil {
			t.Fatalf("%v in\n%s", err, document)
		}
		var err error
		switch kind.APIVersion + " " + kind.Kind {
		case "apps/v1 DaemonSet":
			all.daemonSet = &appsv1.DaemonSet{}
			err = yaml.UnmarshalStrict([]byte(document), all.daemonSet)
		case "v1 ConfigMap":
			var it corev1.ConfigMap
			err = yaml.UnmarshalStrict([]byte(document), &it)
			all.configMaps = append(all.configMaps, it)
		case "v1 Namespace":
			var it corev1.Namespace
			err = yaml.UnmarshalStrict([]byte(document), &it)
			all.namespaces = append(all.namespaces, it)
		default:
			t.Fatalf("there should be no %s %s", kind.APIVersion, kind.Kind)
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, document)
		}
	}
	if all.daemonSet == nil {
		t.Fatalf("no DaemonSet in\n%s", text)
	}
	return all
}

func chart(t *testing.T, values string) objects {
	t.Helper()
	text, err := renderChart(values)
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, text)
}

func kustomization(t *testing.T, dir string) objects {
	t.Helper()
	text, err := renderKustomization(dir)
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, text)
}

// own renders a kustomization of an operator, in a directory beside a checkout that is called chandler.
func own(t *testing.T, text string) objects {
	t.Helper()
	checkout, err := filepath.Abs(repository())
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "mine")
	config := "version: v1\nresources: [{ profile: nvidia-gpu }]\n"
	for _, err := range []error{
		os.Mkdir(dir, 0o755),
		os.Symlink(checkout, filepath.Join(dir, "..", "chandler")),
		os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(text), 0o644),
		os.WriteFile(filepath.Join(dir, "config.yaml"), []byte(config), 0o644),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	rendered, err := renderDirectory(dir)
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, rendered)
}

func is(value *bool, wanted bool) bool { return value != nil && *value == wanted }

// checkRights asserts what docs/security.md claims of the pods.
func checkRights(t *testing.T, all objects) {
	t.Helper()
	spec := all.daemonSet.Spec.Template.Spec
	check := func(holds bool, claim string) {
		t.Helper()
		if !holds {
			t.Errorf("not so: %s", claim)
		}
	}
	check(is(spec.AutomountServiceAccountToken, false), "no token")
	check(spec.ServiceAccountName == "", "no service account of its own")
	check(!spec.HostNetwork && !spec.HostPID && !spec.HostIPC, "none of the host's namespaces")
	check(spec.SecurityContext.SeccompProfile.Type == corev1.SeccompProfileTypeRuntimeDefault, "seccomp")
	check(len(spec.Containers) == 1 && len(spec.InitContainers) == 0, "one container")

	container := spec.Containers[0]
	rights := container.SecurityContext
	check(is(rights.Privileged, false), "not privileged")
	check(is(rights.AllowPrivilegeEscalation, false), "no escalation")
	check(is(rights.ReadOnlyRootFilesystem, true), "read-only root")
	check(slices.Equal(rights.Capabilities.Drop, []corev1.Capability{"ALL"}), "no capability")
	check(len(rights.Capabilities.Add) == 0, "none added")
	check(len(container.Ports) == 0, "no ports")

	var writable []string
	var plugins string
	for _, mount := range container.VolumeMounts {
		if mount.Name == "plugins" {
			plugins = mount.MountPath
		}
		if !mount.ReadOnly {
			writable = append(writable, mount.Name)
		}
		check(mount.SubPath == "", "directories, so that they follow changes")
	}
	check(slices.Equal(writable, []string{"plugins", "state", "run"}), "writes to the plugin directory and its own only")
	var paths []string
	for _, volume := range spec.Volumes {
		if volume.HostPath != nil {
			paths = append(paths, volume.HostPath.Path)
			kind := *volume.HostPath.Type
			own := volume.Name == "state" && kind == corev1.HostPathDirectoryOrCreate
			check(kind == corev1.HostPathDirectory || own, "hostPaths are directories")
		}
	}
	slices.Sort(paths)
	wanted := []string{"/dev", "/sys/bus", "/sys/class", "/sys/dev", "/sys/devices",
		"/var/lib/chandler", "/var/lib/kubelet/pod-resources", plugins}
	slices.Sort(wanted)
	check(slices.Equal(paths, wanted), "hostPaths: devices, the kubelet's directories, its own state")
}

// checkOperation asserts what docs/install.md claims.
func checkOperation(t *testing.T, all objects) {
	t.Helper()
	spec := all.daemonSet.Spec.Template.Spec
	if spec.PriorityClassName != "system-node-critical" {
		t.Errorf("priority %q", spec.PriorityClassName)
	}
	if len(spec.Tolerations) != 1 || spec.Tolerations[0].Operator != corev1.TolerationOpExists ||
		spec.Tolerations[0].Key != "" || spec.Tolerations[0].Effect != "" {
		t.Errorf("does not tolerate every taint: %v", spec.Tolerations)
	}
	update := all.daemonSet.Spec.UpdateStrategy.RollingUpdate
	if update.MaxSurge.IntValue() != 1 || update.MaxUnavailable.IntValue() != 0 {
		t.Errorf("an update leaves a gap: %v", update)
	}
	container := spec.Containers[0]
	for _, probe := range []*corev1.Probe{container.ReadinessProbe, container.LivenessProbe} {
		if probe == nil || probe.Exec == nil || probe.Exec.Command[0] != "/usr/bin/chandler" {
			t.Errorf("not asked by the program itself: %v", probe)
		}
	}
	if container.Resources.Limits.Memory().IsZero() || !container.Resources.Limits.Cpu().IsZero() {
		t.Errorf("limits: %v", container.Resources.Limits)
	}
	selector, labels := all.daemonSet.Spec.Selector.MatchLabels, all.daemonSet.Spec.Template.Labels
	for key, value := range selector {
		if labels[key] != value {
			t.Errorf("the selector's %s is not on the pods", key)
		}
	}
}

func TestKustomization(t *testing.T) {
	all := kustomization(t, "")
	checkRights(t, all)
	checkOperation(t, all)
	if len(all.namespaces) != 1 || len(all.configMaps) != 1 {
		t.Fatalf("%d namespaces, %d ConfigMaps", len(all.namespaces), len(all.configMaps))
	}
	volume := all.daemonSet.Spec.Template.Spec.Volumes[0].ConfigMap
	if volume.Name != all.configMaps[0].Name || !strings.HasPrefix(volume.Name, "chandler-") {
		t.Errorf("the pods use %s, not %s", volume.Name, all.configMaps[0].Name)
	}
	if all.configMaps[0].Data["config.yaml"] == "" {
		t.Error("no configuration")
	}
	image := all.daemonSet.Spec.Template.Spec.Containers[0].Image
	if !strings.HasSuffix(image, ":"+version(t)) {
		t.Errorf("%s is not of version %s", image, version(t))
	}
}

func TestTheKernelLogTakesOneCapabilityAndNothingElse(t *testing.T) {
	for _, more := range []objects{kustomization(t, "kernel-log"), chart(t, "kernelLog: true")} {
		capabilities := more.daemonSet.Spec.Template.Spec.Containers[0].SecurityContext.Capabilities
		if !slices.Equal(capabilities.Add, []corev1.Capability{"SYSLOG"}) {
			t.Errorf("%v", capabilities)
		}
		capabilities.Add = nil
		checkRights(t, more)
	}
}

func TestTheChartByDefault(t *testing.T) {
	all := chart(t, "")
	checkRights(t, all)
	checkOperation(t, all)
	if len(all.configMaps) != 1 || all.configMaps[0].Data["config.yaml"] == "" {
		t.Fatalf("%d ConfigMaps", len(all.configMaps))
	}
}

func TestTheChartSaysWhatTheKustomizationSays(t *testing.T) {
	one, other := chart(t, "").daemonSet.Spec.Template.Spec, kustomization(t, "").daemonSet.Spec.Template.Spec
	// What differs on purpose: names, the image's pull policy, the variables.
	for _, it := range []*corev1.PodSpec{&one, &other} {
		it.Containers[0].Env = nil
		it.Containers[0].ImagePullPolicy = ""
		it.Volumes[0].ConfigMap = nil
	}
	a, _ := yaml.Marshal(one)
	b, _ := yaml.Marshal(other)
	if string(a) != string(b) {
		t.Errorf("chart:\n%s\nkustomization:\n%s", a, b)
	}
}

// Takes the directories of CDI specs away, which are where they should be: one is written to, and both are read where
// everything of the node is.
func withoutCDI(t *testing.T, all objects, dir string) objects {
	t.Helper()
	spec := &all.daemonSet.Spec.Template.Spec
	mounts, volumes := &spec.Containers[0].VolumeMounts, &spec.Volumes
	for name, path := range map[string]string{"cdi": "/host/var/run/cdi", "etc-cdi": "/host/etc/cdi"} {
		wanted := corev1.VolumeMount{Name: name, MountPath: path, ReadOnly: true}
		at := slices.Index(*mounts, wanted)
		if at < 0 {
			t.Fatalf("no %v in %v", wanted, *mounts)
		}
		*mounts = slices.Delete(*mounts, at, at+1)
	}
	static := slices.IndexFunc(*volumes, func(it corev1.Volume) bool { return it.Name == "etc-cdi" })
	if static < 0 || (*volumes)[static].HostPath.Path != "/etc/cdi" {
		t.Fatalf("%v", *volumes)
	}
	*volumes = slices.Delete(*volumes, static, static+1)
	mount := slices.IndexFunc(*mounts, func(it corev1.VolumeMount) bool { return it.Name == "cdi" })
	volume := slices.IndexFunc(*volumes, func(it corev1.Volume) bool { return it.Name == "cdi" })
	if mount < 0 || volume < 0 {
		t.Fatalf("%v %v", *mounts, *volumes)
	}
	if it := (*mounts)[mount]; it.MountPath != "/var/run/cdi" || it.ReadOnly || it.SubPath != "" {
		t.Errorf("%v", it)
	}
	if it := (*volumes)[volume].HostPath; it.Path != dir || *it.Type != corev1.HostPathDirectoryOrCreate {
		t.Errorf("%v", it)
	}
	*mounts = slices.Delete(*mounts, mount, mount+1)
	*volumes = slices.Delete(*volumes, volume, volume+1)
	return all
}

func TestSpecsOfCDITakeADirectoryAndNoOtherRight(t *testing.T) {
	checkRights(t, withoutCDI(t, kustomization(t, "cdi"), "/var/run/cdi"))
	checkRights(t, withoutCDI(t, chart(t, "cdi: { enabled: true }"), "/var/run/cdi"))
	checkRights(t, withoutCDI(t, chart(t, "cdi: { enabled: true, dir: /var/cri/cdi }"), "/var/cri/cdi"))
}

// Takes away a directory of the host that is written to, by the name of its volume.
func withoutDir(t *testing.T, all objects, name, dir string) objects {
	t.Helper()
	spec := &all.daemonSet.Spec.Template.Spec
	mounts, volumes := &spec.Containers[0].VolumeMounts, &spec.Volumes
	mount := slices.Index(*mounts, corev1.VolumeMount{Name: name, MountPath: dir})
	volume := slices.IndexFunc(*volumes, func(it corev1.Volume) bool { return it.Name == name })
	if mount < 0 || volume < 0 || (*volumes)[volume].HostPath.Path != dir {
		t.Fatalf("%v %v", *mounts, *volumes)
	}
	*mounts = slices.Delete(*mounts, mount, mount+1)
	*volumes = slices.Delete(*volumes, volume, volume+1)
	return all
}

// The directory that Multus reads.
const devInfo = "/var/run/k8s.cni.cncf.io/devinfo/dp"

func TestNetworkPluginsAreToldInADirectoryAndByNoOtherRight(t *testing.T) {
	network := withoutDir(t, kustomization(t, "network"), "device-info", devInfo)
	checkRights(t, withoutReads(t, network, "/proc", "/sys/kernel/iommu_groups"))
	checkRights(t, withoutDir(t, chart(t, "deviceInfo: true"), "device-info", devInfo))
}

func TestLabelsTakeADirectoryAndNoOtherRight(t *testing.T) {
	dir := "/etc/kubernetes/node-feature-discovery/features.d"
	checkRights(t, withoutDir(t, kustomization(t, "labels"), "labels", dir))
	checkRights(t, withoutDir(t, chart(t, "config: { labels: { dir: /nfd } }"), "labels", "/nfd"))
	checkRights(t, withoutDir(t, chart(t, "existingConfigMap: mine\nlabelsDir: "+dir), "labels", dir))
	// What the values of the chart have as `config` does not count then.
	checkRights(t, chart(t, "existingConfigMap: mine\nconfig: { labels: { dir: /nfd } }"))
}

// Whether a volume of this name, of the chart or of a component, is a directory that profiles read.
func isRead(name string) bool {
	return strings.HasPrefix(name, "reads-") || strings.HasPrefix(name, "host-")
}

// Takes the directories away that profiles read, which are not writable.
func withoutReads(t *testing.T, all objects, dirs ...string) objects {
	t.Helper()
	spec := &all.daemonSet.Spec.Template.Spec
	var found []string
	spec.Volumes = slices.DeleteFunc(spec.Volumes, func(it corev1.Volume) bool {
		if !isRead(it.Name) {
			return false
		}
		if *it.HostPath.Type != corev1.HostPathDirectory {
			t.Errorf("%v", it)
		}
		found = append(found, it.Name+" "+it.HostPath.Path)
		return true
	})
	mounts := &spec.Containers[0].VolumeMounts
	*mounts = slices.DeleteFunc(*mounts, func(it corev1.VolumeMount) bool {
		if !isRead(it.Name) {
			return false
		}
		at, isBelow := strings.CutPrefix(it.MountPath, "/host")
		if !it.ReadOnly || !isBelow || !slices.Contains(found, it.Name+" "+at) {
			t.Errorf("%v", it)
		}
		return true
	})
	for idx, it := range found {
		if idx >= len(dirs) || !strings.HasSuffix(it, " "+dirs[idx]) {
			t.Errorf("%v, not %v", found, dirs)
		}
	}
	if len(found) != len(dirs) {
		t.Errorf("%v, not %v", found, dirs)
	}
	return all
}

func TestWhatProfilesReadIsMountedAndNothingElse(t *testing.T) {
	nvidia := []string{"/proc/driver", "/sys/module", "/usr"}
	checkRights(t, withoutReads(t, kustomization(t, "nvidia-gpu"), nvidia...))
	checkRights(t, withoutReads(t, kustomization(t, "vfio"), "/sys/kernel/iommu_groups"))
	checkRights(t, withoutReads(t, kustomization(t, "disks"), "/proc"))
	checkRights(t, withoutReads(t, chart(t, "config: { resources: [{ profile: nvme }] }"), "/proc"))
	checkRights(t, withoutReads(t, chart(t, "config: { resources: [{ profile: kvm }] }")))
	checkRights(t, withoutReads(t, chart(t, "config: { resources: [{ profile: nvidia-gpu }] }"), nvidia...))
	both := "config: { resources: [{ profile: { name: nvidia-gpu, driver: cdi } }, { name: a/b, profile: vfio-pci }, { profile: tpu }] }"
	checkRights(t, withoutReads(t, chart(t, both),
		"/proc/driver", "/sys/kernel/iommu_groups", "/sys/module", "/usr"))
}

func TestAHostPathThatANodeLacksIsMadeAndWhatIsMountedInItLaterIsSeen(t *testing.T) {
	values := "config: { resources: [{ profile: nvidia-gpu }] }\n" +
		"hostPaths: [/run/nvidia/driver, /etc/vulkan, /sys/kernel/iommu_groups, /procs]"
	all := chart(t, values)
	spec := &all.daemonSet.Spec.Template.Spec
	late := []string{"/etc/vulkan", "/procs", "/run/nvidia/driver"}
	for idx, it := range spec.Volumes {
		if it.HostPath == nil || !isRead(it.Name) {
			continue
		}
		wanted := corev1.HostPathDirectory
		if slices.Contains(late, it.HostPath.Path) {
			wanted = corev1.HostPathDirectoryOrCreate
		}
		if *it.HostPath.Type != wanted {
			t.Errorf("%s is a %s", it.HostPath.Path, *it.HostPath.Type)
		}
		directory := corev1.HostPathDirectory
		spec.Volumes[idx].HostPath.Type = &directory
	}
	for _, it := range spec.Containers[0].VolumeMounts {
		follows := it.MountPropagation != nil && *it.MountPropagation == corev1.MountPropagationHostToContainer
		if at := strings.TrimPrefix(it.MountPath, "/host"); follows != slices.Contains(late, at) {
			t.Errorf("%s: %v", at, it.MountPropagation)
		}
	}
	checkRights(t, withoutReads(t, all, "/etc/vulkan", "/proc/driver", "/procs", "/run/nvidia/driver",
		"/sys/kernel/iommu_groups", "/sys/module", "/usr"))
}

func TestAPrivilegedContainerIsOneThatKubernetesAcceptsAndChangesNothingElse(t *testing.T) {
	for _, all := range []objects{kustomization(t, "privileged"), chart(t, "privileged: true")} {
		rights := all.daemonSet.Spec.Template.Spec.Containers[0].SecurityContext
		if !is(rights.Privileged, true) || !is(rights.AllowPrivilegeEscalation, true) {
			t.Fatalf("%v", rights)
		}
		*rights.Privileged, *rights.AllowPrivilegeEscalation = false, false
		checkRights(t, all)
	}
}

func TestActionsMakeTheAttributesOfDevicesWritableAndNothingElse(t *testing.T) {
	for _, all := range []objects{kustomization(t, "actions"), chart(t, "actions: true")} {
		mounts := all.daemonSet.Spec.Template.Spec.Containers[0].VolumeMounts
		at := slices.Index(mounts, corev1.VolumeMount{Name: "sys-devices", MountPath: "/host/sys/devices"})
		if at < 0 {
			t.Fatalf("%v", mounts)
		}
		mounts[at].ReadOnly = true
		checkRights(t, all)
	}
}

// The names of all components.
func components(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(repository(), "deploy", "kustomize", "components"))
	if err != nil || len(entries) == 0 {
		t.Fatal(entries, err)
	}
	var names []string
	for _, it := range entries {
		names = append(names, it.Name())
	}
	return names
}

func withComponents(names ...string) string {
	text := "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n" +
		"resources: [../chandler/deploy/kustomize/base]\ncomponents:\n"
	for _, name := range names {
		text += "  - ../chandler/deploy/kustomize/components/" + name + "\n"
	}
	return text
}

func TestAllComponentsTogetherGiveWhatEachGivesAlone(t *testing.T) {
	// What is mounted, by its place in the container.
	mounted := func(all objects) map[string]string {
		spec := all.daemonSet.Spec.Template.Spec
		volumes := map[string]string{}
		for _, it := range spec.Volumes {
			if volumes[it.Name] != "" {
				t.Errorf("two volumes are called %s", it.Name)
			}
			volumes[it.Name] = it.Name
			if it.HostPath != nil {
				volumes[it.Name] = it.HostPath.Path + " " + string(*it.HostPath.Type)
			}
		}
		mounts := map[string]string{}
		for _, it := range spec.Containers[0].VolumeMounts {
			if mounts[it.MountPath] != "" {
				t.Errorf("two mounts are at %s", it.MountPath)
			}
			if volumes[it.Name] == "" {
				t.Errorf("%s is of no volume", it.MountPath)
			}
			mounts[it.MountPath] = volumes[it.Name]
			if it.ReadOnly {
				mounts[it.MountPath] += ", read-only"
			}
		}
		return mounts
	}
	base := mounted(kustomization(t, "base"))
	together := own(t, withComponents(components(t)...))
	all := mounted(together)
	for _, name := range components(t) {
		for path, what := range mounted(kustomization(t, name)) {
			if what != base[path] && all[path] != what {
				t.Errorf("%s mounts %s at %s, and all components together %s", name, what, path, all[path])
			}
		}
	}
	rights := together.daemonSet.Spec.Template.Spec.Containers[0].SecurityContext
	if !slices.Equal(rights.Capabilities.Add, []corev1.Capability{"SYSLOG"}) {
		t.Errorf("%v", rights.Capabilities)
	}
}

// The first block of docs/install.md that has this.
func exampleWith(t *testing.T, has string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(repository(), "docs", "install.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range strings.Split(string(text), "```yaml\n")[1:] {
		block, _, _ = strings.Cut(block, "```")
		if strings.Contains(block, has) {
			return block
		}
	}
	t.Fatalf("docs/install.md has no example with %s", has)
	return ""
}

func TestTheKustomizationThatIsTheExampleHasBothComponentsAndItsOwnConfiguration(t *testing.T) {
	all := own(t, exampleWith(t, "kind: Kustomization"))
	if len(all.configMaps) != 1 || !strings.Contains(all.configMaps[0].Data["config.yaml"], "nvidia-gpu") {
		t.Errorf("%v", all.configMaps)
	}
	all = withoutReads(t, all, "/proc/driver", "/sys/module", "/usr")
	spec := &all.daemonSet.Spec.Template.Spec
	if spec.Volumes[0].Name != "config" || spec.Volumes[0].ConfigMap.Name != all.configMaps[0].Name {
		t.Errorf("%v", spec.Volumes[0])
	}
	if image := spec.Containers[0].Image; image != "registry.example.com/chandler:0.1.0" {
		t.Errorf("%s", image)
	}
	capabilities := spec.Containers[0].SecurityContext.Capabilities
	if !slices.Equal(capabilities.Add, []corev1.Capability{"SYSLOG"}) {
		t.Errorf("%v", capabilities)
	}
	capabilities.Add = nil
	checkRights(t, all)
}

// Every value of the chart, each with something to look for.
func TestTheChartHeedsEachValue(t *testing.T) {
	digest := "sha256:" + strings.Repeat("0a", 32)
	for _, it := range []struct{ values, wanted string }{
		{"image: { repository: example.net/it, tag: '7' }", "image: \"example.net/it:7\""},
		{"image: { repository: example.net/it, digest: '" + digest + "' }", "image: \"example.net/it@" + digest + "\""},
		{"image: { pullPolicy: Never }", "imagePullPolicy: Never"},
		{"imagePullSecrets: [{ name: key }]", "imagePullSecrets:\n        - name: key"},
		{"config: { version: v1, resources: [{ name: example.com/it }] }", "- name: example.com/it"},
		{"existingConfigMap: mine", "configMap: { name: mine }"},
		{"log: { filter: debug }", "{ name: CHANDLER_LOG, value: \"debug\" }"},
		{"log: { format: json }", "{ name: CHANDLER_LOG_FORMAT, value: \"json\" }"},
		{"pluginDir: /data/plugins", "hostPath: { path: \"/data/plugins\", type: Directory }"},
		{"pluginDir: /data/plugins", "name: pod-resources, mountPath: \"/data/pod-resources\""},
		{"podResourcesDir: /data/it", "hostPath: { path: \"/data/it\", type: Directory }"},
		{"kernelLog: true", "add: [SYSLOG]"},
		{"deviceInfo: true", "mountPath: /var/run/k8s.cni.cncf.io/devinfo/dp }"},
		{"labelsDir: /nfd", "mountPath: \"/nfd\" }"},
		{"hostPaths: [/etc/cdi]", "mountPath: \"/host/etc/cdi\""},
		{"privileged: true", "privileged: true"},
		{"actions: true", "{ name: sys-devices, mountPath: /host/sys/devices }"},
		{"resources: { limits: { memory: 1Gi } }", "memory: 1Gi"},
		{"priorityClassName: mine", "priorityClassName: mine"},
		{"tolerations: [{ key: mine }]", "- key: mine"},
		{"nodeSelector: { mine: 'true' }", "nodeSelector:\n        mine: \"true\""},
		{"affinity: { nodeAffinity: {} }", "affinity:\n        nodeAffinity: {}"},
		{"podAnnotations: { mine: yes-it-is }", "mine: yes-it-is"},
		{"podLabels: { mine: label }", "        mine: label"},
		{"seLinuxOptions: { type: spc_t }", "type: spc_t"},
		{"updateStrategy: { type: OnDelete, rollingUpdate: null }", "type: OnDelete"},
	} {
		text, err := renderChart(it.values)
		if err != nil {
			t.Errorf("%s: %v", it.values, err)
			continue
		}
		parse(t, text)
		if !strings.Contains(text, it.wanted) {
			t.Errorf("%s: no %q in\n%s", it.values, it.wanted, text)
		}
	}
}

func TestAPodOfTheChartKeepsItsConfigurationAndAChangedOneIsRolledOut(t *testing.T) {
	used := func(values string) string {
		all := chart(t, values)
		name := all.daemonSet.Spec.Template.Spec.Volumes[0].ConfigMap.Name
		for _, it := range all.configMaps {
			if it.Name != name || !is(it.Immutable, true) || it.Annotations["helm.sh/resource-policy"] != "keep" {
				t.Errorf("the pods use %s, of which is made %+v", name, it.ObjectMeta)
			}
		}
		return name
	}
	one := used("")
	if one == used("config: { resources: [{ name: example.com/it }] }") {
		t.Errorf("two configurations are called %s", one)
	}
	if again := used("log: { filter: debug }"); again != one {
		t.Errorf("the same configuration is called %s and %s", one, again)
	}
	if !strings.HasPrefix(one, "chandler-") || len(one) > 63 {
		t.Errorf("%s", one)
	}
}

func TestTheSchemaRefusesMistakes(t *testing.T) {
	for _, values := range []string{
		"imagee: {}",
		"image: { repository: '' }",
		"image: { digest: latest }",
		"image: { pullPolicy: Sometimes }",
		"config: { version: v2 }",
		"config: { resources: [] }",
		"config: { resources: [{ discovery: {} }] }",
		"log: { format: xml }",
		"pluginDir: relative",
		"kernelLog: please",
		"actions: please",
		"privileged: please",
		"hostPaths: [relative]",
		"hostPaths: [/]",
		"cdi: true",
		"cdi: { enabled: true, dir: relative }",
		"tolerations: all",
		"nodeSelector: { mine: true }",
		"seLinuxOptions: { kind: spc_t }",
		"updateStrategy: { type: Sometimes }",
	} {
		if _, err := renderChart(values); err == nil {
			t.Errorf("%s: not refused", values)
		}
	}
}

// The program itself checks the configurations, where the variable CHANDLER says where it is.
func TestTheConfigurationsAreWrittenOut(t *testing.T) {
	dir := os.Getenv("CONFIGURATIONS")
	if dir == "" {
		t.Skip("CONFIGURATIONS names no directory")
	}
	for name, all := range map[string]objects{"chart": chart(t, ""), "kustomization": kustomization(t, "")} {
		text := all.configMaps[0].Data["config.yaml"]
		if err := os.WriteFile(filepath.Join(dir, name+".yaml"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestVersionsAgree(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(repository(), "deploy", "helm", "chandler", "Chart.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var chart struct{ AppVersion string }
	if err := yaml.Unmarshal(text, &chart); err != nil || chart.AppVersion != version(t) {
		t.Errorf("%q, not %q: %v", chart.AppVersion, version(t), err)
	}
}

func version(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(repository(), "Cargo.toml"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\nversion = \"")
	version, _, _ := strings.Cut(rest, "\"")
	return version
}
