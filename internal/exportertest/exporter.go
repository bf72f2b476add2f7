// Package exportertest helps the tests of other packages to run the exporter as a process and to read the files of
// the repository. Their TestMain calls [Main].
package exportertest

import (
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

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi/justoneapitest"
	_ "github.com/bilibili-exporter/bilibili_exporter/internal/server" // a cached test result must not outlive the program
)

// binary is the path of the exporter's binary. Main sets it before the tests run.
var binary string

// Main builds the exporter and runs the tests of a package in the root of the repository. It returns the exit status.
// The binary contains the race detector if the tests do.
func Main(m *testing.M) int {
	if err := os.Chdir(root()); err != nil {
		return fail(err)
	}
	for _, name := range []string{"main.go", "log.go"} {
		if _, err := os.ReadFile(name); err != nil { // go test notes that the result depends on the file
			return fail(err)
		}
	}
	dir, err := os.MkdirTemp("", "bilibili_exporter")
	if err != nil {
		return fail(err)
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "bilibili_exporter")
	args := []string{"build", "-o", binary}
	if raceEnabled() {
		args = append(args, "-race")
	}
	if out, err := exec.Command("go", append(args, ".")...).CombinedOutput(); err != nil {
		return fail(fmt.Errorf("building the exporter: %w\n%s", err, out))
	}
	return m.Run()
}

func fail(err error) (status int) {
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// root returns the nearest parent directory that holds the exporter's main.go.
func root() string {
	dir := "."
	for range 4 {
		if _, err := os.Stat(filepath.Join(dir, "main.go")); err == nil {
			if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
				break
			}
		}
		dir = filepath.Join(dir, "..")
	}
	return dir
}

func raceEnabled() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// Command returns the command that runs the exporter.
func Command(args ...string) *exec.Cmd { return exec.Command(binary, args...) }

// helpFlag matches a flag in the output of --help; its groups are name and default.
var helpFlag = regexp.MustCompile(`(?m)^ .*?--(?:\[no-\])?([a-z][\w.-]*)(?:="?([^"\s]*)"?)?`)

// Flags returns the exporter's flags with their defaults, read from --help.
func Flags(t *testing.T) map[string]string {
	t.Helper()
	_, help, _ := Run(t, "--help")
	flags := make(map[string]string)
	for _, match := range helpFlag.FindAllStringSubmatch(help, -1) {
		if match[1] != "help-man" && match[1] != "help-long" {
			flags["--"+match[1]] = strings.TrimPrefix(match[2], "WMID")
		}
	}
	return flags
}

// Exposition returns the metrics of an exporter that has all of them. The
// users' labels are named "labels", as in the READMEs.
func Exposition(t *testing.T) map[string]*dto.MetricFamily {
	t.Helper()
	api := justoneapitest.NewServer()
	defer api.Close()
	api.Set(2, justoneapitest.Stat(justoneapitest.Constant(1), 1))
	file := WriteFile(t, "b.yml", "api: {base_url: '"+api.URL+"', token: "+justoneapitest.Token+"}\nquota: {daily_limit: 1000}\n"+
		"users: [{wmid: 2, labels: {labels: x}}, 3]\n")
	_, address := StartExporter(t, "--config.file="+file)
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(Get(t, http.DefaultClient, "http://"+address+"/metrics")))
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// Explain returns what is known of a code, which is Bilibili's own if it looks
// like one.
func Explain(code string) justoneapi.Kind {
	return justoneapi.Explain(code, strings.HasPrefix(code, "-") || code == "22115")
}

// NewAPI returns a stand-in API and a configuration file for it.
func NewAPI(t *testing.T, answer justoneapitest.Response) (*justoneapitest.Server, string) {
	t.Helper()
	server := justoneapitest.NewServer()
	t.Cleanup(server.Close)
	server.SetAll(answer)
	return server, WriteFile(t, "b.yml", "api: {base_url: '"+server.URL+"', token: "+justoneapitest.Token+"}\nusers: [472747194]\n")
}

// Steady is the response about a user whose numbers do not change.
var Steady = justoneapitest.Stat(justoneapitest.Constant(4153991), 11)
