// Package check validates the Kubernetes example with Kubernetes' and the Prometheus operator's own types. It is a
// module of its own, so that the exporter does not depend on them.
package check

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"
)

// manifests holds all objects of the example.
type manifests struct {
	deployment apps.Deployment
	claim      core.PersistentVolumeClaim
	service    core.Service
	policy     networking.NetworkPolicy
	monitor    monitoring.ServiceMonitor
	rule       monitoring.PrometheusRule
}

// load decodes all objects strictly: an unknown or repeated field is an error.
func load(t *testing.T) *manifests {
	t.Helper()
	var m manifests
	objects := map[string]any{
		"deployment.yaml": &m.deployment, "persistentvolumeclaim.yaml": &m.claim, "service.yaml": &m.service,
		"networkpolicy.yaml": &m.policy, "servicemonitor.yaml": &m.monitor, "prometheusrule.yaml": &m.rule,
	}
	files, err := filepath.Glob("../*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		name := filepath.Base(path)
		if name == "kustomization.yaml" {
			continue // kustomize build decodes it
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		object, ok := objects[name]
		if !ok {
			t.Fatalf("%s is not tested", name)
		}
		if err := yaml.UnmarshalStrict(text, object); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		delete(objects, name)
	}
	for name := range objects {
		t.Errorf("%s is missing", name)
	}
	return &m
}

// TestSelectors checks that every selector selects the pod or the service.
func TestSelectors(t *testing.T) {
	m := load(t)
	pod := m.deployment.Spec.Template.Labels
	for name, got := range map[string]map[string]string{
		"Deployment": m.deployment.Spec.Selector.MatchLabels, "Service": m.service.Spec.Selector,
		"NetworkPolicy": m.policy.Spec.PodSelector.MatchLabels,
	} {
		if len(got) == 0 || !maps.Equal(got, pod) {
			t.Errorf("%s selects %v, but the labels of the pod are %v", name, got, pod)
		}
	}
	if got, want := m.monitor.Spec.Selector.MatchLabels, m.service.Labels; len(got) == 0 || !maps.Equal(got, want) {
		t.Errorf("ServiceMonitor selects %v, but the labels of the service are %v", got, want)
	}
}

// TestPorts checks that every object names the port of the container.
func TestPorts(t *testing.T) {
	m := load(t)
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
}

// TestPodSecurity checks the pod against the strictest of the Pod Security Standards, and what these do not cover.
func TestPodSecurity(t *testing.T) {
	m := load(t)
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
}

// TestNetworkPolicy checks that the pod reaches only DNS and port 443.
func TestNetworkPolicy(t *testing.T) {
	spec := load(t).policy.Spec
	if len(spec.PolicyTypes) != 2 {
		t.Errorf("got policy types %v, want Ingress and Egress", spec.PolicyTypes)
	}
	var ports []string
	for _, rule := range spec.Egress {
		for _, port := range rule.Ports {
			ports = append(ports, port.Port.String())
		}
	}
	if got := strings.Join(ports, " "); got != "53 53 443" {
		t.Errorf("got ports %s, want 53 53 443", got)
	}
}
