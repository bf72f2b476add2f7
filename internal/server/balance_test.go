package server_test

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestBalance requests the balance once, exposes it, and forgets about it after a reload without an interval.
func TestBalance(t *testing.T) {
	api := newServer(t)
	text := configFor(api.URL, "  balance_interval: 1h\n")
	e, logged := newExporter(t, text, withReload(t, func() string { return text }))
	expectPage(t, e, "/", "<h2>Balance</h2>", "Not yet requested.")
	send(e, http.MethodGet, "/metrics")
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) { // no scrape waits for it
		if strings.Contains(send(e, http.MethodGet, "/").Body.String(), "123.45 CNY, received 0") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("no balance after 10 s:\n%s", logged)
		}
	}
	expectPage(t, e, "/metrics", "\nbilibili_account_balance{currency=\"CNY\"} 123.45\n",
		"\nbilibili_account_balance_timestamp_seconds 1.", "\nbilibili_quota_used 3\n", "\nbilibili_api_requests_total 3\n")
	if balances, requests := api.Balances(), api.Total().Requests; balances != 1 || requests != 3 {
		t.Errorf("got %d requests for the balance and %d for users, want 1 and 3", balances, requests)
	}

	text = configFor(api.URL)
	if w := send(e, http.MethodPost, "/-/reload"); w.Code != http.StatusOK {
		t.Fatalf("got status %d and %s", w.Code, w.Body)
	}
	expectPage(t, e, "/metrics", "!bilibili_account_balance")
	expectPage(t, e, "/", "!Balance")
}
