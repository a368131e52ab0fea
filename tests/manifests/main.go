// Renders what is in deploy/ for Kubernetes, with the libraries of Helm and Kustomize themselves.
//
//	manifests helm [VALUES.yaml]     the chart, for the release "chandler" in the namespace "chandler"
//	manifests kustomize [DIR]        deploy/kustomize, or a directory below it
//
// It runs in the folder of the checkout that the variable REPOSITORY names, by default two up.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

func repository() string {
	if dir := os.Getenv("REPOSITORY"); dir != "" {
		return dir
	}
	return filepath.Join("..", "..")
}

// renderChart renders the chart with these values, which may be empty. The schema is checked.
func renderChart(values string) (string, error) {
	chart, err := loader.Load(filepath.Join(repository(), "deploy", "helm", "chandler"))
	if err != nil {
		return "", err
	}
	given, err := chartutil.ReadValues([]byte(values))
	if err != nil {
		return "", err
	}
	release := chartutil.ReleaseOptions{Name: "chandler", Namespace: "chandler", IsInstall: true}
	all, err := chartutil.ToRenderValues(chart, given, release, chartutil.DefaultCapabilities)
	if err != nil {
		return "", err
	}
	files, err := engine.Render(chart, all)
	if err != nil {
		return "", err
	}
	var names []string
	for name, text := range files {
		if strings.HasSuffix(name, ".yaml") && strings.TrimSpace(text) != "" {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	var out strings.Builder
	for _, name := range names {
		fmt.Fprintf(&out, "---\n%s\n", strings.TrimSpace(files[name]))
	}
	return out.String(), nil
}

// renderKustomization renders a directory below deploy/kustomize.
func renderKustomization(dir string) (string, error) {
	return renderDirectory(filepath.Join(repository(), "deploy", "kustomize", dir))
}

// renderDirectory renders a kustomization wherever it is.
func renderDirectory(path string) (string, error) {
	kustomizer := krusty.MakeKustomizer(krusty.MakeDefaultOptions())
	resources, err := kustomizer.Run(filesys.MakeFsOnDisk(), path)
	if err != nil {
		return "", err
	}
	text, err := resources.AsYaml()
	return string(text), err
}

func main() {
	argument := func(at int) string {
		if len(os.Args) > at {
			return os.Args[at]
		}
		return ""
	}
	var text string
	var err error
	switch argument(1) {
	case "helm":
		var values []byte
		if file := argument(2); file != "" {
			values, err = os.ReadFile(file)
		}
		if err == nil {
			text, err = renderChart(string(values))
		}
	case "kustomize":
		text, err = renderKustomization(argument(2))
	default:
		err = fmt.Errorf("usage: manifests helm [VALUES.yaml] | kustomize [DIR]")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "manifests:", err)
		os.Exit(1)
	}
	fmt.Print(text)
}
