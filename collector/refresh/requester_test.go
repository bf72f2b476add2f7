package refresh

import (
	"context"
	"net/url"
	"testing"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi/justoneapitest"
	"github.com/bilibili-exporter/bilibili_exporter/collector/quota"
)

// TestClocksDisagree has clocks that disagree about the time since the guard allowed a request. It is sent only if that
// is at most 10 s by both, when its start has been recorded and again when it has a connection.
func TestClocksDisagree(t *testing.T) {
	const short, long = quota.MaxSendDelay / 2, 2 * quota.MaxSendDelay
	for name, test := range map[string]struct {
		monotonic, wall time.Duration // since the guard allowed it
		want            bool
	}{
		"fast":                           {short, short, true},
		"slow":                           {long, long, false},
		"machine suspended":              {short, long, false},
		"slow, and wall clock set back":  {long, -long, false},
		"fast, and wall clock set back":  {short, -long, true},
		"fast, and wall clock set ahead": {short, time.Hour, false},
	} {
		t.Run(name, func(t *testing.T) {
			at := justoneapitest.Skew(time.Now().Add(-test.monotonic), test.monotonic-test.wall)
			r := &requester{base: t.Context(), closed: func() bool { return false }}
			err := r.record(at, func(context.Context) error { return nil })
			if got := err == nil; got != test.want {
				t.Errorf("after its start was recorded: got error %v, want success %v", err, test.want)
			}
			if got := sends(t, r, at); got != test.want {
				t.Errorf("when it has a connection: got sent %v, want %v", got, test.want)
			}
		})
	}
}

// sends returns whether a request that was allowed at a moment is sent with the context of a requester.
func sends(t *testing.T, r *requester, at time.Time) bool {
	t.Helper()
	server := justoneapitest.NewServer()
	defer server.Close()
	base, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	transport := server.Transport()
	defer transport.CloseIdleConnections()
	ctx, cancel := r.context(started{at: at, settings: &Settings{RequestTimeout: time.Minute}})
	defer cancel()
	token := justoneapi.NewToken(justoneapitest.Token)
	justoneapi.New(base, transport).RelationStat(ctx, token, 1) //nolint:errcheck // what was sent counts
	return server.Tally(1).Requests == 1
}
