package advice

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
	"github.com/bilibili-exporter/bilibili_exporter/collector/quota"
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
		{"http_429", false, byReason[justoneapi.ReasonRateLimit]},
		{"301", false, wait},
		{"303", false, byReason[justoneapi.ReasonDailyQuota]},
		{"404", false, checkWMID},
		{"999", false, contact},
		{"201", false, checkWMID + " " + billed},
		{"mismatch", false, mismatch + " " + billed},
		{"-404", true, checkWMID + " " + billed},
		{"-626", true, checkWMID + " " + billed},
		{"22115", true, hidden + " " + billed},
		{"-352", true, riskControl + " " + billed},
		{"-509", true, riskControl + " " + billed},
		{"-503", true, bilibiliFails + " " + billed},
		{"-8888", true, bilibiliFails + " " + billed},
		{"-101", true, session + " " + billed},
		{"-658", true, session + " " + billed},
		{"303", true, undocumented + " " + billed},
		{"-1", true, undocumented + " " + billed},
	} {
		if got := (Advice{}).For(justoneapi.Explain(test.code, test.bilibili)); got != test.want {
			t.Errorf("%s: got %q, want %q", test.code, got, test.want)
		}
		if got := (Advice{Demo: true}).For(justoneapi.Explain(test.code, test.bilibili)); strings.Contains(got, "bill") {
			t.Errorf("%s: got %q in the demo", test.code, got)
		}
	}
}

// TestUpstreamCodes checks that there is advice about every documented code of Bilibili that concerns the upstream, and
// that only the user's own errors lead to the removal of a user.
func TestUpstreamCodes(t *testing.T) {
	codes := append(justoneapi.KnownCodes(), "-1", "86000", "http_500")
	for _, code := range codes {
		for _, bilibili := range []bool{false, true} {
			kind := justoneapi.Explain(code, bilibili)
			if kind.Scope == justoneapi.ScopeUser {
				continue
			}
			got := Advice{}.For(kind)
			if got == "" || strings.Contains(got, "emove") || strings.Contains(got, "WMID") {
				t.Errorf("%s (of Bilibili: %v): got %q", code, bilibili, got)
			}
			documented := strings.HasPrefix(code, "-") && code != "-1"
			if bilibili && documented && strings.HasPrefix(got, undocumented) {
				t.Errorf("%s: got the advice about undocumented codes", code)
			}
		}
	}
}

// TestReasons checks that there is advice about every pause.
func TestReasons(t *testing.T) {
	for _, reason := range quota.Reasons() {
		got := Advice{}.For(justoneapi.Kind{Reason: justoneapi.Reason(reason)})
		if !strings.HasPrefix(got, byReason[justoneapi.Reason(reason)]) || !strings.HasSuffix(got, ".") {
			t.Errorf("%s: got %q", reason, got)
		}
		if kind := justoneapi.ExplainReason(justoneapi.Reason(reason)); kind.Code != "" && (Advice{}).For(kind) != got {
			t.Errorf("%s: got %q for code %s, want %q", reason, Advice{}.For(kind), kind.Code, got)
		}
	}
	if len(byReason) != len(quota.Reasons()) || byReason[justoneapi.Reason(quota.ReasonOutage)] == "" {
		t.Errorf("got advice about %v, want %v", slices.Collect(maps.Keys(byReason)), quota.Reasons())
	}
}

// TestTokenSources checks that the advice names the place where the token comes from, and no other.
func TestTokenSources(t *testing.T) {
	places := map[TokenSource]string{
		TokenEnvironment: "JUSTONEAPI_TOKEN", TokenConfig: "api.token ", TokenFile: "api.token_file",
		TokenCredential: "systemd",
	}
	for source := range places {
		for _, code := range []string{"100", "602"} {
			got := Advice{Token: source}.For(justoneapi.Explain(code, false))
			for other, place := range places {
				if strings.Contains(got, place) != (other == source) {
					t.Errorf("%s of source %d: want %q only of source %d, got %q", code, source, place, other, got)
				}
			}
		}
	}
}
