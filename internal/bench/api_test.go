//go:build bench

package bench

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
)

var serveOnly = flag.Bool("serve-api", false, "serve the stand-in for the API instead of running tests")

// instantAPI is the base URL of a stand-in for the API that responds to every request at once, or never while it hangs.
// It is a process of its own, so that its resources are not counted as the exporter's.
type instantAPI string

func startAPI(t *testing.T) instantAPI {
	p := exportertest.Start(t, exec.Command(os.Args[0], "-test.timeout=0", "-serve-api"))
	return instantAPI("http://" + p.Address())
}

// config returns a configuration with the users 1000001 and so on, and 64 requests at a time.
func (a instantAPI) config(users int, minInterval time.Duration) string {
	var b strings.Builder
	fmt.Fprintf(&b, "api: {base_url: '%s', token: t, max_concurrency: 64, max_requests_per_second: 1000000}\n", a)
	fmt.Fprintf(&b, "quota: {min_interval: %v}\nusers:\n", minInterval)
	for i := range users {
		fmt.Fprintf(&b, "  - {wmid: %d, name: creator %d, labels: {team: t%d}}\n", 1_000_001+i, i, i%10)
	}
	return b.String()
}

// setHang makes the API hang, or stop hanging.
func (b *bench) setHang(hang bool) {
	b.get(fmt.Sprintf("%s/hang?%t", b.api, hang), "identity", longTimeout)
}

// requests returns the number of requests that the API has received.
func (b *bench) requests() string {
	return string(b.get(string(b.api)+"/requests", "identity", longTimeout))
}

// response is a format for the WMID, the following and the followers.
const response = `{"code":0,"message":"success","requestId":"0","data":{"code":0,"message":"OK","ttl":1,` +
	`"data":{"mid":%s,"following":%d,"whisper":0,"black":0,"follower":%d}}}`

// serveAPI serves the stand-in. It returns only on errors.
func serveAPI() error {
	var hang atomic.Bool
	var requests atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("/hang", func(_ http.ResponseWriter, r *http.Request) { hang.Store(r.URL.RawQuery == "true") })
	mux.HandleFunc("/requests", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, requests.Load()) })
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		if hang.Load() {
			<-r.Context().Done()
			return
		}
		fmt.Fprintf(w, response, r.URL.Query().Get("wmid"), rand.IntN(1000), rand.IntN(10_000_000))
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Printf("msg=\"Listening on\" address=%s\n", listener.Addr())
	return http.Serve(listener, mux)
}
