// Package exportertest helps the tests of other packages to run the exporter as a process and to read the files of
// the repository. Their TestMain calls [Main].
package exportertest

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi/justoneapitest"
	_ "github.com/bilibili-exporter/bilibili_exporter/internal/server" // its changes must invalidate cached test results
)

// binary is the path of the exporter's binary. Main sets it before the tests run.
var binary string

// Main builds the exporter and runs the tests of a package in the root directory of the repository. It returns the exit
// status. The binary contains the race detector if the tests do.
func Main(m *testing.M) int {
	dir, err := os.MkdirTemp("", "bilibili_exporter")
	if err != nil {
		return fail(err)
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "bilibili_exporter")
	if err := build(); err != nil {
		return fail(fmt.Errorf("building the exporter: %w", err))
	}
	return m.Run()
}

func fail(err error) (status int) {
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// build changes to the root directory of the repository and builds the binary.
func build() error {
	module, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return err
	}
	if err := os.Chdir(filepath.Dir(string(module))); err != nil {
		return err
	}
	args := []string{"build", "-o", binary}
	if raceEnabled() {
		args = append(args, "-race")
	}
	if out, err := exec.Command("go", append(args, ".")...).CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}

func raceEnabled() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// Command returns the command that runs the exporter.
func Command(args ...string) *exec.Cmd {
	for _, name := range []string{"main.go", "log.go"} {
		os.ReadFile(abs(name)) //nolint:errcheck // only so that a change invalidates cached test results
	}
	return exec.Command(binary, args...)
}

// Run runs the exporter until it exits.
func Run(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs strings.Builder
	cmd := Command(args...)
	cmd.Stdout, cmd.Stderr, cmd.Dir = &out, &errs, t.TempDir()
	if err := cmd.Run(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// StartExporter starts the exporter on a free port and returns its address. It uses a new storage directory unless the
// arguments contain one.
func StartExporter(t *testing.T, args ...string) (*Process, string) {
	t.Helper()
	args = append([]string{"--web.listen-address=127.0.0.1:0"}, args...)
	if !slices.ContainsFunc(args, func(arg string) bool { return strings.HasPrefix(arg, "--storage.path=") }) {
		args = append(args, "--storage.path="+t.TempDir())
	}
	p := Start(t, Command(args...))
	return p, p.Address()
}

// helpFlag matches a flag in the output of --help. Its groups are the name and the default.
var helpFlag = regexp.MustCompile(`(?m)^ {1,6}(?:-\w, )?--(?:\[no-\])?([a-z][\w.-]*)(?:="?([^"\s]*)"?)?`)

// placeholder matches what --help shows of a flag without a default.
var placeholder = regexp.MustCompile(`^[A-Z][A-Z.]*$`)

// Flags returns the exporter's flags with their defaults, read from --help.
func Flags(t *testing.T) map[string]string {
	t.Helper()
	_, help, _ := Run(t, "--help")
	flags := make(map[string]string)
	for _, match := range helpFlag.FindAllStringSubmatch(help, -1) {
		if match[1] != "help-man" && match[1] != "help-long" {
			flags["--"+match[1]] = placeholder.ReplaceAllString(match[2], "")
		}
	}
	return flags
}

// Exposition returns the metric families of an exporter that exposes all of them. The users' labels are named "labels",
// as in the READMEs.
func Exposition(t *testing.T) map[string]*dto.MetricFamily {
	t.Helper()
	api := justoneapitest.NewServer()
	defer api.Close()
	api.Set(2, justoneapitest.Stat(justoneapitest.Constant(1), 1))
	file := WriteFile(t, "b.yml", "api: {base_url: '"+api.URL+"', token: "+justoneapitest.Token+
		", balance_interval: 1h}\nquota: {daily_limit: 1000}\nusers: [{wmid: 2, labels: {labels: x}}, 3]\n")
	_, address := StartExporter(t, "--config.file="+file)
	var metrics string
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		metrics = Get(t, http.DefaultClient, "http://"+address+"/metrics")
		if strings.Contains(metrics, "\nbilibili_account_balance{") { // no scrape waits for it
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the exporter exposes no balance")
		}
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(metrics))
	if err != nil {
		t.Fatal(err)
	}
	return families
}
