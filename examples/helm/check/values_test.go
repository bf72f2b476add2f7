package check

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	core "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// TestGolden compares what the chart renders with a value for every key.
func TestGolden(t *testing.T) {
	var b strings.Builder
	for _, m := range render(t, values("full")) {
		b.WriteString("---\n" + m.text)
	}
	expectFile(t, "testdata/full.yaml", b.String())
}

func TestLint(t *testing.T) {
	for version := range versions {
		for _, name := range []string{"kubernetes", "kubernetes-replicas", "minimal", "full"} {
			args := []string{"lint", "--strict", chart, values(name), "--set-json=prometheusRule.enabled=true",
				"--set-json=dashboards.enabled=true"}
			if _, err := helm(t, version, args...); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// TestRefused has values that the chart must refuse with a message that names them.
func TestRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "values.yaml")
	large := fmt.Sprintf("config: {users: [1]}\nuserFiles: {all: %q}", strings.Repeat("- 472747194 \n", 100_000))
	tests := []struct{ name, values, want string }{
		{"no configuration", "{}", "config is missing"},
		{"empty configuration", "config: ''", "config is missing"},
		{"replicas", "config: {users: [1]}\nreplicas: 2", "replicas: more than one need a PostgreSQL database"},
		{"unknown value", "config: {users: [1]}\nreplica: 2", "replica"},
		{"unknown value below", "config: {users: [1]}\ntoken: {value: x}", "token"},
		{"users in a list", "config: [1]", "config"},
		{"user file of a wrong type", "config: {users: [1]}\nuserFiles: {a: {users: [1]}}", "userFiles"},
		{"name of a user file", "config: {users: [1]}\nuserFiles: {'../a': [1]}", "'../a' does not match"},
		{"vast WMID", "config: {users: [1, 9007199254740993]}", "config: Helm rounds WMIDs above 9007199254740991"},
		{"vast WMID, mapping", "config: {users: [{wmid: 9007199254740993}]}", "config: Helm rounds WMIDs"},
		{"vast WMID, user file", "config: {}\nuserFiles: {a: [9007199254740992]}", "userFiles.a: Helm rounds WMIDs"},
		{"WMID beyond 64 bits", "config: {users: [18446744073709551616]}", "config: Helm rounds WMIDs"},
		{"large user file", large, "userFiles.all: a ConfigMap holds at most 1 MiB"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			write(t, file, test.values)
			for version := range versions {
				_, err := helm(t, version, "template", "bilibili-exporter", chart, "--values="+file)
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("%s: got error %v, want one with %q", versions[version], err, test.want)
				}
			}
		})
	}
}

// TestSet has other ways to set WMIDs. What Helm would round must be refused.
func TestSet(t *testing.T) {
	tests := []struct {
		arg     string
		want    string
		refused bool
	}{
		{"--set=config.users={472747194,3546564939877816}", "- 472747194\n- 3546564939877816\n", false},
		{"--set=config.users={9007199254740993}", "- 9007199254740993\n", false},
		{"--set=config.users[0].wmid=9223372036854775807", "- wmid: 9223372036854775807\n", false},
		{"--set-string=config.users={9007199254740993}", "- \"9007199254740993\"\n", false},
		{"--set-json=config.users=[3546564939877816]", "- 3546564939877816\n", false},
		{"--set-json=config.users=[9007199254740993]", "", true},
		{`--set-json=config.users=["9007199254740993"]`, "- \"9007199254740993\"\n", false},
	}
	for _, test := range tests {
		for version := range versions {
			text, err := helm(t, version, "template", "bilibili-exporter", chart, test.arg)
			if test.refused {
				if err == nil || !strings.Contains(err.Error(), "Helm rounds WMIDs") {
					t.Errorf("%s: got error %v", test.arg, err)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s: %v", test.arg, err)
				continue
			}
			indented := strings.ReplaceAll("users:\n"+test.want, "\n", "\n    ")
			if !strings.Contains(text, strings.TrimSpace(indented)) {
				t.Errorf("%s: there is no %q in\n%s", test.arg, test.want, text)
			}
		}
	}
}

// TestText checks that a text is rendered as it is, except for blank lines at its end.
func TestText(t *testing.T) {
	dir := t.TempDir()
	for _, text := range []string{
		"users: [1]", "users: [1]\n", "users: [1]\n\n\n", "\n\n  users:\n  - 1\n", "# tab\there\r\nusers: [1]\r\n",
		"x-y: '{{ .Values }} ${HOME} $(HOME)'\nusers: [1]\n", "users: [{wmid: 1, name: 碧诗 😀}]\n",
		"users: [1] # " + strings.Repeat("long ", 100) + "\n", "---\nusers: [1]\n...\n", "users:\n- 1   \n \n",
	} {
		write(t, filepath.Join(dir, "text"), text)
		o := decodeManifests(t, render(t, "--set-file=config="+dir+"/text", "--set-file=userFiles.a="+dir+"/text"))
		for name, key := range map[string]string{"": "bilibili_exporter.yml", "-users-a": "users.yml"} {
			if got := o.configMaps["bilibili-exporter"+name].Data[key]; strings.TrimRight(got, "\n") != strings.TrimRight(text, "\n") {
				t.Errorf("%s: got %q, want %q", key, got, text)
			}
		}
	}
}

// mount writes the files of the volume with the configuration as the kubelet does, and returns its directory.
func mount(t *testing.T, o *objects) string {
	t.Helper()
	dir := t.TempDir()
	put := func(data map[string]string, items []core.KeyToPath) {
		for key, text := range data {
			path := key
			if i := slices.IndexFunc(items, func(item core.KeyToPath) bool { return item.Key == key }); i >= 0 {
				path = items[i].Path
			}
			write(t, filepath.Join(dir, path), text)
		}
	}
	for _, volume := range o.deployment.Spec.Template.Spec.Volumes {
		if volume.Projected == nil {
			continue
		}
		for _, source := range volume.Projected.Sources {
			if source.ConfigMap != nil {
				put(o.configMaps[source.ConfigMap.Name].Data, source.ConfigMap.Items)
			} else {
				put(map[string]string{source.Secret.Items[0].Key: "a-token"}, source.Secret.Items)
			}
		}
	}
	return dir
}

// expectValid lets the exporter check the configuration, and returns its log.
func expectValid(t *testing.T, o *objects) string {
	t.Helper()
	path := filepath.Join(mount(t, o), "bilibili_exporter.yml")
	out, err := exec.Command(programs+"/exporter", "--config.check", "--config.file="+path).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	return string(out)
}

// TestConfig lets the exporter check every configuration.
func TestConfig(t *testing.T) {
	for name := range kustomizations {
		expectValid(t, decode(t, build(t, name)))
	}
	for _, name := range []string{"minimal", "full"} {
		expectValid(t, decodeManifests(t, render(t, values(name))))
	}
}

// TestManyUsers renders 10,000 users with names and labels as YAML and as text.
func TestManyUsers(t *testing.T) {
	type user struct {
		WMID   any               `json:"wmid"`
		Name   string            `json:"name"`
		Labels map[string]string `json:"labels"`
	}
	const users = 10_000
	for _, format := range []string{"numbers", "strings", "text"} {
		t.Run(format, func(t *testing.T) {
			var want []string
			files := make(map[string]any)
			for file := range 4 {
				var list []user
				for i := range users / 4 {
					wmid := strconv.Itoa(3_546_564_939_877_816 + file*users + i)
					want = append(want, wmid)
					u := user{json.Number(wmid), "创作者 " + wmid, map[string]string{"agency": "agency-" + wmid[12:]}}
					if format == "strings" {
						u.WMID = wmid
					}
					list = append(list, u)
				}
				files[fmt.Sprintf("part%d", file)] = list
				if format == "text" {
					files[fmt.Sprintf("part%d", file)] = marshal(t, list)
				}
			}
			config := map[string]any{"api": map[string]any{"token_file": "token"}, "user_files": []string{"creators/*.yml"}}
			path := filepath.Join(t.TempDir(), "values.yaml")
			write(t, path, marshal(t, map[string]any{"config": config, "userFiles": files}))
			o := decodeManifests(t, render(t, "--values="+path))
			if log := expectValid(t, o); !strings.Contains(log, fmt.Sprintf("users=%d", users)) {
				t.Errorf("the exporter does not have %d users:\n%s", users, log)
			}
			var got []string
			for file := range 4 {
				var list []struct{ WMID json.Number }
				text := o.configMaps[fmt.Sprintf("bilibili-exporter-users-part%d", file)].Data["users.yml"]
				if err := yaml.Unmarshal([]byte(text), &list); err != nil {
					t.Fatal(err)
				}
				for _, u := range list {
					got = append(got, u.WMID.String())
				}
			}
			if !slices.Equal(got, want) {
				t.Error("the WMIDs differ")
			}
		})
	}
}

func marshal(t *testing.T, value any) string {
	t.Helper()
	text, err := yaml.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestPackage checks that a packaged chart contains the rules and dashboards, which are links in the repository.
func TestPackage(t *testing.T) {
	for version := range versions {
		dir := t.TempDir()
		args := []string{"package", chart, "--version=1.2.3", "--app-version=1.2.3", "--destination=" + dir}
		if _, err := helm(t, version, args...); err != nil {
			t.Fatal(err)
		}
		text, err := helm(t, version, "template", "x", dir+"/bilibili-exporter-1.2.3.tgz", values("minimal"),
			"--set-json=prometheusRule.enabled=true", "--set-json=dashboards.enabled=true")
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{
			"name: x-bilibili-exporter\n", "bilibili_exporter:1.2.3\n", "- alert: ", `"panels": [`,
		} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: %q is missing", versions[version], want)
			}
		}
	}
}

// TestDashboards checks that each dashboard is in a ConfigMap of its own.
func TestDashboards(t *testing.T) {
	o := decodeManifests(t, render(t, values("minimal"), "--set-json=dashboards.enabled=true"))
	paths, err := filepath.Glob(chart + "/dashboards*/*.json")
	if err != nil || len(paths) != 6 {
		t.Fatalf("got dashboards %s, want three in each language: %v", paths, err)
	}
	for _, path := range paths {
		name, _ := filepath.Rel(chart, path)
		name = strings.ToLower(strings.ReplaceAll(strings.TrimSuffix(name, ".json"), "/", "-"))
		got := o.configMaps["bilibili-exporter-"+name]
		if got.Labels["grafana_dashboard"] != "1" || got.Data[filepath.Base(path)] != read(t, path) {
			t.Errorf("%s is not in the ConfigMap bilibili-exporter-%s", path, name)
		}
	}
}
