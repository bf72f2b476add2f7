package collector

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

// patience is how long after the last scrape users still wait for their turn.
const patience = 5 * time.Minute

// refresher runs refreshes, one at a time. A refresh calls the API for every
// user that is due; it belongs to no scrape, and ends when all its calls have.
type refresher struct {
	guard   *quota.Guard
	logger  log.Logger
	limiter *rate.Limiter
	calls   *caller

	spent bool // whether the day's budget was used up at the latest scrape; the running refresh's

	stopping chan struct{} // closed by close
	cut      func()        // ends the calls that run
	running  sync.WaitGroup

	mu       sync.Mutex // protects the following fields
	settings *settings
	current  *refresh // nil while none runs
	closed   bool
}

// settings are settings in force.
type settings struct {
	Settings
	index map[int64]int // of each user, by WMID
}

func newSettings(s Settings) *settings {
	index := make(map[int64]int, len(s.Users))
	for i, user := range s.Users {
		index[user.WMID] = i
	}
	return &settings{s, index}
}

// refresh is a running refresh. Its fields but the channels are protected by
// the refresher's lock.
type refresh struct {
	wake    chan struct{} // has room for one: a scrape or a reload has come
	done    chan struct{} // closed at the end
	scrapes int           // that have come since the guard was last asked who is due
	inVain  time.Duration // how long scrapes have waited for it that then gave up
}

func newRefresher(config Config, s *settings, requests *requestMetrics) *refresher {
	ctx, cancel := context.WithCancel(context.Background())
	return &refresher{
		guard:    config.Guard,
		logger:   config.Logger,
		limiter:  rate.NewLimiter(rate.Limit(config.MaxRequestsPerSecond), burst(config.MaxRequestsPerSecond)),
		calls:    newCaller(ctx, config, requests),
		stopping: make(chan struct{}),
		cut:      cancel,
		settings: s,
	}
}

// reload changes the settings, and the limits of the guard with them.
func (r *refresher) reload(s *settings, limits quota.Limits) {
	token := s.Token() // may take its time
	r.mu.Lock()
	r.settings = s
	r.limiter.SetLimit(rate.Limit(s.MaxRequestsPerSecond))
	r.limiter.SetBurst(burst(s.MaxRequestsPerSecond))
	r.guard.SetLimits(limits)
	if r.current != nil {
		r.current.rouse()
	}
	r.mu.Unlock()
	r.setToken(s, token)
}

// burst returns how many calls may begin together at a rate.
func burst(perSecond float64) int { return max(1, int(perSecond/10)) }

// setToken tells the guard which token serves, if it is the one of the settings
// in force.
func (r *refresher) setToken(s *settings, token justoneapi.Token) {
	r.mu.Lock()
	lifted := r.settings == s && r.guard.SetToken(token.Fingerprint)
	r.mu.Unlock()
	if lifted {
		level.Info(r.logger).Log("msg", "Calls go on: the token has changed")
	}
}

// rouse makes a refresh look at what has changed.
func (f *refresh) rouse() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// refresh starts a refresh, or joins the one that runs, and waits for its end
// or for ctx's. The time that earlier callers have waited for it in vain is
// taken off: a slow answer makes one slow scrape, not every one.
func (r *refresher) refresh(ctx context.Context) {
	f, inVain := r.join()
	if f == nil {
		return
	}
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-inVain))
		defer cancel()
	}
	start := time.Now()
	select {
	case <-f.done:
	case <-ctx.Done():
		r.giveUp(f, time.Since(start))
	}
}

// join returns the refresh to wait for, nil if there is none, and how long
// others have waited for it in vain.
func (r *refresher) join() (*refresh, time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, 0
	}
	f := r.current
	if f == nil {
		f = &refresh{wake: make(chan struct{}, 1), done: make(chan struct{})}
		r.current = f
		r.running.Go(func() { r.run(f) })
	}
	f.scrapes++
	f.rouse()
	return f, f.inVain
}

func (r *refresher) giveUp(f *refresh, waited time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f.inVain += waited
}

// take returns how many scrapes have come since it was last asked, and the
// settings in force.
func (r *refresher) take(f *refresh) (scrapes int, s *settings) {
	r.mu.Lock()
	defer r.mu.Unlock()
	scrapes, f.scrapes = f.scrapes, 0
	return scrapes, r.settings
}

func (r *refresher) isClosed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closed
}

// finish ends a refresh that has nothing left to do, unless a scrape has come.
func (r *refresher) finish(f *refresh) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f.scrapes > 0 {
		return false
	}
	r.current = nil
	close(f.done)
	return true
}

// run is a refresh from its beginning to its end.
func (r *refresher) run(f *refresh) {
	var (
		inForce  *settings
		token    justoneapi.Token
		patient  time.Time // when the queue is given up
		queue    queue
		saving   sync.WaitGroup // calls that are being recorded as ended
		ended    = make(chan *lane)
		stopping = r.stopping
	)
	for {
		scrapes, current := r.take(f)
		if scrapes > 0 || current != inForce {
			inForce, token = current, current.Token() // may take its time
			r.setToken(current, token)
			queue.resize(current.MaxConcurrency)
		}
		if scrapes > 0 {
			patient = time.Now().Add(patience)
			queue.fill(r.guard.Due(current.MaxConcurrency, scrapes))
			r.logBudget()
		}
		if r.isClosed() || !time.Now().Before(patient) {
			queue.clear()
		}
		wait := r.start(&queue, inForce, token, ended, &saving)
		if !queue.waiting() && queue.running() == 0 {
			saving.Wait()
			r.guard.Flush(r.calls.base)
			r.calls.logRest()
			if r.finish(f) {
				return
			}
			continue
		}
		var timer <-chan time.Time
		if queue.waiting() {
			timer = time.After(min(wait, time.Until(patient)))
		}
		select {
		case l := <-ended:
			l.running--
		case <-f.wake:
		case <-timer:
		case <-stopping:
			stopping = nil
		}
	}
}

// start begins every call whose turn has come. It returns how long it is to
// the next turn, and patience if that waits for more than time.
//
// The calls are made when all have begun: so their records share a commit.
func (r *refresher) start(q *queue, s *settings, token justoneapi.Token, ended chan<- *lane, saving *sync.WaitGroup) time.Duration {
	var calls []func()
	defer func() {
		for _, call := range calls {
			saving.Go(call)
		}
	}()
	for {
		l := q.next(r.guard.Allows)
		if l == nil {
			return patience
		}
		if wait := l.until(); wait > 0 {
			return wait
		}
		if wait := r.delay(); wait > 0 {
			return wait
		}
		begun, ok, current := r.begin(s, l.first())
		if !current {
			return 0
		}
		wmid := l.pop()
		if !ok {
			continue
		}
		user := s.Users[s.index[wmid]] // begin has seen that s is in force: the guard has s's users
		l.running++
		calls = append(calls, func() {
			recorded := r.calls.call(s, token, user, begun)
			ended <- l
			recorded(r.calls.base)
		})
	}
}

// logBudget tells when the day has no calls left, and when calls go on.
func (r *refresher) logBudget() {
	status := r.guard.Account()
	spent := status.Limit > 0 && status.Remaining == 0
	switch {
	case spent && !r.spent:
		level.Warn(r.logger).Log("msg", "Today's budget is used up: no calls until the quota day ends", "daily_limit", status.Limit,
			"calls_go_on", formatTime(status.Reset), "advice", "Raise quota.daily_limit if the account allows more, or lengthen the intervals.")
	case !spent && r.spent:
		level.Info(r.logger).Log("msg", "Calls go on: there is a budget again", "daily_limit", status.Limit, "remaining", status.Remaining)
	}
	r.spent = spent
}

// begin asks the guard whether a call may begin, unless its settings, and
// perhaps its token, are not in force any more.
func (r *refresher) begin(s *settings, wmid int64) (recorded func(context.Context), ok, current bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.settings != s {
		return nil, false, false
	}
	recorded, ok = r.guard.Start(wmid)
	return recorded, ok, true
}

// delay takes a call's share of the rate, or returns how long there is none.
func (r *refresher) delay() time.Duration {
	share := r.limiter.Reserve()
	wait := share.Delay()
	if wait > 0 {
		share.Cancel()
	}
	return wait
}

// close keeps calls from beginning and waits for those that run. When ctx
// ends, it cuts them, and waits but a moment longer: reading a token can hang.
func (r *refresher) close(ctx context.Context) {
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
		r.cut()
		select {
		case <-ended:
		case <-time.After(time.Second):
		}
	}
}
