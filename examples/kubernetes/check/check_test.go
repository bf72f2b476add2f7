// Package check validates the Kubernetes examples with Kubernetes' and the Prometheus operator's own types. It is a
// module of its own, so that the exporter does not depend on them.
package check

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	disruption "k8s.io/api/policy/v1"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// manifests holds all objects of an example.
type manifests struct {
	deployment apps.Deployment
	claim      core.PersistentVolumeClaim
	service    core.Service
	policy     networking.NetworkPolicy
	monitor    monitoring.ServiceMonitor
	rule       monitoring.PrometheusRule
	config     core.ConfigMap
	creators   core.ConfigMap
	token      core.Secret

	// Only with replicas.
	database core.Secret
	budget   disruption.PodDisruptionBudget
}

// inEachExample calls check with the objects of the example with one replica, and of that with two.
func inEachExample(t *testing.T, check func(*testing.T, *manifests)) {
	t.Helper()
	for _, name := range []string{"kubernetes", "kubernetes-replicas"} {
		t.Run(name, func(t *testing.T) { check(t, load(t, name)) })
	}
}

// load builds an example as "kubectl apply -k" does, and decodes all objects strictly: an unknown field is an error.
func load(t *testing.T, name string) *manifests {
	t.Helper()
	var m manifests
	objects := map[string]any{
		"Deployment bilibili-exporter": &m.deployment, "Service bilibili-exporter": &m.service,
		"NetworkPolicy bilibili-exporter": &m.policy, "ServiceMonitor bilibili-exporter": &m.monitor,
		"PrometheusRule bilibili-exporter": &m.rule, "ConfigMap bilibili-exporter": &m.config,
		"ConfigMap bilibili-exporter-creators": &m.creators, "Secret bilibili-exporter-token": &m.token,
	}
	if name == "kubernetes" {
		objects["PersistentVolumeClaim bilibili-exporter"] = &m.claim
	} else {
		objects["Secret bilibili-exporter-database"] = &m.database
		objects["PodDisruptionBudget bilibili-exporter"] = &m.budget
	}
	for _, text := range build(t, name) {
		var identity core.ConfigMap // any type with metadata
		if err := yaml.Unmarshal(text, &identity); err != nil {
			t.Fatal(err)
		}
		key := identity.Kind + " " + hash.ReplaceAllString(identity.Name, "")
		object, ok := objects[key]
		if !ok {
			t.Fatalf("%s is not tested", key)
		}
		if err := yaml.UnmarshalStrict(text, object); err != nil {
			t.Errorf("%s: %v", key, err)
		}
		if identity.Namespace != "monitoring" {
			t.Errorf("%s is in the namespace %q", key, identity.Namespace)
		}
		delete(objects, key)
	}
	for key := range objects {
		t.Errorf("%s is missing", key)
	}
	return &m
}

// hash matches what kustomize appends to the names of ConfigMaps and Secrets.
var hash = regexp.MustCompile(`-[0-9a-z]{10}$`)

// build returns the objects of an example as YAML. It works on a copy that has the files that the user creates.
func build(t *testing.T, name string) [][]byte {
	t.Helper()
	dir := t.TempDir()
	for _, example := range []string{"kubernetes", "kubernetes-replicas"} {
		files, err := filepath.Glob("../../" + example + "/*.y*ml")
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range files {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			// kustomize accepts repeated keys.
			if err := yaml.UnmarshalStrict(text, new(any)); err != nil {
				t.Errorf("%s: %v", path, err)
			}
			write(t, filepath.Join(dir, example, filepath.Base(path)), string(text))
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

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
}

// TestSelectors checks that every selector selects the pods or the service.
func TestSelectors(t *testing.T) {
	inEachExample(t, func(t *testing.T, m *manifests) {
		pod := m.deployment.Spec.Template.Labels
		selectors := map[string]map[string]string{
			"Deployment": m.deployment.Spec.Selector.MatchLabels, "Service": m.service.Spec.Selector,
			"NetworkPolicy": m.policy.Spec.PodSelector.MatchLabels,
		}
		if m.budget.Spec.Selector != nil {
			selectors["PodDisruptionBudget"] = m.budget.Spec.Selector.MatchLabels
		}
		for _, constraint := range m.deployment.Spec.Template.Spec.TopologySpreadConstraints {
			selectors["spread over "+constraint.TopologyKey] = constraint.LabelSelector.MatchLabels
		}
		for name, got := range selectors {
			if len(got) == 0 || !maps.Equal(got, pod) {
				t.Errorf("%s selects %v, but the labels of the pod are %v", name, got, pod)
			}
		}
		if got, want := m.monitor.Spec.Selector.MatchLabels, m.service.Labels; len(got) == 0 || !maps.Equal(got, want) {
			t.Errorf("ServiceMonitor selects %v, but the labels of the service are %v", got, want)
		}
	})
}

// TestPorts checks that every object names the port of the container.
func TestPorts(t *testing.T) {
	inEachExample(t, func(t *testing.T, m *manifests) {
		container := m.deployment.Spec.Template.Spec.Containers[0]
		want := container.Ports[0].Name
		for name, got := range map[string]string{
			"service": m.service.Spec.Ports[0].Name, "target": m.service.Spec.Ports[0].TargetPort.String(),
			"monitor": m.monitor.Spec.Endpoints[0].Port, "policy": m.policy.Spec.Ingress[0].Ports[0].Port.String(),
			"startup":   container.StartupProbe.TCPSocket.Port.String(),
			"liveness":  container.LivenessProbe.TCPSocket.Port.String(),
			"readiness": container.ReadinessProbe.TCPSocket.Port.String(),
		} {
			if want == "" || got != want {
				t.Errorf("%s: got port %q, want %q", name, got, want)
			}
		}
	})
}

// TestPodSecurity checks the pod against the strictest of the Pod Security Standards, and what these do not cover.
func TestPodSecurity(t *testing.T) {
	inEachExample(t, func(t *testing.T, m *manifests) {
		template := m.deployment.Spec.Template
		evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
		if err != nil {
			t.Fatal(err)
		}
		level := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
		for _, result := range evaluator.EvaluatePod(level, &template.ObjectMeta, &template.Spec) {
			if !result.Allowed {
				t.Errorf("%s: %s", result.ForbiddenReason, result.ForbiddenDetail)
			}
		}
		if token := template.Spec.AutomountServiceAccountToken; token == nil || *token {
			t.Error("the token of the service account is mounted")
		}
		if readOnly := template.Spec.Containers[0].SecurityContext.ReadOnlyRootFilesystem; readOnly == nil || !*readOnly {
			t.Error("the root file system is writable")
		}
	})
}

// TestNetworkPolicy checks that the pods reach only DNS, port 443 and, with replicas, PostgreSQL.
func TestNetworkPolicy(t *testing.T) {
	inEachExample(t, func(t *testing.T, m *manifests) {
		spec := m.policy.Spec
		if len(spec.PolicyTypes) != 2 {
			t.Errorf("got policy types %v, want Ingress and Egress", spec.PolicyTypes)
		}
		var ports []string
		for _, rule := range spec.Egress {
			for _, port := range rule.Ports {
				ports = append(ports, port.Port.String())
			}
		}
		want := "53 53 443"
		if m.budget.Spec.Selector != nil {
			want += " 5432"
		}
		if got := strings.Join(ports, " "); got != want {
			t.Errorf("got ports %s, want %s", got, want)
		}
	})
}

// TestReplicas checks that two replicas share a database and no volume, and that one is always left.
func TestReplicas(t *testing.T) {
	m := load(t, "kubernetes-replicas")
	spec := m.deployment.Spec
	if *spec.Replicas != 2 || spec.Strategy.Type != apps.RollingUpdateDeploymentStrategyType {
		t.Errorf("got %d replicas and strategy %s", *spec.Replicas, spec.Strategy.Type)
	}
	if got := m.budget.Spec.MinAvailable.String(); got != "1" {
		t.Errorf("got minAvailable %s, want 1", got)
	}
	container := spec.Template.Spec.Containers[0]
	for _, mount := range container.VolumeMounts {
		if !mount.ReadOnly {
			t.Errorf("%s is writable", mount.MountPath)
		}
	}
	for _, volume := range spec.Template.Spec.Volumes {
		if volume.ConfigMap == nil && volume.Secret == nil {
			t.Errorf("the volume %s is not needed", volume.Name)
		}
	}
	variables := make(map[string]string) // the keys of the Secret, by variable
	for _, variable := range container.Env {
		ref := variable.ValueFrom.SecretKeyRef
		if _, ok := m.database.Data[ref.Key]; !ok || ref.Name != m.database.Name {
			t.Errorf("%s: there is no %s in the Secret %s", variable.Name, ref.Key, ref.Name)
		}
		variables["$("+variable.Name+")"] = ref.Key
	}
	if variables["$(PGPASSWORD)"] != "password" {
		t.Errorf("got variables %v", variables)
	}
	for _, arg := range container.Args {
		name, value, _ := strings.Cut(arg, "=")
		if name == "--storage.path" || name == "--storage.url" && variables[value] != "url" {
			t.Errorf("got the argument %s", arg)
		}
	}
}
