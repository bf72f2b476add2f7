package check

import (
	"maps"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	disruption "k8s.io/api/policy/v1"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"
)

// objects holds all objects of an example.
type objects struct {
	deployment apps.Deployment
	claim      core.PersistentVolumeClaim
	service    core.Service
	policy     networking.NetworkPolicy
	monitor    monitoring.ServiceMonitor
	rule       monitoring.PrometheusRule
	budget     disruption.PodDisruptionBudget
	configMaps map[string]core.ConfigMap
	secrets    map[string]core.Secret
}

// decode decodes all objects strictly: an unknown field is an error.
func decode(t *testing.T, texts [][]byte) *objects {
	t.Helper()
	o := &objects{configMaps: make(map[string]core.ConfigMap), secrets: make(map[string]core.Secret)}
	for _, text := range texts {
		var identity core.ConfigMap // any type with metadata
		if err := yaml.Unmarshal(text, &identity); err != nil {
			t.Fatal(err)
		}
		var configMap core.ConfigMap
		var secret core.Secret
		into := map[string]any{
			"Deployment": &o.deployment, "PersistentVolumeClaim": &o.claim, "Service": &o.service,
			"NetworkPolicy": &o.policy, "ServiceMonitor": &o.monitor, "PrometheusRule": &o.rule,
			"PodDisruptionBudget": &o.budget, "ConfigMap": &configMap, "Secret": &secret,
		}[identity.Kind]
		if into == nil {
			t.Fatalf("%s is not tested", identity.Kind)
		}
		if err := yaml.UnmarshalStrict(text, into); err != nil {
			t.Errorf("%s %s: %v", identity.Kind, identity.Name, err)
		}
		if into == &configMap {
			o.configMaps[identity.Name] = configMap
		}
		if into == &secret {
			o.secrets[identity.Name] = secret
		}
	}
	return o
}

// decodeManifests decodes what the chart has rendered.
func decodeManifests(t *testing.T, manifests []manifest) *objects {
	t.Helper()
	var texts [][]byte
	for _, m := range manifests {
		texts = append(texts, []byte(m.text))
	}
	return decode(t, texts)
}

// inEachExample calls check with the objects of each example for kustomize, and of the chart with many values.
func inEachExample(t *testing.T, check func(*testing.T, *objects)) {
	t.Helper()
	for name := range kustomizations {
		t.Run(name, func(t *testing.T) { check(t, decode(t, build(t, name))) })
	}
	t.Run("full", func(t *testing.T) { check(t, decodeManifests(t, render(t, values("full")))) })
}

// TestSelectors checks that every selector selects the pods or the service.
func TestSelectors(t *testing.T) {
	inEachExample(t, func(t *testing.T, o *objects) {
		selectors := map[string]map[string]string{
			"Service": o.service.Spec.Selector, "NetworkPolicy": o.policy.Spec.PodSelector.MatchLabels,
			"ServiceMonitor": o.monitor.Spec.Selector.MatchLabels,
		}
		if o.budget.Spec.Selector != nil {
			selectors["PodDisruptionBudget"] = o.budget.Spec.Selector.MatchLabels
		}
		for _, constraint := range o.deployment.Spec.Template.Spec.TopologySpreadConstraints {
			selectors["spread over "+constraint.TopologyKey] = constraint.LabelSelector.MatchLabels
		}
		want := o.deployment.Spec.Selector.MatchLabels
		for name, got := range selectors {
			if len(got) == 0 || !maps.Equal(got, want) {
				t.Errorf("%s selects %v, but the Deployment %v", name, got, want)
			}
		}
		for name, labels := range map[string]map[string]string{
			"pod": o.deployment.Spec.Template.Labels, "service": o.service.Labels,
		} {
			for key, value := range want {
				if labels[key] != value {
					t.Errorf("the labels of the %s are %v, want %v among them", name, labels, want)
				}
			}
		}
	})
}

// TestPorts checks that every object names the port of the container.
func TestPorts(t *testing.T) {
	inEachExample(t, func(t *testing.T, o *objects) {
		container := o.deployment.Spec.Template.Spec.Containers[0]
		want := container.Ports[0].Name
		for name, got := range map[string]string{
			"service": o.service.Spec.Ports[0].Name, "target": o.service.Spec.Ports[0].TargetPort.String(),
			"monitor": o.monitor.Spec.Endpoints[0].Port, "policy": o.policy.Spec.Ingress[0].Ports[0].Port.String(),
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
	inEachExample(t, func(t *testing.T, o *objects) {
		template := o.deployment.Spec.Template
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

// TestVolumes checks that every volume is mounted, that others cannot read the files, and that only the state is
// writable.
func TestVolumes(t *testing.T) {
	inEachExample(t, func(t *testing.T, o *objects) {
		pod := o.deployment.Spec.Template.Spec
		mounts := make(map[string]core.VolumeMount)
		for _, mount := range pod.Containers[0].VolumeMounts {
			mounts[mount.Name] = mount
		}
		for _, volume := range pod.Volumes {
			mount, ok := mounts[volume.Name]
			delete(mounts, volume.Name)
			if writable := volume.PersistentVolumeClaim != nil; !ok || writable == mount.ReadOnly {
				t.Errorf("volume %s: got mount %+v", volume.Name, mount)
			}
			if volume.Projected != nil && *volume.Projected.DefaultMode != 0o440 ||
				volume.Secret != nil && *volume.Secret.DefaultMode != 0o440 {
				t.Errorf("the files of the volume %s have another mode than 0440", volume.Name)
			}
		}
		for name := range mounts {
			t.Errorf("there is no volume %s", name)
		}
	})
}

// TestNetworkPolicy checks that the pods reach only DNS, port 443 and, with replicas, PostgreSQL.
func TestNetworkPolicy(t *testing.T) {
	for name, want := range map[string]string{"kubernetes": "53 53 443", "kubernetes-replicas": "53 53 443 5432"} {
		spec := decode(t, build(t, name)).policy.Spec
		if len(spec.PolicyTypes) != 2 {
			t.Errorf("got policy types %v, want Ingress and Egress", spec.PolicyTypes)
		}
		var ports []string
		for _, rule := range spec.Egress {
			for _, port := range rule.Ports {
				ports = append(ports, port.Port.String())
			}
		}
		if got := strings.Join(ports, " "); got != want {
			t.Errorf("%s: got ports %s, want %s", name, got, want)
		}
	}
}

// TestSingle checks that no two pods use the volume.
func TestSingle(t *testing.T) {
	o := decode(t, build(t, "kubernetes"))
	if spec := o.deployment.Spec; *spec.Replicas != 1 || spec.Strategy.Type != apps.RecreateDeploymentStrategyType {
		t.Errorf("got %d replicas and strategy %s", *spec.Replicas, spec.Strategy.Type)
	}
	for _, volume := range o.deployment.Spec.Template.Spec.Volumes {
		if claim := volume.PersistentVolumeClaim; claim != nil && claim.ClaimName == o.claim.Name {
			return
		}
	}
	t.Error("the claim is not used")
}

// TestReplicas checks that two replicas share a database and no volume, and that one is always left.
func TestReplicas(t *testing.T) {
	o := decode(t, build(t, "kubernetes-replicas"))
	spec := o.deployment.Spec
	if *spec.Replicas != 2 || spec.Strategy.Type != apps.RollingUpdateDeploymentStrategyType {
		t.Errorf("got %d replicas and strategy %s", *spec.Replicas, spec.Strategy.Type)
	}
	if got := o.budget.Spec.MinAvailable.String(); got != "1" {
		t.Errorf("got minAvailable %s, want 1", got)
	}
	for _, volume := range spec.Template.Spec.Volumes {
		if volume.Projected == nil {
			t.Errorf("the volume %s is not needed", volume.Name)
		}
	}
	container := spec.Template.Spec.Containers[0]
	variables := make(map[string]string) // the keys of the Secret, by variable
	for _, variable := range container.Env {
		ref := variable.ValueFrom.SecretKeyRef
		if _, ok := o.secrets[ref.Name].Data[ref.Key]; !ok {
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
