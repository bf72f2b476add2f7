package kubernetes

import (
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
)

// The module in the directory check tests what does not depend on the exporter.

const (
	directory = "examples/kubernetes/"
	replicas  = "examples/kubernetes-replicas/"
)

var update = flag.Bool("update", false, "write prometheusrule.yaml from the rules of examples/prometheus")

// deployment is the part of deployment.yaml that the exporter depends on.
type deployment struct {
	Spec struct {
		Replicas int
		Strategy struct{ Type string }
		Template struct{ Spec pod }
	}
}

type pod struct {
	StopTimeout     int `yaml:"terminationGracePeriodSeconds"`
	SecurityContext struct {
		User    int `yaml:"runAsUser"`
		Group   int `yaml:"runAsGroup"`
		FSGroup int `yaml:"fsGroup"`
	} `yaml:"securityContext"`
	Containers []container
	Volumes    []volume
}

type container struct {
	Image string
	Args  []string
	Ports []struct {
		ContainerPort string `yaml:"containerPort"`
	}
	Mounts []struct {
		Name string
		Path string `yaml:"mountPath"`
	} `yaml:"volumeMounts"`
}

type volume struct {
	Name  string
	Claim struct {
		Name string `yaml:"claimName"`
	} `yaml:"persistentVolumeClaim"`
	ConfigMap struct{ Name string } `yaml:"configMap"`
	Secret    struct {
		Name string `yaml:"secretName"`
	}
}

// kustomization is the part of kustomization.yaml that the other files depend on.
type kustomization struct {
	Resources  []string
	ConfigMaps []generator `yaml:"configMapGenerator"`
	Secrets    []generator `yaml:"secretGenerator"`
	Images     []struct{ Name string }
}

type generator struct {
	Name  string
	Files []string
}

// overlay is the part of the kustomization.yaml for replicas that the other files depend on.
type overlay struct {
	Resources []string
	Secrets   []struct{ Envs []string } `yaml:"secretGenerator"`
	Patches   []struct{ Path string }
}

// load decodes deployment.yaml and kustomization.yaml.
func load(t *testing.T) (deployment, kustomization) {
	t.Helper()
	return exportertest.Decode[deployment](t, directory+"deployment.yaml"),
		exportertest.Decode[kustomization](t, directory+"kustomization.yaml")
}

// TestKustomization checks that kustomization.yaml names all files of the directory.
func TestKustomization(t *testing.T) {
	_, k := load(t)
	got := append([]string{"kustomization.yaml"}, k.Resources...)
	for _, generator := range k.ConfigMaps {
		got = append(got, generator.Files...)
	}
	slices.Sort(got)
	var want []string
	for _, path := range exportertest.Glob(t, directory+"*.y*ml") {
		want = append(want, filepath.Base(path))
	}
	if !slices.Equal(got, want) {
		t.Errorf("kustomization.yaml names %s, want %s", got, want)
	}
	for _, file := range k.Secrets[0].Files {
		exportertest.ExpectIgnored(t, directory+file)
	}
}

// TestDeployment compares the deployment with the exporter and its image.
func TestDeployment(t *testing.T) {
	d, k := load(t)
	if d.Spec.Replicas != 1 || d.Spec.Strategy.Type != "Recreate" {
		t.Errorf("got %d replicas and strategy %s, want 1 and Recreate", d.Spec.Replicas, d.Spec.Strategy.Type)
	}
	pod := d.Spec.Template.Spec
	exportertest.ExpectArgs(t, pod.Containers[0].Args, "--storage.path=/data")
	exportertest.ExpectStopTimeout(t, time.Duration(pod.StopTimeout)*time.Second)
	port := exportertest.DefaultPort(t)
	if got := pod.Containers[0].Ports[0].ContainerPort; got != port {
		t.Errorf("got container port %s, want %s", got, port)
	}
	if got := exportertest.Find(t, directory+"service.yaml", `\bport: (\d+)`); got != port {
		t.Errorf("got service port %s, want %s", got, port)
	}
	const nobody = 65534
	exportertest.Find(t, "Dockerfile", `(?s).*\n(USER 65534:65534)\n`)
	if s := pod.SecurityContext; s.User != nobody || s.Group != nobody || s.FSGroup != nobody {
		t.Errorf("got security context %+v, want the image's user and group, %d", s, nobody)
	}
	image := pod.Containers[0].Image
	if got := k.Images[0].Name; got != image {
		t.Errorf("kustomization.yaml sets the tag of %s, want %s", got, image)
	}
	repository := exportertest.Find(t, ".promu.yml", `path: github\.com(.*)`)
	if want := "ghcr.io" + repository; image != want {
		t.Errorf("got image %s, want %s", image, want)
	}
}

// TestReplicas checks that the kustomization.yaml for replicas names all files of its directory, and compares the
// arguments with the exporter.
func TestReplicas(t *testing.T) {
	k := exportertest.Decode[overlay](t, replicas+"kustomization.yaml")
	got := []string{"kustomization.yaml"}
	for _, resource := range k.Resources {
		if resource != "../kubernetes" {
			got = append(got, resource)
		}
	}
	for _, patch := range k.Patches {
		if patch.Path != "" {
			got = append(got, patch.Path)
		}
	}
	slices.Sort(got)
	var want []string
	for _, path := range exportertest.Glob(t, replicas+"*.y*ml") {
		want = append(want, filepath.Base(path))
	}
	if !slices.Equal(got, want) {
		t.Errorf("kustomization.yaml names %s, want %s", got, want)
	}
	for _, file := range k.Secrets[0].Envs {
		exportertest.ExpectIgnored(t, replicas+file)
	}
	d := exportertest.Decode[deployment](t, replicas+"deployment-patch.yaml")
	exportertest.ExpectArgs(t, d.Spec.Template.Spec.Containers[0].Args, "--storage.url=$(DATABASE_URL)")
}

// TestVolumes compares the paths that the exporter uses with the volumes that are mounted there.
func TestVolumes(t *testing.T) {
	d, k := load(t)
	pod, config, secret := d.Spec.Template.Spec, k.ConfigMaps[0], k.Secrets[0]
	volumes := make(map[string]volume)
	for _, v := range pod.Volumes {
		volumes[v.Name] = v
	}
	got := make(map[string]string) // what is mounted, by path
	for _, mount := range pod.Containers[0].Mounts {
		v := volumes[mount.Name]
		got[mount.Path] = v.Claim.Name + v.ConfigMap.Name + v.Secret.Name
	}
	want := map[string]string{
		"/data":                          "bilibili-exporter",
		"/etc/bilibili_exporter":         config.Name,
		"/etc/creators":                  k.ConfigMaps[1].Name,
		"/run/secrets/bilibili-exporter": secret.Name,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got mounts %v, want %v", got, want)
	}
	if claim := exportertest.Find(t, directory+"persistentvolumeclaim.yaml", `name: (.*)`); claim != want["/data"] {
		t.Errorf("got claim %s, want %s", claim, want["/data"])
	}
	file := "--config.file=/etc/bilibili_exporter/" + config.Files[0]
	if args := pod.Containers[0].Args; !slices.Contains(args, file) {
		t.Errorf("got arguments %s, want %s among them", args, file)
	}
	exportertest.ExpectConfig(t, directory+config.Files[0], "/run/secrets/bilibili-exporter/"+secret.Files[0],
		"/etc/creators/*.yml", directory+k.ConfigMaps[1].Files[0])
}

// TestServiceMonitor compares the ServiceMonitor with prometheus.yml.
func TestServiceMonitor(t *testing.T) {
	for name, pattern := range map[string]string{
		"scrape_interval": `interval: (\S+)`, "scrape_timeout": `scrapeTimeout: (\S+)`,
		"job_name": `targetLabel: job\n\s+replacement: (\S+)`,
	} {
		got := exportertest.Find(t, directory+"servicemonitor.yaml", pattern)
		if want := exportertest.Find(t, "examples/prometheus/prometheus.yml", name+`: (\S+)`); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}

// TestPrometheusRule compares prometheusrule.yaml with the rules of examples/prometheus, or writes it with -update.
func TestPrometheusRule(t *testing.T) {
	const path = directory + "prometheusrule.yaml"
	var b strings.Builder
	b.WriteString("# Generated from examples/prometheus/rules by `make prometheusrule`: edit those files instead.\n" +
		"apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\n" +
		"metadata:\n  name: bilibili-exporter\nspec:\n  groups:\n")
	var want []any
	for _, file := range exportertest.Glob(t, "examples/prometheus/rules/*.yml") {
		_, groups, ok := strings.Cut("\n"+exportertest.ReadFile(t, file), "\ngroups:\n")
		if !ok {
			t.Fatalf("%s has no groups", file)
		}
		for line := range strings.Lines(groups) {
			if line != "\n" {
				b.WriteString("  ")
			}
			b.WriteString(line)
		}
		want = append(want, exportertest.Decode[struct{ Groups []any }](t, file).Groups...)
	}
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if exportertest.ReadFile(t, path) != b.String() {
		t.Errorf("%s differs from the rules: run make prometheusrule", path)
	}
	got := exportertest.Decode[struct{ Spec struct{ Groups []any } }](t, path).Spec.Groups
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: the groups differ from those of the rules", path)
	}
}
