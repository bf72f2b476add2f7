package exportertest

import (
	"strings"
	"testing"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi/justoneapitest"
)

// Steady is the response about a user whose counts do not change.
var Steady = justoneapitest.Stat(justoneapitest.Constant(4153991), 11)

// NewAPI returns a stand-in for the API with one response for all users, and a configuration file for it with the user
// 472747194.
func NewAPI(t *testing.T, response justoneapitest.Response) (*justoneapitest.Server, string) {
	t.Helper()
	server := justoneapitest.NewServer()
	t.Cleanup(server.Close)
	server.SetAll(response)
	config := "api: {base_url: '" + server.URL + "', token: " + justoneapitest.Token + "}\nusers: [472747194]\n"
	return server, WriteFile(t, "b.yml", config)
}

// Explain returns the kind of the failures with a code. The code is taken for Bilibili's own if it looks like one.
func Explain(code string) justoneapi.Kind {
	return justoneapi.Explain(code, strings.HasPrefix(code, "-") || code == "22115")
}
