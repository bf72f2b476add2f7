package collector_test

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"

	"github.com/bilibili-exporter/bilibili_exporter/collector"
	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
	"github.com/bilibili-exporter/bilibili_exporter/collector/quota"
)

// memoryStore is a store that outlives the exporters of a test.
type memoryStore struct {
	mu      sync.Mutex // protects the following field
	records map[string][]byte
}

func (s *memoryStore) Put(changes map[string][]byte) func(context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, value := range changes {
		if value == nil {
			delete(s.records, key)
		} else {
			s.records[key] = value
		}
	}
	return func(context.Context) {}
}

func (s *memoryStore) contents() map[string][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.records)
}

// The cast of a season, by WMID.
const (
	healthy = 160 // 1 to 160: 15 minutes
	long    = 180 // … to 180: 6 hours
	dead    = 190 // … to 190: there is no such user
	hanging = 200 // … to 200: never answers
)

func seasonUsers() (users []quota.User, callsPerDay float64) {
	for wmid := int64(1); wmid <= hanging; wmid++ {
		user := quota.User{WMID: wmid, MinInterval: 15 * time.Minute}
		if wmid > healthy && wmid <= long {
			user.MinInterval = 6 * time.Hour
		}
		users = append(users, user)
		if wmid <= long { // dead users cost next to nothing
			callsPerDay += float64(24*time.Hour) / float64(user.MinInterval)
		}
	}
	callsPerDay += (hanging - dead) * 96
	return users, callsPerDay
}

// world is the API of a season, and at the same time the checker: it sees the
// requests, and knows nothing of the guard.
type world struct {
	t     *testing.T
	zone  *time.Location
	limit int
	start time.Time
	// outage says how the account and the API are at a time.
	outage func(t time.Time) *justoneapi.Error

	mu       sync.Mutex // protects the following fields
	asked    map[int64]*asked
	days     map[string]map[int64]int // calls that count, by date and user
	spent    map[string]int           // all calls, by date
	running  map[int64]time.Time
	date     string
	paused   time.Time       // no call may begin before
	length   time.Duration   // of that pause; 0 without one
	troubled map[string]bool // dates with an outage
	requests int
}

// asked is what the checker knows of a user.
type asked struct {
	last    time.Time     // start of the latest call that counts
	wait    time.Duration // at least, until the next
	streak  int           // of the same failure
	failure string
	longest time.Duration
}

func (w *world) dateOf(t time.Time) string { return t.In(w.zone).Format(time.DateOnly) }

// tick notices a new date: calls that run count in it.
func (w *world) tick() {
	if date := w.dateOf(time.Now()); date != w.date {
		w.date = date
		w.spent[date] += len(w.running)
		w.days[date] = make(map[int64]int)
	}
}

// minInterval is that of the season's users.
func minInterval(wmid int64) time.Duration {
	if wmid > healthy && wmid <= long {
		return 6 * time.Hour
	}
	return 15 * time.Minute
}

// begin checks that a request may be made now.
func (w *world) begin(wmid int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tick()
	now := time.Now()
	w.requests++
	w.spent[w.date]++
	if w.spent[w.date] > w.limit {
		w.t.Errorf("%v: request %d of %d on %s", now.In(w.zone), w.spent[w.date], w.limit, w.date)
	}
	if now.Before(w.paused) {
		w.t.Errorf("%v: user %d was asked about in the pause until %v", now.In(w.zone), wmid, w.paused.In(w.zone))
	}
	for other, since := range w.running {
		if w.length > 0 && !since.Before(w.paused) {
			w.t.Errorf("%v: users %d and %d probe at the same time", now, wmid, other)
		}
	}
	u := w.asked[wmid]
	if u == nil {
		u = &asked{}
		w.asked[wmid] = u
	} else if gap := now.Sub(u.last); !u.last.IsZero() {
		if gap < u.wait {
			w.t.Errorf("%v: user %d was asked about after %v, want %v at least (%s)", now.In(w.zone), wmid, gap, u.wait, u.failure)
		}
		u.longest = max(u.longest, gap)
	}
	w.running[wmid] = now
}

// end notes how the request of a user ended.
func (w *world) end(wmid int64, kind *justoneapi.Kind, cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tick()
	now := time.Now()
	u := w.asked[wmid]
	started := w.running[wmid]
	delete(w.running, wmid)
	failure := ""
	if kind != nil {
		failure = kind.Code
	}
	switch {
	case cut:
		failure = "cut"
	case kind != nil && kind.Scope == justoneapi.ScopeAccount:
		w.refused(kind.Reason, started, now)
		return
	case kind == nil || !kind.NoResponse:
		if !started.Before(w.paused) {
			w.length = 0 // lifted
		}
	}
	w.days[w.dateOf(started)][wmid]++
	u.last = started
	if failure != u.failure {
		u.streak = 0
	}
	u.failure = failure
	u.streak++
	u.wait = minInterval(wmid)
	switch failure {
	case "500":
		u.wait = min(time.Minute<<(min(u.streak, 20)-1), u.wait)
	case "-404":
		u.wait = min(u.wait<<min(u.streak, 20), 24*time.Hour)
	}
}

// refused notes a refusal of the account. Those of calls that were running
// when the pause began are part of it.
func (w *world) refused(reason justoneapi.Reason, started, now time.Time) {
	if w.length > 0 && started.Before(w.paused) {
		return
	}
	first, most := 5*time.Minute, time.Hour
	switch reason {
	case justoneapi.ReasonRateLimit:
		first, most = 30*time.Second, 10*time.Minute
	case justoneapi.ReasonDailyQuota:
		first = time.Hour
	}
	w.length = min(max(first, 2*w.length), most)
	w.paused = now.Add(w.length)
	if reason == justoneapi.ReasonDailyQuota {
		for t := now; t.Before(w.paused); t = t.Add(time.Second) {
			if w.dateOf(t) != w.dateOf(now) {
				w.paused = t.Truncate(time.Second)
				break
			}
		}
	}
}

// RelationStat answers as the season wants it.
func (w *world) RelationStat(ctx context.Context, _ justoneapi.Token, wmid int64) (justoneapi.Stat, error) {
	w.begin(wmid)
	err := w.answer(ctx, wmid)
	var kind *justoneapi.Kind
	if err != nil {
		kind = &err.Kind
	}
	w.end(wmid, kind, ctx.Err() == context.Canceled)
	if err != nil {
		return justoneapi.Stat{}, err
	}
	return justoneapi.Stat{Followers: wmid}, nil
}

func (w *world) answer(ctx context.Context, wmid int64) *justoneapi.Error {
	wait := time.Duration(rand.IntN(3000)) * time.Millisecond
	if wmid > dead {
		wait = time.Hour
	}
	select {
	case <-time.After(wait):
	case <-ctx.Done():
		return &justoneapi.Error{Kind: justoneapi.Kind{Code: justoneapi.CodeTimeout, NoResponse: true}}
	}
	if err := w.outage(time.Now()); err != nil {
		w.mu.Lock()
		w.troubled[w.dateOf(time.Now())] = true
		w.mu.Unlock()
		return err
	}
	if wmid > long {
		return &justoneapi.Error{Kind: justoneapi.Kind{Code: "-404", Scope: justoneapi.ScopeUser, Billing: justoneapi.Billed}}
	}
	return nil
}

// outages has, after a quiet week, a spell of trouble every third day.
func outages(start time.Time) func(time.Time) *justoneapi.Error {
	account := func(code string, reason justoneapi.Reason) *justoneapi.Error {
		return &justoneapi.Error{Kind: justoneapi.Kind{Code: code, Scope: justoneapi.ScopeAccount, Reason: reason, Billing: justoneapi.NotBilled}}
	}
	kinds := []*justoneapi.Error{
		{Kind: justoneapi.Kind{Code: "500", Billing: justoneapi.NotBilled}},
		account("100", justoneapi.ReasonToken),
		account("302", justoneapi.ReasonRateLimit),
		{Kind: justoneapi.Kind{Code: "http_502", NoResponse: true}},
		account("303", justoneapi.ReasonDailyQuota),
	}
	return func(t time.Time) *justoneapi.Error {
		day := int(t.Sub(start) / (24 * time.Hour))
		hour := t.Sub(start).Hours() - 24*float64(day)
		if day < 7 || day%3 != 0 || hour < 9 || hour > 12 {
			return nil
		}
		return kinds[day/3%len(kinds)]
	}
}

// TestSeason runs the exporter for 60 days that hold both changes of the clock,
// scraped by two Prometheus servers, with a budget that does not suffice, and
// proves for every request that it was allowed.
func TestSeason(t *testing.T) {
	for _, test := range []struct {
		name     string
		days     int
		share    float64 // of the calls wanted that the budget allows
		wantUsed float64
	}{
		{"half of the calls wanted", 60, 0.5, 0.99},
		{"nearly enough", 20, 0.95, 0.97},
	} {
		if testing.Short() {
			test.days = 16 // with one change of the clock
		}
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				zone, err := time.LoadLocation("Africa/Casablanca") // 25 hours on 15 February 2026, 23 on 22 March
				if err != nil {
					t.Fatal(err)
				}
				start := time.Date(2026, 2, 1, 0, 0, 0, 0, zone)
				time.Sleep(time.Until(start))
				_, wanted := seasonUsers()
				w := &world{
					t: t, zone: zone, limit: int(wanted * test.share), start: start, outage: outages(start),
					asked: make(map[int64]*asked), days: make(map[string]map[int64]int), spent: make(map[string]int),
					running: make(map[int64]time.Time), troubled: make(map[string]bool),
				}
				w.live(time.Duration(test.days) * 24 * time.Hour)
				w.report(test.wantUsed)
			})
		})
	}
}

// live scrapes for a while, with restarts in between.
func (w *world) live(duration time.Duration) {
	store := &memoryStore{records: make(map[string][]byte)}
	c := w.newCollector(store)
	var mu sync.Mutex
	current := func() *collector.Collector {
		mu.Lock()
		defer mu.Unlock()
		return c
	}
	end := time.Now().Add(duration)
	var servers sync.WaitGroup
	for _, offset := range []time.Duration{3 * time.Second, 28 * time.Second} {
		servers.Go(func() {
			for at := time.Now().Add(offset); at.Before(end); at = at.Add(time.Minute) {
				time.Sleep(time.Until(at) + rand.N(10*time.Millisecond))
				scrape(current(), 9500*time.Millisecond)
			}
		})
	}
	for time.Now().Before(end) {
		time.Sleep(2*time.Hour + rand.N(4*time.Hour))
		killed, cancel := context.WithCancel(context.Background())
		cancel()
		mu.Lock()
		c.Close(killed) // as kill -9 does: what runs is cut, and not recorded
		c = w.newCollector(store)
		mu.Unlock()
	}
	servers.Wait()
	c.Close(context.Background())
}

func (w *world) newCollector(store *memoryStore) *collector.Collector {
	guardUsers, _ := seasonUsers()
	var users []collector.User
	for _, user := range guardUsers {
		users = append(users, collector.User{WMID: user.WMID})
	}
	return collector.New(collector.Config{
		Settings: collector.Settings{
			API: w, Token: func() justoneapi.Token { return justoneapi.NewToken("season") }, Users: users,
			MaxAge: 24 * time.Hour, RequestTimeout: time.Minute, MaxConcurrency: 4, MaxRequestsPerSecond: 5,
		},
		Guard: quota.New(quota.Config{
			Limits: quota.Limits{Users: guardUsers, RetryInterval: time.Minute, DailyLimit: w.limit, Zone: w.zone},
			Store:  store, Records: store.contents(),
		}),
		CollectTimeout: 9500 * time.Millisecond, Logger: log.NewNopLogger(),
		Advice: func(justoneapi.Kind) string { return "do this" },
	})
}

// report says how well the budget was used.
func (w *world) report(wantUsed float64) {
	w.t.Helper()
	var used, possible, worst, days int
	for date, spent := range w.spent {
		if w.troubled[date] || date == w.date { // the last date is not over
			continue
		}
		days++
		used += spent
		possible += w.limit
		least, most := 1<<30, 0
		for wmid := int64(1); wmid <= healthy; wmid++ {
			least, most = min(least, w.days[date][wmid]), max(most, w.days[date][wmid])
		}
		worst = max(worst, most-least)
	}
	var longest []time.Duration
	for wmid := int64(1); wmid <= healthy; wmid++ {
		longest = append(longest, w.asked[wmid].longest)
	}
	slices.Sort(longest)
	median, most := longest[len(longest)/2], longest[len(longest)-1]
	share := float64(used) / float64(possible)
	w.t.Logf("%d requests; on %d quiet days %.2f %% of the budget was used, and equal users' calls differed by %d at most; longest gap: %v, median %v",
		w.requests, days, 100*share, worst, most, median)
	if share < wantUsed {
		w.t.Errorf("used %.4f of the budget, want %.2f", share, wantUsed)
	}
	if worst > 1 {
		w.t.Errorf("equal users' daily calls differ by %d, want 1 at most", worst)
	}
	if float64(most) > 1.1*float64(median) {
		w.t.Errorf("the longest gap is %v, want at most 1.1 × the median %v", most, median)
	}
	if days < 12 {
		w.t.Errorf("there were only %d quiet days", days)
	}
}
