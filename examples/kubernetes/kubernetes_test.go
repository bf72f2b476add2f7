package kubernetes

import (
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
)

// The module in examples/helm/check tests what does not depend on the exporter.

const (
	directory = "examples/kubernetes/"
	replicas  = "examples/kubernetes-replicas/"
)

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
	Projected struct{ Sources []projection }
}

type projection struct {
	ConfigMap source `yaml:"configMap"`
	Secret    source
}

// source is a ConfigMap or Secret, and the paths of its keys.
type source struct {
	Name  string
	Items []struct{ Key, Path string }
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
		for _, file := range generator.Files {
			got = append(got, file[strings.Index(file, "=")+1:])
		}
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
	image, _, _ := strings.Cut(pod.Containers[0].Image, ":")
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
	d := exportertest.Decode[deployment](t, replicas+"deployment.yaml")
	exportertest.ExpectArgs(t, d.Spec.Template.Spec.Containers[0].Args, "--storage.url=$(DATABASE_URL)")
}

// TestVolumes compares the paths that the exporter uses with the files that are mounted there.
func TestVolumes(t *testing.T) {
	d, k := load(t)
	pod, config, users := d.Spec.Template.Spec, k.ConfigMaps[0], k.ConfigMaps[1]
	var got []string // mounted volumes, and the files in them
	for i, mount := range pod.Containers[0].Mounts {
		v := pod.Volumes[i]
		if v.Name != mount.Name {
			t.Fatalf("got volume %s for the mount %s", v.Name, mount.Name)
		}
		got = append(got, mount.Path+" "+v.Claim.Name)
		for _, p := range v.Projected.Sources {
			for _, s := range []source{p.ConfigMap, p.Secret} {
				if s.Name != "" && len(s.Items) == 0 {
					got = append(got, s.Name)
				}
				for _, item := range s.Items {
					got = append(got, s.Name+" "+item.Key+" "+item.Path)
				}
			}
		}
	}
	key, file, _ := strings.Cut(users.Files[0], "=")
	want := []string{
		"/etc/bilibili_exporter ", config.Name, users.Name + " " + key + " creators/" + file,
		k.Secrets[0].Name + " " + k.Secrets[0].Files[0] + " token", "/data bilibili-exporter",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	if arg := "--config.file=/etc/bilibili_exporter/" + config.Files[0]; !slices.Contains(pod.Containers[0].Args, arg) {
		t.Errorf("got arguments %s, want %s among them", pod.Containers[0].Args, arg)
	}
	exportertest.ExpectConfig(t, directory+config.Files[0], directory+"token", "creators/*.yml", directory+file)
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

// TestPrometheusRule compares prometheusrule.yaml with the rules of examples/prometheus.
func TestPrometheusRule(t *testing.T) {
	const path = directory + "prometheusrule.yaml"
	var want []any
	for _, file := range exportertest.Glob(t, "examples/prometheus/rules/*.yml") {
		want = append(want, exportertest.Decode[struct{ Groups []any }](t, file).Groups...)
	}
	got := exportertest.Decode[struct{ Spec struct{ Groups []any } }](t, path).Spec.Groups
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: the groups differ from those of the rules: run make kubernetes", path)
	}
}
