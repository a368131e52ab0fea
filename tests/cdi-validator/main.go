// Judges CDI specs by the validator of the CNCF, and by what its library makes of them in a container:
//
//	cdi-validator DIR <answers.json
//
// DIR is the directory of the specs. What is read tells what the plain answers give: for the names of CDI
// devices, joined by commas, the nodes ("PATH TYPE MAJOR:MINOR PERMISSIONS") and the mounts
// ("HOST CONTAINER OPTIONS") of a container that has them all.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"sort"
	"strings"

	oci "github.com/opencontainers/runtime-spec/specs-go"
	"tags.cncf.io/container-device-interface/pkg/cdi"
	specs "tags.cncf.io/container-device-interface/specs-go"
)

type given struct {
	Nodes  []string `json:"nodes"`
	Mounts []string `json:"mounts"`
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: cdi-validator DIR <answers.json")
		os.Exit(2)
	}
	if err := judge(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "cdi-validator:", err)
		os.Exit(1)
	}
}

func judge(dir string) error {
	var answers map[string]given
	if err := json.NewDecoder(os.Stdin).Decode(&answers); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("no specs in %s: %v", dir, err)
	}
	for _, file := range files {
		if err := checkFile(file); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	cache, err := cdi.NewCache(cdi.WithSpecDirs(dir), cdi.WithAutoRefresh(false))
	if err != nil {
		return err
	}
	// Errors of files that are read, also of those that are none of ours.
	for file, errs := range cache.GetErrors() {
		return fmt.Errorf("%s: %w", file, errors.Join(errs...))
	}
	unasked := map[string]bool{}
	for _, name := range cache.ListDevices() {
		unasked[name] = true
	}
	for names, wanted := range answers {
		found, err := inject(cache, strings.Split(names, ","))
		if err != nil {
			return fmt.Errorf("%s: %w", names, err)
		}
		if !reflect.DeepEqual(found, wanted) {
			return fmt.Errorf("%s: a container gets\n%+v, and by the plain answer\n%+v", names, found, wanted)
		}
		for _, name := range strings.Split(names, ",") {
			delete(unasked, name)
		}
	}
	if len(unasked) > 0 {
		return fmt.Errorf("no answer gives %v", unasked)
	}
	fmt.Printf("%d specs are valid, and %d answers give by name what they give plainly\n", len(files), len(answers))
	return nil
}

// checkFile reads a spec as a runtime does, which validates it.
func checkFile(file string) error {
	spec, err := cdi.ReadSpec(file, 0)
	if err != nil {
		return err
	}
	lowest, err := specs.MinimumRequiredVersion(spec.Spec)
	if err == nil && lowest != spec.Version {
		err = fmt.Errorf("says version %s, and %s would do", spec.Version, lowest)
	}
	return err
}

// inject gives what is in a container that had nothing before.
func inject(cache *cdi.Cache, names []string) (given, error) {
	container := oci.Spec{}
	if _, err := cache.InjectDevices(&container, names...); err != nil {
		return given{}, err
	}
	found := given{Nodes: []string{}, Mounts: []string{}}
	allowed := map[string]string{}
	for _, rule := range container.Linux.Resources.Devices {
		allowed[fmt.Sprintf("%s %d:%d", rule.Type, *rule.Major, *rule.Minor)] = rule.Access
	}
	for _, node := range container.Linux.Devices {
		number := fmt.Sprintf("%s %d:%d", node.Type, node.Major, node.Minor)
		found.Nodes = append(found.Nodes, fmt.Sprintf("%s %s %s", node.Path, number, allowed[number]))
	}
	for _, mount := range container.Mounts {
		options := strings.Join(mount.Options, ",")
		found.Mounts = append(found.Mounts, fmt.Sprintf("%s %s %s", mount.Source, mount.Destination, options))
	}
	sort.Strings(found.Nodes)
	sort.Strings(found.Mounts)
	return found, nil
}
