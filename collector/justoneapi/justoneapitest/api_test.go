package justoneapitest_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi/justoneapitest"
)

// code sends a request and returns the code of the envelope.
func code(t *testing.T, server *justoneapitest.Server, query string) int {
	t.Helper()
	transport := server.Transport()
	defer transport.CloseIdleConnections()
	req, err := http.NewRequest(http.MethodGet, server.URL+justoneapi.Path+"?"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var envelope struct{ Code int }
	if err := json.NewDecoder(resp.Body).Decode(&envelope); err != nil {
		t.Fatal(err)
	}
	return envelope.Code
}

const good = "wmid=1&token=" + justoneapitest.Token

func TestAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := justoneapitest.NewPipeServer()
		defer server.Close()
		server.SetAll(justoneapitest.Stat(justoneapitest.Constant(1), 1))
		for name, test := range map[string]struct {
			account justoneapitest.Account
			query   string
			want    int
		}{
			"good":          {justoneapitest.Account{}, good, 0},
			"another token": {justoneapitest.Account{}, "wmid=1&token=x", 100},
			"no token":      {justoneapitest.Account{}, "wmid=1", 100},
			"no user":       {justoneapitest.Account{}, "token=" + justoneapitest.Token, 400},
			"odd user":      {justoneapitest.Account{}, "wmid=x&token=" + justoneapitest.Token, 400},
			"dead token":    {justoneapitest.Account{DeadToken: true}, good, 100},
			"no permission": {justoneapitest.Account{NoPermission: true}, good, 600},
			"empty balance": {justoneapitest.Account{EmptyBalance: true}, good, 601},
			"token's limit": {justoneapitest.Account{TokenLimit: true}, good, 602},
		} {
			server.SetAccount(test.account)
			if got := code(t, server, test.query); got != test.want {
				t.Errorf("%s: got code %d, want %d", name, got, test.want)
			}
		}
	})
}

// TestLimits exceeds the limits per second and per day of China.
func TestLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the clock starts at midnight in UTC, 8:00 in China
		server := justoneapitest.NewPipeServer()
		defer server.Close()
		server.SetAll(justoneapitest.Stat(justoneapitest.Constant(1), 1))
		server.SetAccount(justoneapitest.Account{DailyQuota: 3, PerSecond: 2})
		for i, step := range []struct {
			wait time.Duration
			want int
		}{
			{0, 0}, {0, 0}, {0, 302}, {time.Second, 303}, // the refused request counts
			{16*time.Hour - 2*time.Second, 303}, {time.Second, 0},
		} {
			time.Sleep(step.wait)
			if got := code(t, server, good); got != step.want {
				t.Errorf("request %d: got code %d, want %d", i, got, step.want)
			}
		}
		if got, want := server.Total(), (justoneapitest.Tally{Requests: 6, Billed: 3}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	})
}

func TestSeries(t *testing.T) {
	start := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	growing := justoneapitest.Growth(1000, start, 60)
	dropping := justoneapitest.Drop(growing, start.Add(time.Hour), 500)
	for after, want := range map[time.Duration]int64{
		0: 1000, 30 * time.Minute: 1030, time.Hour: 560, 2 * time.Hour: 620,
	} {
		if got := dropping(start.Add(after)); got != want {
			t.Errorf("after %v: got %d, want %d", after, got, want)
		}
	}
	noisy, different := justoneapitest.Noise(justoneapitest.Constant(1000), 10), false
	for i := range 100 {
		at := start.Add(time.Duration(i) * time.Second)
		got := noisy(at)
		if got < 990 || got > 1010 || got != noisy(at) {
			t.Errorf("got %d", got)
		}
		different = different || got != 1000
	}
	if !different {
		t.Error("the noise is silent")
	}
}
