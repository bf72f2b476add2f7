package examples

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/bilibili-exporter/bilibili_exporter/config"
	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
)

var update = flag.Bool("update", false, "write examples/kubernetes/prometheusrule.yaml anew from the rules")

// TestYAML decodes every YAML file, which takes that no key is doubled.
func TestYAML(t *testing.T) {
	count := 0
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if slices.Contains([]string{".git", ".build", ".tarballs", "testdata", "data"}, entry.Name()) {
				return fs.SkipDir
			}
			return nil
		}
		if ext := filepath.Ext(path); ext != ".yml" && ext != ".yaml" {
			return nil
		}
		count++
		text := exportertest.ReadFile(t, path)
		decoder := yaml.NewDecoder(strings.NewReader(text))
		if err := decoder.Decode(new(any)); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if err := decoder.Decode(new(any)); !errors.Is(err, io.EOF) {
			t.Errorf("%s: got %v after the first document, want its end", path, err)
		}
		for i, line := range strings.Split(text, "\n") {
			if strings.Contains(line, "\t") || strings.TrimRight(line, " \r") != line {
				t.Errorf("%s:%d: a tab, or white space at the end", path, i+1)
			}
		}
		if !strings.HasSuffix(text, "\n") || strings.HasSuffix(text, "\n\n") {
			t.Errorf("%s: want one newline at the end", path)
		}
		return nil
	})
	if err != nil || count < 15 {
		t.Errorf("looked at %d files: %v", count, err)
	}
}

// promu is what the tests read of .promu.yml.
type promu struct {
	Go    struct{ Version string }
	Build struct{ Flags, Ldflags string }

	Tarball    struct{ Files []string }
	Crossbuild struct{ Platforms []string }
}

// linked returns the variables that linker flags set, and the flags beside them.
func linked(flags string) []string {
	var names []string
	for _, match := range regexp.MustCompile(`(?:-X ([\w./]+)=|( -[sw] ))`).FindAllStringSubmatch(strings.ReplaceAll(flags, " -w", "  -w "), -1) {
		names = append(names, strings.TrimSpace(match[1]+match[2]))
	}
	slices.Sort(names)
	return names
}

// TestLdflags compares what the three ways to build link in.
func TestLdflags(t *testing.T) {
	makefile := strings.ReplaceAll(exportertest.Find(t, "Makefile", `LDFLAGS +:=((?:.*\\\n)*.*)`), "$(VERSIONPKG)", exportertest.Find(t, "Makefile", `VERSIONPKG := (\S+)`))
	dockerfile := exportertest.Find(t, "Dockerfile", `-o /bilibili_exporter -ldflags "((?:.*\\\n)*[^"]*)"`)
	want := []string{"-s", "-w"}
	for _, name := range []string{"Branch", "BuildDate", "BuildUser", "Revision", "Version"} {
		want = append(want, "github.com/prometheus/common/version."+name)
	}
	for path, flags := range map[string]string{"Makefile": makefile, "Dockerfile": dockerfile, ".promu.yml": exportertest.Decode[promu](t, ".promu.yml").Build.Ldflags} {
		if got := linked(" " + flags); !slices.Equal(got, want) {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
	for _, path := range []string{"Makefile", "Dockerfile", ".promu.yml"} {
		exportertest.Find(t, path, `(-trimpath)`)
		exportertest.Find(t, path, `(?i)(CGO_ENABLED=0|cgo: false)`)
	}
}

// TestVersionsOfGo compares them.
func TestVersionsOfGo(t *testing.T) {
	want := exportertest.Find(t, "go.mod", `(?m)^go (\d+\.\d+)`)
	got := map[string]string{
		".promu.yml": exportertest.Decode[promu](t, ".promu.yml").Go.Version,
		"Dockerfile": exportertest.Find(t, "Dockerfile", `FROM .*golang:(\S+)`),
	}
	for _, path := range workflows(t) {
		got[path] = exportertest.Find(t, path, `go-version: "(.*)"`)
	}
	for path, got := range got {
		if got != want {
			t.Errorf("%s: Go is %s, want %s as in go.mod", path, got, want)
		}
	}
}

// TestReleases compares .promu.yml with the Makefile.
func TestReleases(t *testing.T) {
	promu := exportertest.Decode[promu](t, ".promu.yml")
	for _, file := range promu.Tarball.Files {
		if !exportertest.Exists(file) {
			t.Errorf(".promu.yml: there is no %s", file)
		}
	}
	if got, want := strings.Fields(exportertest.Find(t, "Makefile", `SHIPPED +:= (.*)`)), promu.Tarball.Files; !slices.Equal(got, want) {
		t.Errorf("the Makefile ships %s, .promu.yml %s", got, want)
	}
	if got, want := strings.Fields(exportertest.Find(t, "Makefile", `PLATFORMS := (.*)`)), promu.Crossbuild.Platforms; !slices.Equal(got, want) {
		t.Errorf("the Makefile builds for %s, .promu.yml for %s", got, want)
	}
}

func workflows(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob(".github/workflows/*")
	if err != nil || len(paths) == 0 {
		t.Fatalf("there are no workflows: %v", err)
	}
	return paths
}

// TestWorkflows looks for actions that are not pinned, for permissions that are
// too wide, and for what make does not know.
func TestWorkflows(t *testing.T) {
	makefile := exportertest.ReadFile(t, "Makefile")
	pinned := regexp.MustCompile(`uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$`)
	for _, path := range workflows(t) {
		for line := range strings.Lines(exportertest.ReadFile(t, path)) {
			if line = strings.TrimRight(line, "\n"); strings.Contains(line, "uses:") && !pinned.MatchString(line) {
				t.Errorf("%s: not pinned: %s", path, line)
			}
			if _, targets, ok := strings.Cut(line, "- run: make "); ok {
				for target := range strings.FieldsSeq(targets) {
					if !strings.Contains(target, "=") && !strings.Contains(makefile, "\n"+target+":") {
						t.Errorf("%s: make knows no %s", path, target)
					}
				}
			}
		}
		workflow := exportertest.Decode[struct{ Permissions map[string]string }](t, path)
		if want := map[string]string{"contents": "read"}; !maps.Equal(workflow.Permissions, want) {
			t.Errorf("%s: permissions are %v, want %v", path, workflow.Permissions, want)
		}
	}
}

// expectFlags looks for an exporter's arguments in its --help.
func expectFlags(t *testing.T, path string, args []string) {
	t.Helper()
	known := slices.Collect(maps.Keys(exportertest.Flags(t)))
	for _, arg := range args {
		if name, _, _ := strings.Cut(arg, "="); !slices.Contains(known, name) {
			t.Errorf("%s: the exporter has no flag %s", path, name)
		}
	}
	if storage := "--storage.path=/data"; !slices.Contains(args, storage) && !strings.HasSuffix(path, ".service") {
		t.Errorf("%s: want %s, which the image keeps", path, storage)
	}
}

// expectLonger compares a time to end with what a shutdown may take.
func expectLonger(t *testing.T, path string, got time.Duration) {
	t.Helper()
	const want = 27 * time.Second // what a shutdown takes at most
	if got <= want {
		t.Errorf("%s: the exporter is killed after %v, want more than %v", path, got, want)
	}
}

// port returns the default port.
func port(t *testing.T) string {
	t.Helper()
	return strings.TrimPrefix(exportertest.Flags(t)["--web.listen-address"], ":")
}

// expectLoads loads a configuration, its token from a file that the test makes,
// once that names the wanted one.
func expectLoads(t *testing.T, path, token string) {
	t.Helper()
	before := exportertest.ReadFile(t, path)
	text := strings.Replace(before, "token_file: "+token+"\n", "token_file: "+exportertest.WriteFile(t, "token", "x")+"\n", 1)
	if text == before {
		t.Errorf("%s: want the token file %s", path, token)
	}
	if _, err := config.Load(exportertest.WriteFile(t, "bilibili_exporter.yml", text)); err != nil {
		t.Errorf("%s: %v", path, err)
	}
}

// expectGiven looks for a file that an example refers to. A token is made by
// the user, and must not get into git or an image.
func expectGiven(t *testing.T, path string) {
	t.Helper()
	if filepath.Base(path) == "token" {
		for _, ignore := range []string{".gitignore", ".dockerignore"} {
			if ok, err := filepath.Match(exportertest.Find(t, ignore, `(?m)^/?(examples/.*token)$`), path); err != nil || !ok {
				t.Errorf("%s does not cover %s: %v", ignore, path, err)
			}
		}
		return
	}
	if !exportertest.Exists(path) {
		t.Errorf("there is no %s", path)
	}
}

// service is a service of docker-compose.yml.
type service struct {
	Build struct {
		Context, Dockerfile, Target string
	}
	User        string
	Profiles    []string
	Command     []string
	Volumes     []string
	Ports       []string
	Secrets     []string
	Environment map[string]string
	Grace       time.Duration `yaml:"stop_grace_period"`
	ReadOnly    bool          `yaml:"read_only"`
	Networks    map[string]struct{ Aliases []string }
}

type compose struct {
	Services map[string]service
	Volumes  map[string]any
	Secrets  map[string]struct{ File string }
}

// TestCompose compares docker-compose.yml with what it refers to.
func TestCompose(t *testing.T) {
	const path = "examples/docker-compose.yml"
	c := exportertest.Decode[compose](t, path)
	exporter, demo := c.Services["exporter"], c.Services["demo"]
	expectFlags(t, path, exporter.Command)
	expectLoads(t, "examples/compose/bilibili_exporter.yml", "/run/secrets/token")
	expectGiven(t, filepath.Join("examples", c.Secrets["token"].File))
	image := "\n" + exportertest.ReadFile(t, "Dockerfile")
	port := port(t)
	published := []string{"127.0.0.1:" + port + ":" + port}
	for name, s := range map[string]service{"exporter": exporter, "demo": demo} {
		expectLonger(t, path, s.Grace)
		if !slices.Equal(s.Ports, published) || !s.ReadOnly || !strings.Contains(image, "\nUSER "+s.User+"\n") ||
			!slices.Contains(s.Networks["default"].Aliases, "exporter") || !exportertest.Exists(filepath.Join("examples", s.Build.Context, s.Build.Dockerfile)) {
			t.Errorf("%s: got %+v", name, s)
		}
	}
	if want := fmt.Sprintf("%q", demo.Command); !strings.Contains(image, " AS "+demo.Build.Target+"\n") || !strings.Contains(image, "CMD "+want) {
		t.Errorf("the Dockerfile has no stage %q that runs %s", demo.Build.Target, want)
	}
	for _, argument := range demo.Command {
		name, address, _ := strings.Cut(argument, "=")
		if !strings.Contains(exportertest.ReadFile(t, "examples/demo/main.go"), fmt.Sprintf("flag.String(%q", strings.TrimPrefix(name, "-"))) || address != "0.0.0.0:"+port {
			t.Errorf("the demo does not know %s, or listens elsewhere", argument)
		}
	}
	for name, s := range c.Services {
		for _, volume := range s.Volumes {
			source, _, _ := strings.Cut(volume, ":")
			_, named := c.Volumes[source]
			folder := filepath.Join("examples", source)
			if !named && (!strings.HasPrefix(source, "./") || !exportertest.Exists(folder)) {
				t.Errorf("%s: there is no %s", name, source)
			}
		}
	}
	compareTargets(t, c)
	compareMounts(t, c)
}

// compareTargets compares the addresses that Prometheus and Grafana are told
// with the services that answer there.
func compareTargets(t *testing.T, c compose) {
	t.Helper()
	addresses := map[string]bool{}
	for name, s := range c.Services {
		for _, published := range s.Ports {
			addresses[name+published[strings.LastIndex(published, ":"):]] = true
		}
	}
	paths, err := filepath.Glob("examples/compose/targets/*.yml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("there are no targets: %v", err)
	}
	for _, path := range paths {
		for _, group := range exportertest.Decode[[]struct{ Targets []string }](t, path) {
			for _, target := range group.Targets {
				if !addresses[target] {
					t.Errorf("%s: no service is at %s", path, target)
				}
			}
		}
	}
	named := regexp.MustCompile(`files: \[(targets/[\w.]+)\]`).FindAllStringSubmatch(exportertest.ReadFile(t, "examples/prometheus/prometheus.yml"), -1)
	if len(named) != len(paths) {
		t.Errorf("prometheus.yml reads %d files of targets, want %d", len(named), len(paths))
	}
	for _, match := range named {
		expectGiven(t, filepath.Join("examples/compose", match[1]))
		expectGiven(t, filepath.Join("examples/prometheus", match[1]))
	}
	sources, err := filepath.Glob("examples/grafana/provisioning/datasources/*")
	if err != nil || len(sources) == 0 {
		t.Fatalf("there are no data sources: %v", err)
	}
	for _, path := range sources {
		for _, source := range exportertest.Decode[struct{ Datasources []struct{ URL string } }](t, path).Datasources {
			if !addresses[strings.TrimPrefix(source.URL, "http://")] {
				t.Errorf("%s: no service is at %s", path, source.URL)
			}
		}
	}
}

// compareMounts looks for every file that a service is told to use below what
// is mounted into it.
func compareMounts(t *testing.T, c compose) {
	t.Helper()
	for name, s := range c.Services {
		told := slices.Collect(maps.Values(s.Environment))
		for _, argument := range s.Command {
			_, value, _ := strings.Cut(argument, "=")
			told = append(told, value)
		}
		for _, path := range told {
			if !strings.HasPrefix(path, "/") {
				continue
			}
			ok := false
			for _, volume := range s.Volumes {
				parts := strings.Split(volume, ":")
				rest, below := strings.CutPrefix(path, parts[1])
				if !below || rest != "" && rest[0] != '/' {
					continue
				}
				source := filepath.Join("examples", parts[0], rest)
				_, named := c.Volumes[parts[0]]
				ok = ok || named || exportertest.Exists(source)
			}
			if !ok {
				t.Errorf("%s: nothing is at %s", name, path)
			}
		}
	}
}

// selector is what Kubernetes' objects choose pods or services by.
type selector struct {
	MatchLabels map[string]string `yaml:"matchLabels"`
}

// object is what the tests read of Kubernetes' objects.
type object struct {
	Kind     string
	Metadata struct {
		Name   string
		Labels map[string]string
	}
	Spec struct {
		Selector  yaml.Node
		Replicas  int
		Strategy  struct{ Type string }
		Ports     []struct{ Name, Port, TargetPort string }
		Endpoints []struct {
			Port          string
			Interval      string
			ScrapeTimeout string `yaml:"scrapeTimeout"`
			Relabelings   []struct {
				TargetLabel string `yaml:"targetLabel"`
				Replacement string
			}
		}
		PodSelector selector `yaml:"podSelector"`
		Ingress     []struct{ Ports []struct{ Port string } }
		Template    struct {
			Metadata struct{ Labels map[string]string }
			Spec     pod
		}
	}
}

// pod is what the tests read of a pod.
type pod struct {
	Grace    int `yaml:"terminationGracePeriodSeconds"`
	Security struct {
		User    int `yaml:"runAsUser"`
		Group   int `yaml:"runAsGroup"`
		FSGroup int `yaml:"fsGroup"`
	} `yaml:"securityContext"`
	Containers []struct {
		Image     string
		Args      []string
		Ports     []struct{ Name, ContainerPort string }
		Startup   probe `yaml:"startupProbe"`
		Liveness  probe `yaml:"livenessProbe"`
		Readiness probe `yaml:"readinessProbe"`
		Security  struct {
			ReadOnly bool `yaml:"readOnlyRootFilesystem"`
		} `yaml:"securityContext"`
		Mounts []struct {
			Name string
			Path string `yaml:"mountPath"`
		} `yaml:"volumeMounts"`
	}
	Volumes []struct {
		Name  string
		Claim struct {
			Name string `yaml:"claimName"`
		} `yaml:"persistentVolumeClaim"`
		ConfigMap struct{ Name string } `yaml:"configMap"`
		Secret    struct {
			Name string `yaml:"secretName"`
		}
	}
}

type probe struct {
	TCPSocket struct{ Port string } `yaml:"tcpSocket"`
}

type generator struct {
	Name  string
	Files []string
}

// TestKubernetes compares the Kubernetes files with each other and with what
// they refer to.
func TestKubernetes(t *testing.T) {
	const folder = "examples/kubernetes/"
	kustomization := exportertest.Decode[struct {
		Resources  []string
		ConfigMaps []generator `yaml:"configMapGenerator"`
		Secrets    []generator `yaml:"secretGenerator"`
		Images     []struct{ Name string }
	}](t, folder+"kustomization.yaml")
	config, secret := kustomization.ConfigMaps[0], kustomization.Secrets[0]
	files := append([]string{"kustomization.yaml"}, kustomization.Resources...)
	files = append(files, config.Files...)
	for _, file := range secret.Files {
		expectGiven(t, folder+file)
	}
	entries, err := filepath.Glob(folder + "[^t]*") // token is the user's
	if err != nil {
		t.Fatal(err)
	}
	for i := range entries {
		entries[i] = filepath.Base(entries[i])
	}
	if slices.Sort(files); !slices.Equal(files, entries) {
		t.Errorf("kustomization.yaml has %s, the folder %s", files, entries)
	}

	objects := make(map[string]object)
	for _, file := range kustomization.Resources {
		if o := exportertest.Decode[object](t, folder+file); o.Metadata.Name != "bilibili-exporter" {
			t.Errorf("%s is named %s", file, o.Metadata.Name)
		} else {
			objects[o.Kind] = o
		}
	}
	deployment := objects["Deployment"].Spec
	pod := deployment.Template.Spec
	container := pod.Containers[0]
	labels := deployment.Template.Metadata.Labels
	if deployment.Replicas != 1 || deployment.Strategy.Type != "Recreate" {
		t.Errorf("got %d replicas, strategy %s; want 1, Recreate", deployment.Replicas, deployment.Strategy.Type)
	}
	expectFlags(t, "deployment.yaml", container.Args)
	expectLonger(t, "deployment.yaml", time.Duration(pod.Grace)*time.Second)
	if got, want := fmt.Sprintf("%d:%d", pod.Security.User, pod.Security.Group), exportertest.Find(t, "Dockerfile", `(?s).*\nUSER (\S+)`); got != want || pod.Security.FSGroup != pod.Security.Group {
		t.Errorf("the pod runs as %s, group of files %d; the image as %s", got, pod.Security.FSGroup, want)
	}
	if container.Image != kustomization.Images[0].Name || !strings.HasSuffix(exportertest.Find(t, ".promu.yml", `path: (.*)`), strings.TrimPrefix(container.Image, "ghcr.io")) {
		t.Errorf("the image is %s, its version for %s", container.Image, kustomization.Images[0].Name)
	}
	comparePaths(t, pod, config, secret)
	compareSelectors(t, objects, labels)
	comparePorts(t, objects)
	compareScrapes(t, objects["ServiceMonitor"])
}

// comparePaths looks for what the pod mounts, and for it among its arguments.
func comparePaths(t *testing.T, pod pod, config, secret generator) {
	t.Helper()
	want := map[string]string{} // name of a volume by path
	for _, v := range pod.Volumes {
		switch {
		case v.Claim.Name == "bilibili-exporter":
			want["/data"] = v.Name
		case v.ConfigMap.Name == config.Name && slices.Contains(pod.Containers[0].Args, "--config.file=/etc/bilibili_exporter/"+config.Files[0]):
			want["/etc/bilibili_exporter"] = v.Name
		case v.Secret.Name == secret.Name:
			want["/run/secrets/bilibili-exporter"] = v.Name
		default:
			t.Errorf("volume %s has no source", v.Name)
		}
	}
	got := map[string]string{}
	for _, mount := range pod.Containers[0].Mounts {
		got[mount.Path] = mount.Name
	}
	if !maps.Equal(got, want) || len(want) != 3 || !pod.Containers[0].Security.ReadOnly {
		t.Errorf("mounted are %v, want %v", got, want)
	}
	expectLoads(t, "examples/kubernetes/"+config.Files[0], "/run/secrets/bilibili-exporter/"+secret.Files[0])
}

// compareSelectors compares what objects choose with labels.
func compareSelectors(t *testing.T, objects map[string]object, labels map[string]string) {
	t.Helper()
	service, deployment, monitor := map[string]string{}, selector{}, selector{}
	for kind, into := range map[string]any{"Service": &service, "Deployment": &deployment, "ServiceMonitor": &monitor} {
		spec := objects[kind].Spec
		if err := spec.Selector.Decode(into); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
	for kind, got := range map[string]map[string]string{
		"Service": service, "Deployment": deployment.MatchLabels, "NetworkPolicy": objects["NetworkPolicy"].Spec.PodSelector.MatchLabels,
	} {
		if !maps.Equal(got, labels) || len(got) == 0 {
			t.Errorf("%s selects %v, the pod's labels are %v", kind, got, labels)
		}
	}
	if got, want := monitor.MatchLabels, objects["Service"].Metadata.Labels; !maps.Equal(got, want) || len(got) == 0 {
		t.Errorf("ServiceMonitor selects %v, the service's labels are %v", got, want)
	}
}

// comparePorts follows the name of the port from object to object.
func comparePorts(t *testing.T, objects map[string]object) {
	t.Helper()
	port := port(t)
	container := objects["Deployment"].Spec.Template.Spec.Containers[0]
	if p := container.Ports[0]; p.Name != "http" {
		t.Errorf("the container's port is named %s, want http", p.Name)
	}
	if got := exportertest.Find(t, "examples/kubernetes/deployment.yaml", `containerPort: (\d+)`); got != port {
		t.Errorf("the container's port is %s, want %s", got, port)
	}
	service := objects["Service"].Spec.Ports[0]
	target := exportertest.Find(t, "examples/kubernetes/service.yaml", `targetPort: (\w+)`)
	for name, got := range map[string]string{
		"service": service.Name, "target": target, "monitor": objects["ServiceMonitor"].Spec.Endpoints[0].Port,
		"policy":  objects["NetworkPolicy"].Spec.Ingress[0].Ports[0].Port,
		"startup": container.Startup.TCPSocket.Port, "liveness": container.Liveness.TCPSocket.Port, "readiness": container.Readiness.TCPSocket.Port,
	} {
		if got != "http" {
			t.Errorf("%s: the port is %s, want http", name, got)
		}
	}
	if service.Port != port {
		t.Errorf("the service's port is %s, want %s", service.Port, port)
	}
}

// compareScrapes compares the ServiceMonitor with prometheus.yml.
func compareScrapes(t *testing.T, monitor object) {
	t.Helper()
	const path = "examples/prometheus/prometheus.yml"
	endpoint := monitor.Spec.Endpoints[0]
	for name, got := range map[string]string{"scrape_interval": endpoint.Interval, "scrape_timeout": endpoint.ScrapeTimeout, "job_name": endpoint.Relabelings[0].Replacement} {
		if want := exportertest.Find(t, path, name+`: (\S+)`); got != want {
			t.Errorf("ServiceMonitor: %s is %s, want %s", name, got, want)
		}
	}
	if got := endpoint.Relabelings[0].TargetLabel; got != "job" {
		t.Errorf("ServiceMonitor: label %s is set, want job", got)
	}
}

// TestPrometheusRule compares the rules for the operator with those for
// Prometheus.
func TestPrometheusRule(t *testing.T) {
	const path = "examples/kubernetes/prometheusrule.yaml"
	rules, err := filepath.Glob("examples/prometheus/rules/*.yml")
	if err != nil {
		t.Fatal(err)
	}
	if len(rules) == 0 {
		t.Fatal("there are no rules")
	}
	var b strings.Builder
	b.WriteString("# Made from examples/prometheus/rules by `make prometheusrule`: change those.\napiVersion: monitoring.coreos.com/v1\n" +
		"kind: PrometheusRule\nmetadata:\n  name: bilibili-exporter\nspec:\n  groups:\n")
	var want []any
	for _, file := range rules {
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
		t.Errorf("%s is not what the rules make it: run make prometheusrule", path)
	}
	if got := exportertest.Decode[struct{ Spec struct{ Groups []any } }](t, path).Spec.Groups; !reflect.DeepEqual(got, want) {
		t.Errorf("%s: the groups differ from the rules'", path)
	}
}

// TestSystemd compares the unit with what it refers to.
func TestSystemd(t *testing.T) {
	const path = "examples/systemd/bilibili_exporter.service"
	command := strings.Fields(strings.ReplaceAll(exportertest.Find(t, path, `ExecStart=((?:.*\\\n)*.*)`), "\\\n", ""))
	expectFlags(t, path, command[1:])
	for _, want := range []string{"--storage.path=/var/lib/" + exportertest.Find(t, path, `StateDirectory=(.*)`), "--config.file=" + exportertest.Find(t, path, `# .* (/etc/\S+\.yml)`)} {
		if !slices.Contains(command, want) {
			t.Errorf("the unit lacks %s", want)
		}
	}
	seconds, err := time.ParseDuration(exportertest.Find(t, path, `TimeoutStopSec=(\d+)`) + "s")
	if err != nil {
		t.Fatal(err)
	}
	expectLonger(t, path, seconds)
	credential := exportertest.Find(t, path, `LoadCredential=(\w+):`)
	if got, want := exportertest.Find(t, path, `token_file: ([^}]*)}`), "/run/credentials/"+filepath.Base(path)+"/"+credential; got != want {
		t.Errorf("the token is read from %s, want %s", got, want)
	}
}

// TestHardening looks for what keeps the exporter from more than it needs: the
// lines are as good as the intent behind them.
func TestHardening(t *testing.T) {
	for path, lines := range map[string][]string{
		"examples/kubernetes/deployment.yaml": {
			"runAsNonRoot: true", "runAsUser: 65534", "type: RuntimeDefault", "allowPrivilegeEscalation: false", "readOnlyRootFilesystem: true", "drop: [ALL]",
			"automountServiceAccountToken: false",
		},
		"examples/kubernetes/networkpolicy.yaml": {"policyTypes: [Ingress, Egress]", "port: 443"},
		"examples/docker-compose.yml":            {"read_only: true", "cap_drop: [ALL]", `user: "65534:65534"`},
		"examples/systemd/bilibili_exporter.service": {
			"DynamicUser=yes", "ProtectSystem=strict", "NoNewPrivileges=yes", "CapabilityBoundingSet=", "PrivateTmp=yes", "ProtectHome=yes",
			"MemoryDenyWriteExecute=yes", "SystemCallFilter=@system-service", "LoadCredential=token:/etc/bilibili_exporter/token",
		},
	} {
		text := exportertest.ReadFile(t, path)
		for _, line := range lines {
			if !regexp.MustCompile(`(?m)^\s*(- )?` + regexp.QuoteMeta(line) + `\s*(#.*)?$`).MatchString(text) {
				t.Errorf("%s: want the line %s", path, line)
			}
		}
	}
}
