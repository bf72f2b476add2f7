//go:build bench

package bench

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

var beAPI = flag.String("be-api", "", "be the stand-in for the API on this address, in place of a benchmark")

// instantAPI is the base URL of a stand-in that answers every call at once, or,
// if told so, never. It is a process of its own: what it takes is not the
// exporter's.
type instantAPI string

func startAPI(t *testing.T) instantAPI {
	address := freeAddress(t)
	start(t, address, os.Args[0], "-test.timeout=0", "-be-api="+address)
	return instantAPI("http://" + address)
}

// config is for users 1000001 and so on, 64 calls at a time.
func (a instantAPI) config(users int, minInterval time.Duration) string {
	var b strings.Builder
	fmt.Fprintf(&b, "api: {base_url: '%s', token: t, max_concurrency: 64, max_requests_per_second: 1000000}\nquota: {min_interval: %v}\nusers:\n", a, minInterval)
	for i := range users {
		fmt.Fprintf(&b, "  - {wmid: %d, name: creator %d, labels: {team: t%d}}\n", 1_000_001+i, i, i%10)
	}
	return b.String()
}

// answer is for a WMID, the number of users whom that follows, and its followers.
const answer = `{"code":0,"message":"success","requestId":"0","data":{"code":0,"message":"OK","ttl":1,"data":{"mid":%s,"following":%d,"whisper":0,"black":0,"follower":%d}}}`

// serveAPI is the stand-in.
func serveAPI(address string) error {
	var hang atomic.Bool
	var calls atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("/hang", func(_ http.ResponseWriter, r *http.Request) { hang.Store(r.URL.RawQuery == "true") })
	mux.HandleFunc("/calls", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, calls.Load()) })
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		if hang.Load() {
			<-r.Context().Done()
			return
		}
		fmt.Fprintf(w, answer, r.URL.Query().Get("wmid"), rand.IntN(1000), rand.IntN(10_000_000))
	})
	return http.ListenAndServe(address, mux)
}
