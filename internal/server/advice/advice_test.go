package advice

import (
	"strings"
	"testing"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
)

func TestFor(t *testing.T) {
	for _, test := range []struct {
		code     string
		bilibili bool
		want     string
	}{
		{"timeout", false, timeout},
		{"malformed", false, malformed},
		{"http_502", false, httpError},
		{"301", false, wait},
		{"303", false, byReason[justoneapi.ReasonDailyQuota]},
		{"404", false, checkWMID},
		{"999", false, contact},
		{"-404", true, checkWMID},
		{"-352", true, riskControl},
		{"22115", true, hidden},
		{"303", true, riskControl},
	} {
		if got := For(justoneapi.Explain(test.code, test.bilibili)); got != test.want {
			t.Errorf("%s: got %q, want %q", test.code, got, test.want)
		}
	}
}

func TestReasons(t *testing.T) {
	for reason, advice := range byReason {
		kind := justoneapi.ExplainReason(reason)
		if kind.Code == "" || For(kind) != advice || !strings.HasSuffix(advice, ".") {
			t.Errorf("%s: got kind %+v and %q", reason, kind, advice)
		}
	}
}
