// Package refresh requests the users that are due from the API. A scrape starts a refresh or joins the one in progress;
// the guard of package quota decides which users are due and whether each request may be sent.
package refresh

import (
	"context"
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"golang.org/x/time/rate"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
	"github.com/bilibili-exporter/bilibili_exporter/collector/quota"
)

// API is the part of [justoneapi.Client] that a [Refresher] needs. The error of a failed request is a
// [*justoneapi.Error].
type API interface {
	RelationStat(ctx context.Context, token justoneapi.Token, wmid int64) (justoneapi.Stat, error)
	Balance(ctx context.Context, token justoneapi.Token) (justoneapi.Balance, error)
}

// Observer observes requests. It is called by several goroutines at a time.
type Observer interface {
	// RequestStarted is called right before a request is sent. The function that it returns is called when the
	// request has finished, with nil for a success; it is not called for a request that [Refresher.Close] has canceled.
	RequestStarted() (finished func(failure *justoneapi.Error))
}

// Leader decides which of several replicas is active and sends requests.
type Leader interface {
	// Lead makes this replica the active one if it can, or keeps it active. It returns the records and the term that the
	// guard has to load; no records if the guard knows them already. An error means that no request may be sent.
	Lead(ctx context.Context) (records map[string][]byte, term int64, err error)
}

// Settings are what [Refresher.Reload] may change. All fields are required.
type Settings struct {
	API   API
	Token func() justoneapi.Token // called for every scrape, by one goroutine at a time; may do I/O
	Names map[int64]string        // names of the guard's users by WMID, for the log

	RequestTimeout       time.Duration // of one request
	MaxConcurrency       int           // requests in flight at a time
	MaxRequestsPerSecond float64
}

// Config is what a [Refresher] needs. All fields but Leader are required.
type Config struct {
	Settings
	Guard    *quota.Guard
	Leader   Leader // nil if there is only one replica
	Observer Observer
	Advice   func(justoneapi.Kind) string // what to do about a failure, for the log
	Logger   log.Logger
}

// Refresher runs refreshes, one at a time. A refresh belongs to no scrape, and ends when all its requests have ended.
type Refresher struct {
	guard     *quota.Guard
	leader    Leader
	logger    log.Logger
	limiter   *rate.Limiter
	requester *requester

	stopping chan struct{} // closed by Close
	cancel   func()        // cancels the requests in flight
	running  sync.WaitGroup
	budget   budgetLog // of the refresh in progress

	mu       sync.Mutex // protects the following fields
	settings *Settings
	current  *run // nil while no refresh is in progress
	closed   bool
}

// New returns a refresher. It sends no request before the first [Refresher.Refresh], and must be closed.
func New(config Config) *Refresher {
	ctx, cancel := context.WithCancel(context.Background())
	r := &Refresher{
		guard:    config.Guard,
		leader:   config.Leader,
		logger:   config.Logger,
		limiter:  rate.NewLimiter(rate.Limit(config.MaxRequestsPerSecond), burst(config.MaxRequestsPerSecond)),
		stopping: make(chan struct{}),
		cancel:   cancel,
		settings: &config.Settings,
	}
	r.requester = newRequester(ctx, config, r.isClosed)
	return r
}

// Reload changes the settings and the limits of the guard. Requests in flight continue. A token that differs
// from the last one lifts a pause. Reload must not be called by two goroutines at a time.
func (r *Refresher) Reload(settings Settings, limits quota.Limits) {
	token := settings.Token() // may do I/O
	r.mu.Lock()
	r.settings = &settings
	r.limiter.SetLimit(rate.Limit(settings.MaxRequestsPerSecond))
	r.limiter.SetBurst(burst(settings.MaxRequestsPerSecond))
	r.guard.SetLimits(limits)
	if r.current != nil {
		r.current.notify()
	}
	r.mu.Unlock()
	r.setToken(&settings, token)
}

// burst returns how many requests may start together at a rate.
func burst(perSecond float64) int { return max(1, int(perSecond/10)) }

// setToken passes a token to the guard if it is that of the current settings.
func (r *Refresher) setToken(s *Settings, token justoneapi.Token) {
	r.mu.Lock()
	lifted := r.settings == s && r.guard.SetToken(token.Fingerprint)
	r.mu.Unlock()
	if lifted {
		level.Info(r.logger).Log("msg", "Resuming API requests, because the token has changed")
	}
}

// Refresh makes sure that the users that are due are requested, and waits for that until ctx ends. Requests that are
// still in flight then continue, and the next scrape exposes their responses. A refresh that an earlier call has
// already stopped waiting for is not waited for again, so that one slow response makes at most one slow scrape.
func (r *Refresher) Refresh(ctx context.Context) {
	current := r.join()
	if current == nil {
		return
	}
	select {
	case <-current.done:
	case <-ctx.Done():
		current.abandon()
	}
}

// join starts a refresh or joins the one in progress. It returns nil if there is none to wait for. During shutdown, a
// scrape only keeps this replica active, so that the responses in flight can be recorded.
func (r *Refresher) join() *run {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.current == nil && !r.closed {
		r.current = newRun(r)
		r.running.Go(r.current.loop)
	}
	current := r.current
	if current == nil {
		return nil
	}
	current.scrapes++
	current.notify()
	if current.abandoned || r.closed {
		return nil
	}
	return current
}

func (r *Refresher) isClosed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closed
}

// start asks the guard whether a request may start, unless the settings, and perhaps the token, have changed.
func (r *Refresher) start(s *started) (ok, current bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.settings != s.settings {
		return false, false
	}
	s.number, s.wait, ok = r.guard.Start(s.wmid)
	return ok, true
}

// Close lets no further request start and waits for those in flight. When ctx ends, it cancels them and waits a moment
// longer, since reading a token can hang. It may be called again.
func (r *Refresher) Close(ctx context.Context) {
	r.mu.Lock()
	first := !r.closed
	r.closed = true
	r.mu.Unlock()
	if first {
		close(r.stopping)
	}
	ended := make(chan struct{})
	go func() {
		r.running.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
		r.cancel()
		select {
		case <-ended:
		case <-time.After(time.Second):
		}
	}
}
