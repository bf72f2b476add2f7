package check

import (
	"maps"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// kustomizations are the examples for kustomize, with the manifests that are generated. The ConfigMaps are not among
// them: kustomize generates these from files. An example that changes another one contains only what differs.
var kustomizations = map[string][]string{
	"kubernetes": {
		"deployment.yaml", "networkpolicy.yaml", "persistentvolumeclaim.yaml", "prometheusrule.yaml", "service.yaml",
		"servicemonitor.yaml",
	},
	"kubernetes-replicas": {"deployment.yaml", "networkpolicy.yaml", "poddisruptionbudget.yaml"},
}

// renderExample renders what an example for kustomize must contain.
func renderExample(t *testing.T, name string) []manifest {
	t.Helper()
	return render(t, values(name), "--set-file=config="+examples+"kubernetes/bilibili_exporter.yml",
		"--set-file=userFiles.creators="+examples+"kubernetes/creators.yml")
}

// ofHelm matches labels that only Helm's own objects have.
var ofHelm = regexp.MustCompile(`(?m)^ +(helm\.sh/chart|app\.kubernetes\.io/managed-by): .*\n`)

// TestManifests compares the manifests for kustomize with the chart, or writes them with -update.
func TestManifests(t *testing.T) {
	const header = "# Generated from examples/helm/bilibili-exporter by `make kubernetes`: edit the chart instead.\n"
	for example, names := range kustomizations {
		var found []string
		for _, m := range renderExample(t, example) {
			if !slices.Contains(names, m.name) {
				continue
			}
			found = append(found, m.name)
			text := ofHelm.ReplaceAllString(m.text, "")
			if example != "kubernetes" && slices.Contains(kustomizations["kubernetes"], m.name) { // a patch
				text = strings.Replace(text, "\nspec:\n", "\nspec:\n  $patch: replace\n", 1)
			}
			expectFile(t, examples+example+"/"+m.name, header+text)
		}
		if slices.Sort(found); !slices.Equal(found, names) {
			t.Errorf("%s: the chart renders %s, want %s", example, found, names)
		}
	}
}

// TestKustomize compares all objects that kustomize builds with those of the chart, except for the Secrets, which the
// chart does not create.
func TestKustomize(t *testing.T) {
	for example := range kustomizations {
		t.Run(example, func(t *testing.T) {
			got, want := make(map[string]any), make(map[string]any)
			for _, text := range build(t, example) {
				add(t, got, text)
			}
			for _, m := range renderExample(t, example) {
				text := strings.ReplaceAll(m.text, "/bilibili_exporter:latest", "/bilibili_exporter:1.2.3")
				add(t, want, []byte(ofHelm.ReplaceAllString(text, "")))
			}
			maps.DeleteFunc(got, func(name string, _ any) bool { return strings.HasPrefix(name, "Secret ") })
			for name := range want {
				if !reflect.DeepEqual(got[name], want[name]) {
					t.Errorf("%s: kustomize builds\n%v\nwant as in the chart\n%v", name, got[name], want[name])
				}
			}
			if len(got) != len(want) {
				t.Errorf("got %s\nwant %s", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
			}
		})
	}
}

// hash matches what kustomize appends to the name of the Secret of the database.
var hash = regexp.MustCompile(`(-database)-[0-9a-z]{10}\b`)

// add decodes an object, without its namespace and what only ConfigMaps of Helm have.
func add(t *testing.T, objects map[string]any, text []byte) {
	t.Helper()
	var object map[string]any
	if err := yaml.UnmarshalStrict(hash.ReplaceAll(text, []byte("$1")), &object); err != nil {
		t.Fatal(err)
	}
	metadata := object["metadata"].(map[string]any)
	if namespace, ok := metadata["namespace"]; ok && namespace != "monitoring" {
		t.Errorf("got namespace %v", namespace)
	}
	delete(metadata, "namespace")
	if object["kind"] == "ConfigMap" {
		delete(metadata, "labels")
	}
	objects[object["kind"].(string)+" "+metadata["name"].(string)] = object
}

// build returns the objects of an example as "kubectl apply -k" builds them. It works on a copy that has the files that
// the user creates and, in this example only, another version of the image.
func build(t *testing.T, name string) [][]byte {
	t.Helper()
	dir := t.TempDir()
	for example := range kustomizations {
		files, err := filepath.Glob(examples + example + "/*.y*ml")
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range files {
			text := read(t, path)
			if err := yaml.UnmarshalStrict([]byte(text), new(any)); err != nil { // kustomize accepts repeated keys
				t.Errorf("%s: %v", path, err)
			}
			if example == name {
				text = strings.Replace(text, "newTag: latest", "newTag: 1.2.3", 1)
			}
			write(t, filepath.Join(dir, example, filepath.Base(path)), text)
		}
	}
	write(t, filepath.Join(dir, "kubernetes", "token"), "a token")
	write(t, filepath.Join(dir, "kubernetes-replicas", "database.env"), "url=postgres://a@b/c\npassword=d\n")
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).
		Run(filesys.MakeFsOnDisk(), filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	var objects [][]byte
	for _, resource := range resources.Resources() {
		text, err := resource.AsYAML()
		if err != nil {
			t.Fatal(err)
		}
		objects = append(objects, text)
	}
	return objects
}
