package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// writeFiles writes files, by name, to a new directory.
func writeFiles(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		writeFile(t, filepath.Join(dir, name), text)
	}
	return dir
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestUserFiles loads users from the configuration and from files in every form.
func TestUserFiles(t *testing.T) {
	t.Setenv(TokenVariable, testToken)
	dir := writeFiles(t, map[string]string{
		"b.yml": "quota: {min_interval: 1h}\nusers: [1]\n" +
			"user_files: [creators/*.yml, other.yml, 'c*/a.yml', no/*.yml]\n",
		"creators/a.yml":   "- 2\n- wmid: 3\n  name: x\n  labels: {agency: a}\n",
		"creators/b.yml":   "# comment\n---\n[4, {wmid: 5}]\n",
		"creators/c.yml":   "[]\n",
		"creators/.#a.yml": "- 9\n", // of an editor
		"creators/a.yml~":  "- 9\n",
		"..data/a.yml":     "- 9\n", // of Kubernetes
		"other.yml":        "---\n- wmid: '6'\n  min_interval: 2h\n",
	})
	c, err := Load(filepath.Join(dir, "b.yml"))
	if err != nil {
		t.Fatal(err)
	}
	want := "1 1h, 2 1h, 3 1h, 4 1h, 5 1h, 6 2h"
	var got []string
	for _, user := range c.Users {
		got = append(got, fmt.Sprintf("%d %s", user.WMID, user.MinInterval))
	}
	if strings.Join(got, ", ") != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := fmt.Sprint(c.Warnings()); got != `[user_files[3]: the pattern "no/*.yml" matches no file.]` {
		t.Errorf("got the warnings %s", got)
	}
	text, err := c.YAML()
	if err != nil || !strings.HasPrefix(string(text), "# The users include those of user_files: [\"creators/*.yml\"") ||
		!strings.Contains(string(text), "wmid: 6") || strings.Contains(string(text), "\nuser_files:") {
		t.Errorf("got %v and\n%s", err, text)
	}
}

// TestUserFileErrors has user files that are not valid.
func TestUserFileErrors(t *testing.T) {
	t.Setenv(TokenVariable, testToken)
	const list = "user_files: ['*.list']\n"
	for name, test := range map[string]struct {
		text, file string // of b.yml and a.list
		want       string // DIR is the directory
	}{
		"invalid user": {list, "- 2\n\n# x\n- wmid: x\n  nickname: x\n",
			`DIR/a.list:4: [1].wmid: invalid WMID "x", want the number in https://space.bilibili.com/<wmid>; ` +
				`DIR/a.list:5: [1].nickname: unknown field; valid fields: labels, min_interval, name, wmid`},
		"duplicate in two files": {"users: [1, 2]\n" + list, "- 3\n- 2\n",
			`DIR/a.list:2: [1]: duplicate user 2, first listed in DIR/b.yml:1`},
		"duplicate in a file": {list, "- 3\n- 3\n",
			`DIR/a.list:2: [1]: duplicate user 3, first listed on line 1`},
		"empty": {"users: [1]\n" + list, "",
			`DIR/a.list:1: the file is empty, want a list of users such as [472747194], or [] for none`},
		"mapping": {list, "# x\nusers:\n  - 2\n",
			`DIR/a.list:2: want a list of users, got a mapping; remove the key users, the file holds its value`},
		"number": {list, "2\n", `DIR/a.list:1: want a list of users such as [472747194], got the integer 2`},
		"half": {list, "- 2\n- {wmid: 3,\n", `DIR/a.list:2: invalid YAML: a value is missing, ` +
			`starts with a character that must be quoted, or a bracket is not closed`},
		"tab": {list, "- 2\n-\twmid: 2\n\tname: x\n",
			`DIR/a.list:3: invalid YAML: the line is indented with a tab; use spaces`},
		"no list": {"user_files: '*.list'\n", "- 2\n",
			`DIR/b.yml:1: user_files: want a list such as ["creators/*.yml"], got the string "*.list"`},
		"not a string": {"user_files:\n  - a.list\n  - 2\n", "- 2\n",
			`DIR/b.yml:3: user_files[1]: want the path of a file or a pattern such as creators/*.yml, got the integer 2`},
		"missing": {"users: [2]\nuser_files:\n  - none.yml\n", "",
			`DIR/b.yml:3: user_files[0]: DIR/none.yml: no such file or directory`},
		"directory": {"users: [2]\nuser_files: [.]\n", "", `DIR/b.yml:2: user_files[0]: DIR is a directory, want a file`},
		"deep": {"users: [2]\nuser_files: ['**/x.yml']\n", "",
			`DIR/b.yml:2: user_files[0]: ** is not supported; write a pattern for each depth, such as creators/*/*.yml`},
		"no user": {"user_files: ['x*']\n", "",
			`DIR/b.yml:1: users: want at least one user, here or in user_files; ` +
				`want the number in https://space.bilibili.com/<wmid>`},
	} {
		t.Run(name, func(t *testing.T) {
			dir := writeFiles(t, map[string]string{"b.yml": test.text, "a.list": test.file})
			_, err := Load(filepath.Join(dir, "b.yml"))
			if got := strings.ReplaceAll(fmt.Sprint(err), dir, "DIR"); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

// TestManyProblems checks the order and the number of problems.
func TestManyProblems(t *testing.T) {
	t.Setenv(TokenVariable, testToken)
	dir := writeFiles(t, map[string]string{
		"b.yml": "user_files: [a.yml]\nmax_age: 1\nusers: [0]\napi: {timeout: 1}\n",
		"a.yml": strings.Repeat("- 0\n", 20),
	})
	_, err := Load(filepath.Join(dir, "b.yml"))
	var invalid *Error
	if !errors.As(err, &invalid) {
		t.Fatalf("got %v", err)
	}
	lines := invalid.Lines()
	for i, want := range []string{"b.yml:2: ", "b.yml:3: ", "b.yml:4: ", "a.yml:1: ", "a.yml:2: "} {
		if !strings.HasPrefix(lines[i], filepath.Join(dir, want)) {
			t.Errorf("problem %d: got %s, want %s…", i, lines[i], want)
		}
	}
	if len(lines) != 11 || lines[10] != "and 13 more" {
		t.Errorf("got %d lines, the last one %q", len(lines), lines[len(lines)-1])
	}
}

// TestFilesOfConfig checks that files that cannot be used are reported with the line of their key.
func TestFilesOfConfig(t *testing.T) {
	dir := writeFiles(t, map[string]string{
		"b.yml": "users: [2]\napi:\n  token_file: token\n  http_client:\n    tls_config:\n      ca_file: .\n" +
			"      cert_file: none\n      key_file: none\n",
		"token": "JUSTONEAPI_TOKEN=s3cret",
		"c.yml": "users: [2]\napi: {token_file: s3cret0123456789abcdef}\n",
		"d.yml": "users: [2]\napi: {token: x, http_client: {tls_config: {ca_file: b.yml}}}\n",
	})
	for name, want := range map[string]string{
		"b.yml": `DIR/b.yml:3: api.token_file: DIR/token is a line NAME=value; write only the value; ` +
			`DIR/b.yml:6: api.http_client.tls_config.ca_file: DIR is a directory, want a file; ` +
			`DIR/b.yml:7: api.http_client.tls_config.cert_file: DIR/none: no such file or directory; ` +
			`DIR/b.yml:8: api.http_client.tls_config.key_file: DIR/none: no such file or directory`,
		"c.yml": `DIR/c.yml:2: api.token_file: the file does not exist; ` +
			`it looks like a token, which belongs in the key token`,
		"d.yml": `DIR/d.yml:2: api.http_client.tls_config: unable to use specified CA cert file DIR/b.yml`,
	} {
		_, err := Load(filepath.Join(dir, name))
		if got := strings.ReplaceAll(fmt.Sprint(err), dir, "DIR"); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// TestChanged replaces files in the ways of editors, scripts and Kubernetes.
func TestChanged(t *testing.T) {
	t.Setenv(TokenVariable, testToken)
	dir := writeFiles(t, map[string]string{
		"..1/b.yml": "user_files: ['*.list']\n", "..1/a.list": "- 2\n",
		"..2/b.yml": "user_files: ['*.list']\nmax_age: 1h\n", "..2/a.list": "- 2\n",
	})
	link := func(target, name string) {
		t.Helper()
		if err := os.Symlink(target, filepath.Join(dir, "new")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	remove := func(name string) {
		t.Helper()
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	link("..1", "..data")
	link("..data/b.yml", "b.yml")
	link("..data/a.list", "a.list")
	loader := NewLoader(filepath.Join(dir, "b.yml"))
	steps := []struct {
		name    string
		do      func()
		changed bool
		fails   bool
	}{
		{"nothing", func() {}, false, false},
		{"swap of the link by Kubernetes", func() { link("..2", "..data") }, true, false},
		{"new file", func() { writeFile(t, filepath.Join(dir, "b.list"), "- 3\n") }, true, false},
		{"same content", func() { writeFile(t, filepath.Join(dir, "b.list"), "- 3\n") }, false, false},
		{"half-written", func() { writeFile(t, filepath.Join(dir, "b.list"), "- 3\n- {wmid: ") }, true, true},
		{"still half-written", func() {}, false, true},
		{"written", func() { writeFile(t, filepath.Join(dir, "b.list"), "- 3\n- {wmid: 4}\n") }, true, false},
		{"rename by an editor", func() {
			writeFile(t, filepath.Join(dir, ".b.list.swp"), "- 5\n")
			os.Rename(filepath.Join(dir, ".b.list.swp"), filepath.Join(dir, "b.list")) //nolint:errcheck // checked below
		}, true, false},
		{"removed user file", func() { remove("b.list") }, true, false},
		{"removed configuration", func() { remove("b.yml") }, true, true},
		{"still removed", func() {}, false, true},
		{"configuration that is not YAML", func() { writeFile(t, filepath.Join(dir, "b.yml"), "}") }, true, true},
		{"valid configuration", func() { writeFile(t, filepath.Join(dir, "b.yml"), "users: [1]") }, true, false},
	}
	if _, err := loader.Load(); err != nil {
		t.Fatal(err)
	}
	for _, step := range steps {
		step.do()
		if got := loader.Changed(); got != step.changed {
			t.Errorf("%s: got changed %v", step.name, got)
		}
		if !step.changed {
			continue
		}
		if _, err := loader.Load(); (err != nil) != step.fails {
			t.Errorf("%s: got %v", step.name, err)
		}
	}
}

// TestParts compares users that are decoded in parts with the same users decoded as a whole.
func TestParts(t *testing.T) {
	t.Setenv(TokenVariable, testToken)
	var list strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&list, "  - %d\n  # - 7\n\n  - wmid: %d\n", 2*i+1, 2*i+2)
		fmt.Fprintf(&list, "    name: |-\n      - a%d\n    labels:\n      a: \"b\n   - c\"\n", i)
	}
	block := "users:\n" + list.String() + "max_age: 2d\n"
	lines := strings.Count(block, "\n")
	if rest, users, ok := cutUsers([]byte(block)); !ok || strings.Count(string(rest), "\n") != lines ||
		users.each(func(*yaml.Node) {}) != nil {
		t.Error("the list is not decoded in parts")
	}
	got, err := parse(t, block)
	if err != nil {
		t.Fatal(err)
	}
	want, err := parse(t, "x-a: &a {a: b}\n"+strings.Replace(block, "users:\n", "users:\n  - &b 99999\n", 1)+
		"x-b: *b\n") // an alias connects the parts
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got.Users, want.Users[1:]) || len(got.Users) != 6000 || got.MaxAge != want.MaxAge {
		t.Errorf("got %d users, and other ones than as a whole", len(got.Users))
	}
	bad := strings.Replace(block, "wmid: 5000\n", "wmid: 5000\n    nickname: x\n", 1)
	line := strings.Count(bad[:strings.Index(bad, "nickname")], "\n") + 1
	_, err = parse(t, bad)
	if want := fmt.Sprintf("dir/b.yml:%d: users[4999].nickname: unknown field", line); err == nil ||
		!strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want %s…", err, want)
	}
}
