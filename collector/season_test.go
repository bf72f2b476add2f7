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

// memoryStore is a store in memory. It survives simulated restarts.
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

// The users of a season by WMID: each constant is the last WMID of its group.
const (
	lastHealthy   = 160 // every 15 minutes
	lastRare      = 180 // every 6 hours
	lastMissing   = 190 // no such user
	lastTimingOut = 200 // never a response
)

// seasonUsers returns the users, and the number of requests that their intervals make in a day.
func seasonUsers() (users []quota.User, requestsPerDay float64) {
	for wmid := int64(1); wmid <= lastTimingOut; wmid++ {
		user := quota.User{WMID: wmid, MinInterval: minInterval(wmid)}
		users = append(users, user)
		if wmid <= lastRare || wmid > lastMissing { // missing users back off to one request a day
			requestsPerDay += float64(24*time.Hour) / float64(user.MinInterval)
		}
	}
	return users, requestsPerDay
}

func minInterval(wmid int64) time.Duration {
	if wmid > lastHealthy && wmid <= lastRare {
		return 6 * time.Hour
	}
	return 15 * time.Minute
}

// seasonAPI is the API of a season. It also checks that each request is allowed, independently of the guard.
type seasonAPI struct {
	fixedBalance
	t     *testing.T
	zone  *time.Location
	limit int
	// outage returns the error of every request at a time, nil without an outage.
	outage func(t time.Time) *justoneapi.Error

	mu          sync.Mutex // protects the following fields
	users       map[int64]*userHistory
	perUser     map[string]map[int64]int // requests that were not refused, by date of their start and user
	used        map[string]int           // all requests in flight at some time of the date
	inFlight    map[int64]time.Time      // start of the request in flight, by user
	date        string
	pausedUntil time.Time       // no request may start before
	pauseLength time.Duration   // 0 without a pause
	outageDays  map[string]bool // dates with an outage
	requests    int
}

// userHistory is what the API has seen of a user.
type userHistory struct {
	lastStart  time.Time     // of the last request that was not refused
	minGap     time.Duration // from lastStart to the next start
	streak     int           // how many requests in a row had the same failure
	failure    string        // code of the last one; empty for a success
	longestGap time.Duration
}

func (a *seasonAPI) dateOf(t time.Time) string { return t.In(a.zone).Format(time.DateOnly) }

// enterDay notices a new date. Requests in flight count for it, too.
func (a *seasonAPI) enterDay() {
	if date := a.dateOf(time.Now()); date != a.date {
		a.date = date
		a.used[date] += len(a.inFlight)
		a.perUser[date] = make(map[int64]int)
	}
}

// start checks that a request may start now.
func (a *seasonAPI) start(wmid int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.enterDay()
	now := time.Now()
	a.requests++
	a.used[a.date]++
	if a.used[a.date] > a.limit {
		a.t.Errorf("%v: request %d of %d on %s", now.In(a.zone), a.used[a.date], a.limit, a.date)
	}
	if now.Before(a.pausedUntil) {
		a.t.Errorf("%v: user %d was requested during the pause until %v", now.In(a.zone), wmid, a.pausedUntil.In(a.zone))
	}
	for other, since := range a.inFlight {
		if a.pauseLength > 0 && !since.Before(a.pausedUntil) {
			a.t.Errorf("%v: users %d and %d are probes at the same time", now.In(a.zone), wmid, other)
		}
	}
	u := a.users[wmid]
	if u == nil {
		u = &userHistory{}
		a.users[wmid] = u
	}
	if gap := now.Sub(u.lastStart); !u.lastStart.IsZero() {
		if gap < u.minGap {
			a.t.Errorf("%v: user %d was requested after %v, want at least %v (last failure: %q)",
				now.In(a.zone), wmid, gap, u.minGap, u.failure)
		}
		u.longestGap = max(u.longestGap, gap)
	}
	a.inFlight[wmid] = now
}

// finish records how a request ended.
func (a *seasonAPI) finish(wmid int64, kind *justoneapi.Kind, canceled bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.enterDay()
	now := time.Now()
	u := a.users[wmid]
	started := a.inFlight[wmid]
	delete(a.inFlight, wmid)
	failure := ""
	if kind != nil {
		failure = kind.Code
	}
	switch {
	case canceled:
		failure = "canceled"
	case kind != nil && kind.Scope == justoneapi.ScopeAccount:
		a.refuse(kind.Reason, started, now)
		return
	case kind == nil || !kind.NoResponse:
		if !started.Before(a.pausedUntil) {
			a.pauseLength = 0 // the response ends the pause
		}
	}
	a.perUser[a.dateOf(started)][wmid]++
	u.lastStart = started
	if failure != u.failure {
		u.streak = 0
	}
	u.failure = failure
	u.streak++
	u.minGap = minInterval(wmid)
	switch failure {
	case "500":
		u.minGap = min(time.Minute<<(min(u.streak, 20)-1), u.minGap)
	case "-404":
		u.minGap = min(u.minGap<<min(u.streak, 20), 24*time.Hour)
	}
}

// refuse records a refusal of the account. Refusals of requests that were in flight when the pause started do not
// extend it.
func (a *seasonAPI) refuse(reason justoneapi.Reason, started, now time.Time) {
	if a.pauseLength > 0 && started.Before(a.pausedUntil) {
		return
	}
	first, longest := 5*time.Minute, time.Hour
	switch reason {
	case justoneapi.ReasonRateLimit:
		first, longest = 30*time.Second, 10*time.Minute
	case justoneapi.ReasonDailyQuota:
		first = time.Hour
	}
	a.pauseLength = min(max(first, 2*a.pauseLength), longest)
	a.pausedUntil = now.Add(a.pauseLength)
	if reason == justoneapi.ReasonDailyQuota {
		for t := now; t.Before(a.pausedUntil); t = t.Add(time.Second) {
			if a.dateOf(t) != a.dateOf(now) {
				a.pausedUntil = t.Truncate(time.Second)
				break
			}
		}
	}
}

// RelationStat implements refresh.API.
func (a *seasonAPI) RelationStat(ctx context.Context, _ justoneapi.Token, wmid int64) (justoneapi.Stat, error) {
	a.start(wmid)
	err := a.respond(ctx, wmid)
	var kind *justoneapi.Kind
	if err != nil {
		kind = &err.Kind
	}
	a.finish(wmid, kind, ctx.Err() == context.Canceled)
	if err != nil {
		return justoneapi.Stat{}, err
	}
	return justoneapi.Stat{Followers: wmid}, nil
}

func (a *seasonAPI) respond(ctx context.Context, wmid int64) *justoneapi.Error {
	latency := rand.N(3 * time.Second)
	if wmid > lastMissing {
		latency = time.Hour
	}
	select {
	case <-time.After(latency):
	case <-ctx.Done():
		return &justoneapi.Error{Kind: justoneapi.Kind{Code: justoneapi.CodeTimeout, NoResponse: true}}
	}
	if err := a.outage(time.Now()); err != nil {
		a.mu.Lock()
		a.outageDays[a.dateOf(time.Now())] = true
		a.mu.Unlock()
		return err
	}
	if wmid > lastRare {
		return &justoneapi.Error{Kind: justoneapi.Kind{
			Code: "-404", Scope: justoneapi.ScopeUser, Billing: justoneapi.Billed,
		}}
	}
	return nil
}

// outages returns an outage of three hours on every third day, after a quiet week.
func outages(start time.Time) func(time.Time) *justoneapi.Error {
	account := func(code string, reason justoneapi.Reason) *justoneapi.Error {
		return &justoneapi.Error{Kind: justoneapi.Kind{
			Code: code, Scope: justoneapi.ScopeAccount, Reason: reason, Billing: justoneapi.NotBilled,
		}}
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

// TestSeason simulates 60 days with both changes to and from daylight saving time, two Prometheus servers, and a budget
// that is too small. It checks that every request was allowed.
func TestSeason(t *testing.T) {
	for _, test := range []struct {
		name     string
		days     int
		share    float64 // of the requests per day that the budget allows
		wantUsed float64
	}{
		{"half of the requests", 60, 0.5, 0.99},
		{"nearly enough", 20, 0.95, 0.97},
	} {
		if testing.Short() {
			test.days = 16 // with one of the changes
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
				_, requestsPerDay := seasonUsers()
				api := &seasonAPI{
					t: t, zone: zone, limit: int(requestsPerDay * test.share), outage: outages(start),
					users: make(map[int64]*userHistory), perUser: make(map[string]map[int64]int),
					used: make(map[string]int), inFlight: make(map[int64]time.Time), outageDays: make(map[string]bool),
				}
				api.run(time.Duration(test.days) * 24 * time.Hour)
				api.report(test.wantUsed)
			})
		})
	}
}

// run scrapes for the duration, and kills and restarts the exporter in between.
func (a *seasonAPI) run(duration time.Duration) {
	store := &memoryStore{records: make(map[string][]byte)}
	c := a.newCollector(store)
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
		canceled, cancel := context.WithCancel(context.Background())
		cancel()
		mu.Lock()
		c.Close(canceled) // like kill -9: requests in flight are canceled and not recorded
		c = a.newCollector(store)
		mu.Unlock()
	}
	servers.Wait()
	c.Close(context.Background())
}

func (a *seasonAPI) newCollector(store *memoryStore) *collector.Collector {
	guardUsers, _ := seasonUsers()
	var users []collector.User
	for _, user := range guardUsers {
		users = append(users, collector.User{WMID: user.WMID})
	}
	return collector.New(collector.Config{
		Settings: collector.Settings{
			API: a, Token: func() justoneapi.Token { return justoneapi.NewToken("season") }, Users: users,
			MaxAge: 24 * time.Hour, RequestTimeout: time.Minute, MaxConcurrency: 4, MaxRequestsPerSecond: 5,
		},
		Guard: quota.New(quota.Config{
			Limits: quota.Limits{Users: guardUsers, RetryInterval: time.Minute, DailyLimit: a.limit, Zone: a.zone},
			Store:  store, Records: store.contents(),
		}),
		CollectTimeout: 9500 * time.Millisecond, Logger: log.NewNopLogger(),
		Advice: func(justoneapi.Kind) string { return "do this" },
	})
}

// report logs how much of the budget was used and how evenly, and checks both on the days without an outage.
func (a *seasonAPI) report(wantUsed float64) {
	a.t.Helper()
	var used, days, difference int
	for date, requests := range a.used {
		if a.outageDays[date] || date == a.date { // the last date is incomplete
			continue
		}
		days++
		used += requests
		fewest, most := 1<<30, 0
		for wmid := int64(1); wmid <= lastHealthy; wmid++ {
			fewest, most = min(fewest, a.perUser[date][wmid]), max(most, a.perUser[date][wmid])
		}
		difference = max(difference, most-fewest)
	}
	var gaps []time.Duration // the longest of each user
	for wmid := int64(1); wmid <= lastHealthy; wmid++ {
		gaps = append(gaps, a.users[wmid].longestGap)
	}
	slices.Sort(gaps)
	median, longest := gaps[len(gaps)/2], gaps[len(gaps)-1]
	share := float64(used) / float64(days*a.limit)
	a.t.Logf("%d requests; on %d quiet days %.2f %% of the budget was used, "+
		"and equal users' requests differed by %d at most; longest gap %v, median %v",
		a.requests, days, 100*share, difference, longest, median)
	if share < wantUsed {
		a.t.Errorf("used %.4f of the budget, want at least %.2f", share, wantUsed)
	}
	if difference > 1 {
		a.t.Errorf("equal users' daily requests differ by %d, want 1 at most", difference)
	}
	if float64(longest) > 1.1*float64(median) {
		a.t.Errorf("the longest gap is %v, want at most 1.1 × the median %v", longest, median)
	}
	if days < 12 {
		a.t.Errorf("got %d quiet days, want at least 12", days)
	}
}
