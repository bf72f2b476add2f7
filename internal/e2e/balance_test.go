//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi/justoneapitest"
	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
)

// balanceFaults returns wrong responses about the balance. Their texts contain the token where they can.
func balanceFaults() map[string]justoneapitest.Response {
	const message = "token=" + justoneapitest.Token
	faults := map[string]justoneapitest.Response{
		"down":        justoneapitest.CutBefore(),
		"reset":       justoneapitest.Reset(),
		"slow":        justoneapitest.Hang(),
		"trickle":     justoneapitest.Trickle(10 * time.Millisecond),
		"endless":     justoneapitest.Endless(),
		"redirect":    justoneapitest.Redirect("http://127.0.0.1:1/?" + message),
		"bad gateway": justoneapitest.Body(http.StatusBadGateway, "text/html", "<html>"+message+"</html>"),
		"HTML":        justoneapitest.Body(http.StatusOK, "text/html", "<html>"+message+"</html>"),
		"limited": justoneapitest.RetryAfter("3600",
			justoneapitest.Body(http.StatusTooManyRequests, "text/plain", message)),
		"unavailable": justoneapitest.RetryAfter("3600",
			justoneapitest.Body(http.StatusServiceUnavailable, "text/plain", message)),
	}
	for _, code := range []int{100, 301, 302, 303, 500, 600, 601, 602, 777} {
		faults[fmt.Sprintf("code %d", code)] = justoneapitest.Code(code, message)
	}
	for name, data := range map[string]string{
		"number":           `{"balance":123.45,"currency":"CNY"}`,
		"NaN":              `{"balance":"NaN","currency":"CNY"}`,
		"infinity":         `{"balance":"Infinity","currency":"CNY"}`,
		"exponent":         `{"balance":"1e3","currency":"CNY"}`,
		"token as balance": `{"balance":"` + message + `","currency":"CNY"}`,
		"token as unit":    `{"balance":"7","currency":"` + message + `"}`,
		"no balance":       `{"currency":"CNY"}`,
		"no data":          `null`,
	} {
		faults[name] = justoneapitest.Data(data)
	}
	return faults
}

// testBalanceFaults puts an exporter through faults of the balance, one after another. None is ever a value, delays
// or fails a scrape, pauses requests, counts as a failed request for a user or shows the token. Each is logged when it
// starts and when it ends.
func testBalanceFaults(t *testing.T, faults []string) {
	const series = `bilibili_account_balance{currency="CNY"}`
	api := justoneapitest.NewServer()
	t.Cleanup(api.Close)
	users := []*user{{wmid: 1}, {wmid: 2}, {wmid: 3}}
	for _, u := range users {
		api.Set(u.wmid, u.succeed)
	}
	amount := 0. // the balance that the API returns without a fault
	spend := func() {
		amount -= 0.25
		api.SetBalance(justoneapitest.Data(fmt.Sprintf(`{"balance":"%.4f","currency":"CNY"}`, amount)))
	}
	spend()
	start := time.Now()
	test := newFaultTest(t, exportertest.StartExporter, "base_url: '"+api.URL+"', balance_interval: 1s", users...)
	test.awaitStart()
	restore := func() samples {
		before := amount
		spend()
		return test.scrapeUntil(15*time.Second, func(got samples) bool {
			test.checkBalance(got, before, amount)
			return got[series] == amount
		})
	}
	responses := balanceFaults()
	for _, name := range faults {
		if got := restore(); got[series] != amount {
			t.Fatalf("before %s: got balance %v, want %v", name, got[series], amount)
		}
		attempts := api.Balances()
		api.SetBalance(responses[name])
		got := test.scrapeUntil(20*time.Second, func(got samples) bool {
			test.checkBalance(got, amount)
			_, known := got[series]
			return !known && api.Balances() >= attempts+2
		})
		if _, known := got[series]; known || got["bilibili_account_balance_timestamp_seconds"] == 0 {
			t.Errorf("%s: the balance has not expired, or its time is lost", name)
		}
		for _, path := range []string{"/", "/config"} {
			test.get(http.DefaultClient, path)
		}
	}
	restore()
	last := test.scrape()
	if test.slowest > 2*time.Second {
		t.Errorf("a scrape took %v", test.slowest)
	}
	if got, most := api.Balances(), int(time.Since(start).Seconds())+1; got > most {
		t.Errorf("got %d requests for the balance, want at most one per second, %d", got, most)
	}
	if got, want := int(last["bilibili_api_requests_total"]), api.Total().Requests; got > want || got < want-len(users) {
		t.Errorf("bilibili_api_requests_total is %d, and the API received %d requests for users", got, want)
	}
	test.end()
	test.checkLog(t, len(faults), "level=warn", `msg="Error fetching account balance"`, " code=", " err=")
	test.checkLog(t, len(faults), `msg="Error fetching account balance"`)
	test.checkLog(t, len(faults), "level=info", `msg="Account balance recovered"`, " currency=CNY")
}

// checkBalance checks that a scrape exposes no other balance than the given ones, and that the faults of the balance
// have not affected anything else.
func (f *faultTest) checkBalance(got samples, amounts ...float64) {
	f.T.Helper()
	for series, value := range got {
		switch {
		case strings.HasPrefix(series, "bilibili_account_balance{"):
			if value != amounts[0] && value != amounts[len(amounts)-1] || !strings.Contains(series, `{currency="CNY"}`) {
				f.T.Errorf("got %s %v, want one of %v", series, value, amounts)
			}
		case strings.HasPrefix(series, "bilibili_api_paused{") && value != 0:
			f.T.Errorf("got %s %v: the balance has paused requests", series, value)
		}
	}
	if failures := got.failures(); len(failures) > 0 {
		f.T.Errorf("upstream_error_code counts %v", failures)
	}
}
