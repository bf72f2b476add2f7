package refresh

import (
	"context"
	"sync"
	"time"

	"github.com/go-kit/log/level"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
)

// queueTimeout is how long after the last scrape users stay in the queue.
const queueTimeout = 5 * time.Minute

// leadTimeout is how long a refresh waits to learn whether this replica may send requests.
const leadTimeout = time.Second

// run is a refresh in progress.
type run struct {
	*Refresher
	startedAt time.Time
	wake      chan struct{} // buffered; signals that a scrape or reload arrived
	done      chan struct{} // closed at the end

	// The refresher's lock protects the following fields.
	scrapes   int  // number of scrapes since the guard was last asked which users are due
	abandoned bool // whether a scrape has stopped waiting for the refresh

	// Only the goroutine of the refresh uses the following fields.
	settings      *Settings
	token         justoneapi.Token
	leads         bool // whether this replica could send requests at the last scrape
	queue         queue
	queueEnd      time.Time         // when the queue is dropped
	finished      chan finishedSlot // of each request that has ended
	pendingWrites sync.WaitGroup    // requests that have ended, or have not started, and are being recorded
	progress      progress
}

// progress is what a refresh has done, for the log, in numbers of users.
type progress struct{ due, requested, failed int }

// finishedSlot is the slot of a request that has ended.
type finishedSlot struct {
	line         *waitingLine
	sent, failed bool
}

func newRun(r *Refresher) *run {
	return &run{
		Refresher: r, startedAt: time.Now(),
		wake: make(chan struct{}, 1), done: make(chan struct{}), finished: make(chan finishedSlot),
	}
}

// notify makes the refresh look at what has changed.
func (r *run) notify() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// abandon records that a scrape has stopped waiting for the refresh.
func (r *run) abandon() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.abandoned = true
}

// loop runs the refresh to its end.
func (r *run) loop() {
	stopping := r.stopping
	for {
		r.update()
		if r.isClosed() || !time.Now().Before(r.queueEnd) {
			r.queue.clear()
		}
		wait := r.startRequests()
		if !r.queue.waiting() && r.queue.inFlight() == 0 {
			if r.end() {
				return
			}
			continue
		}
		var timer <-chan time.Time
		if r.queue.waiting() {
			timer = time.After(min(wait, time.Until(r.queueEnd)))
		}
		select {
		case slot := <-r.finished:
			r.free(slot)
		case <-r.wake:
		case <-timer:
		case <-stopping:
			stopping = nil
		}
	}
}

// free frees the slot of a request that has ended.
func (r *run) free(slot finishedSlot) {
	slot.line.inFlight--
	switch {
	case !slot.sent:
		r.progress.requested--
		r.queue.clear() // it cannot be recorded, so neither could the next one
		return
	case slot.failed:
		r.progress.failed++
	}
	r.refill()
}

// update takes over new settings, and for a new scrape queues the users that are due. During shutdown, it only keeps an
// active replica active.
func (r *run) update() {
	scrapes, settings := r.take()
	closed := r.isClosed()
	if scrapes > 0 && (!closed || r.guard.Active()) {
		r.leads = r.lead()
	}
	if closed {
		return
	}
	if scrapes > 0 || settings != r.settings {
		r.settings, r.token = settings, settings.Token() // may do I/O
		r.setToken(settings, r.token)
		r.queue.resize(settings.MaxConcurrency)
	}
	switch {
	case scrapes == 0:
	case r.leads:
		r.queueEnd = time.Now().Add(queueTimeout)
		r.fill(scrapes)
		r.budget.update(r.logger, r.guard.Account())
		r.startBalance()
	default:
		r.queue.clear()
	}
}

// lead reports whether this replica may send requests. It has the guard load what another replica has changed.
func (r *run) lead() bool {
	if r.leader == nil {
		return true
	}
	ctx, cancel := context.WithTimeout(r.requester.base, leadTimeout)
	defer cancel()
	records, term, err := r.leader.Lead(ctx)
	if records != nil {
		r.guard.Load(records, term)
		r.requester.logInterrupted(r.guard.Interrupted())
		r.requester.logUnreadable(r.guard.Unreadable())
	}
	return err == nil && r.guard.Active()
}

// refill queues the users that are due again if some have been dropped, because of a pause that a response has lifted
// or a budget that was refunded since.
func (r *run) refill() {
	if r.queue.dropped && !r.guard.Paused() && time.Now().Before(r.queueEnd) {
		r.fill(0)
	}
}

// fill queues the users that are due, for a number of new scrapes.
func (r *run) fill(scrapes int) {
	due := r.guard.Due(r.settings.MaxConcurrency, scrapes)
	r.progress.due = r.progress.requested + len(due)
	r.queue.fill(due)
}

// take returns the number of scrapes since the last call, and the current settings.
func (r *run) take() (scrapes int, s *Settings) {
	r.mu.Lock()
	defer r.mu.Unlock()
	scrapes, r.scrapes = r.scrapes, 0
	return scrapes, r.Refresher.settings
}

// startBalance starts a request for the account's balance if one is due. The refresh does not wait for it.
func (r *run) startBalance() {
	if r.isClosed() {
		return
	}
	at := time.Now()
	if number, wait, ok := r.guard.StartBalance(); ok {
		s := started{number: number, at: at, wait: wait, settings: r.settings, token: r.token}
		r.running.Go(func() { r.requester.requestBalance(s) })
	}
}

// startRequests starts every request that may start now. It returns the time until the next one may, and queueTimeout
// if that depends on more than time.
//
// The requests are sent once all have been recorded by the guard, so that their records share a commit.
func (r *run) startRequests() time.Duration {
	var requests []func()
	defer func() {
		for _, request := range requests {
			r.pendingWrites.Go(request)
		}
	}()
	for {
		l := r.queue.next(r.guard.Allows)
		if l == nil {
			return queueTimeout
		}
		if wait := time.Until(l.due[0].At); wait > 0 {
			return wait
		}
		if wait := r.reserve(); wait > 0 {
			return wait
		}
		next := started{wmid: l.due[0].WMID, at: time.Now(), settings: r.settings, token: r.token}
		ok, current := r.start(&next)
		if !current {
			return 0
		}
		l.pop()
		if !ok {
			continue
		}
		l.inFlight++
		r.progress.requested++
		requests = append(requests, func() {
			sent, failed, wait := r.requester.request(next)
			r.finished <- finishedSlot{l, sent, failed}
			wait()
		})
	}
}

// reserve takes a request's share of the rate, or returns how long there is none.
func (r *run) reserve() time.Duration {
	share := r.limiter.Reserve()
	wait := share.Delay()
	if wait > 0 {
		share.Cancel()
	}
	return wait
}

// end records everything and ends the refresh, unless another scrape has arrived. It does not wait for a shared store
// that keeps this replica from sending requests, because it may hang.
func (r *run) end() bool {
	r.pendingWrites.Wait()
	if r.leads {
		r.guard.Flush(r.requester.base)
	}
	r.requester.logSuppressed()
	if !r.finish() {
		return false
	}
	if p := r.progress; r.leads || p.requested > 0 { // else another replica requests them
		level.Debug(r.logger).Log("msg", "Refresh finished", "due", p.due, "requested", p.requested, "failed", p.failed,
			"duration", time.Since(r.startedAt).Round(time.Millisecond))
	}
	close(r.done)
	return true
}

// finish ends a refresh that has nothing left to do, unless another scrape has arrived. No scrape prolongs shutdown.
func (r *run) finish() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.scrapes > 0 && !r.closed {
		return false
	}
	r.current = nil
	return true
}
