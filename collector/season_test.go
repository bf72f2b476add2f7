package collector_test

import (
	"context"
	"maps"
	"math"
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

func (s *memoryStore) Put(_ int64, changes map[string][]byte) func(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, value := range changes {
		if value == nil {
			delete(s.records, key)
		} else {
			s.records[key] = value
		}
	}
	return func(context.Context) error { return nil }
}

func (s *memoryStore) contents() map[string][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.records)
}

// The users of a season by WMID: each constant is the last WMID of its group.
const (
	lastHealthy = 160 // every 15 minutes
	lastRare    = 180 // every 6 hours
	lastMissing = 190 // no such user
	lastOdd     = 200 // every 15 minutes; in some seasons there is never a response
)

func minInterval(wmid int64) time.Duration {
	if wmid > lastHealthy && wmid <= lastRare {
		return 6 * time.Hour
	}
	return 15 * time.Minute
}

// seasonUsers returns the users, and the number of requests that their intervals make in a day.
func seasonUsers() (users []quota.User, requestsPerDay float64) {
	for wmid := int64(1); wmid <= lastOdd; wmid++ {
		user := quota.User{WMID: wmid, MinInterval: minInterval(wmid)}
		users = append(users, user)
		if wmid <= lastRare || wmid > lastMissing { // missing users back off to one request a day
			requestsPerDay += float64(24*time.Hour) / float64(user.MinInterval)
		}
	}
	return users, requestsPerDay
}

const (
	seasonLatency = 3 * time.Second // longest time until a response
	seasonTimeout = time.Minute
	seasonSlots   = 4
	seasonRate    = 5
	seasonBalance = 6 * time.Hour // interval between two requests for the balance
)

// outage is a time during which all requests fail.
type outage struct {
	name     string
	from, to time.Time
	failures []justoneapi.Kind // one of them at random
	upstream bool              // whether it is an outage of the upstream, and not a refusal of the account

	cost  int                     // requests that failed because of it
	fresh map[int64]time.Duration // how long after its end each user had a value again
}

func (o *outage) contains(t time.Time) bool { return !t.Before(o.from) && t.Before(o.to) }

// scheduleOutages returns an outage on every third day, after a calm week. Outages of Bilibili and of the API last for
// 8 hours, others for 3.
func scheduleOutages(start time.Time, days int) []*outage {
	account := func(code string) []justoneapi.Kind { return []justoneapi.Kind{justoneapi.Explain(code, false)} }
	kinds := []outage{
		{name: "Bilibili", upstream: true, failures: []justoneapi.Kind{justoneapi.Explain("-503", true)}},
		{name: "API", upstream: true, failures: []justoneapi.Kind{
			justoneapi.Explain("timeout", false), justoneapi.Explain("http_502", false),
		}},
		{name: "rate limit", failures: account("302")},
		{name: "token", failures: account("100")},
		{name: "collection", upstream: true, failures: account("500")},
		{name: "daily quota", failures: account("303")},
	}
	var all []*outage
	for day := 9; day < days; day += 3 {
		o := kinds[(day-9)/3%len(kinds)]
		hours := 3
		if o.name == "Bilibili" || o.name == "API" {
			hours = 8
		}
		o.from = start.Add(time.Duration(24*day+9) * time.Hour)
		o.to = o.from.Add(time.Duration(hours) * time.Hour)
		o.fresh = make(map[int64]time.Duration)
		all = append(all, &o)
	}
	return all
}

// seasonAPI is the API of a season. It also checks that each request is allowed, independently of the guard: it knows
// the requests and its own responses only.
type seasonAPI struct {
	t        *testing.T
	start    time.Time
	zone     *time.Location
	limit    int
	hanging  bool // whether there is never a response for the users after lastMissing
	schedule []*outage

	mu       sync.Mutex // protects the following fields
	requests int
	users    map[int64]*userHistory
	inFlight map[int64]time.Time // starts of the requests in flight
	today    *dayTally
	days     []*dayTally
	pause    pauseModel
	balance  time.Time // start of the last request for the balance
	balances int
}

// dayTally counts requests in a quota day. One that is in flight at midnight counts in both days.
type dayTally struct {
	date    string
	weather weather
	charged int           // not proven to be uncounted: value, billed failure, unknown outcome, or in flight
	counted int           // responses with code 0, which the vendor counts
	values  int           // requests started on this day that returned a value
	perUser map[int64]int // requests started on this day that were charged
}

// userHistory is what the API has seen of a user.
type userHistory struct {
	lastStart  time.Time     // of the last request that was not refused
	weather    weather       // at lastStart
	minGap     time.Duration // from lastStart to the next start
	streak     int           // how many requests in a row ended in the same way
	ending     string        // how the last one ended
	longestGap time.Duration // between two requests, both on calm days
}

// pauseModel is the pause that requests must respect.
type pauseModel struct {
	reason   string // empty for none
	length   time.Duration
	until    time.Time // no request starts before it, and one at a time after it
	began    time.Time
	failures int // in a row, upstream
}

// end records how a request ended that was not canceled.
func (p *pauseModel) end(kind *justoneapi.Kind, started, now time.Time) {
	probe := p.reason != "" && !started.Before(p.until)
	switch {
	case kind != nil && kind.Scope == justoneapi.ScopeAccount:
		p.failures = 0
		p.begin(string(kind.Reason), probe, started, now)
	case kind != nil && kind.Scope == justoneapi.ScopeUpstream:
		p.failures++
		switch {
		case probe && p.reason == "outage":
			p.begin("outage", probe, started, now)
			return
		case probe && kind.NoResponse:
			p.until = now.Add(p.length)
		case probe:
			p.reason = ""
		}
		if p.failures >= 5 && p.reason == "" {
			p.begin("outage", false, started, now)
		}
	default:
		p.failures = 0
		if probe || p.reason == "outage" {
			p.reason = ""
		}
	}
}

// begin starts or extends the pause. Requests that were in flight when the last one began neither extend it nor start
// it again.
func (p *pauseModel) begin(reason string, probe bool, started, now time.Time) {
	if !probe && started.Before(p.began) && (p.reason == "" || p.reason == reason) {
		return
	}
	first, longest := 5*time.Minute, time.Hour
	switch reason {
	case "rate_limit":
		first, longest = 30*time.Second, 10*time.Minute
	case "outage":
		first, longest = time.Minute, 10*time.Minute
	case "daily_quota":
		first = time.Hour
	}
	length := first
	if probe && p.reason == reason {
		length = min(2*p.length, longest)
	}
	if !probe && p.reason != "" && p.until.After(now.Add(length)) {
		return // of two pauses, the later end wins
	}
	p.reason, p.length, p.until, p.began = reason, length, now.Add(length), now
}

func (a *seasonAPI) date(t time.Time) string { return t.In(a.zone).Format(time.DateOnly) }

// outageAt returns the outage at a time, nil for none.
func (a *seasonAPI) outageAt(t time.Time) *outage {
	for _, o := range a.schedule {
		if o.contains(t) {
			return o
		}
	}
	return nil
}

// weather is what a day of a season is like.
type weather string

const (
	weatherCalm    weather = "calm"    // no failures but those of odd users
	weatherFailing weather = "failing" // one request in ten fails without being billed
	weatherOutages weather = "outages" // there is also an outage
)

// weatherAt returns the weather at a time: a calm week, and then days of each kind in turn.
func (a *seasonAPI) weatherAt(t time.Time) weather {
	day := 0
	for date := a.start; !date.AddDate(0, 0, 1).After(t); date = date.AddDate(0, 0, 1) {
		day++
	}
	if day < 7 {
		return weatherCalm
	}
	return []weather{weatherOutages, weatherFailing, weatherCalm}[day%3]
}

// enterDay notices a new date. Requests in flight are charged to it, too.
func (a *seasonAPI) enterDay(now time.Time) {
	if date := a.date(now); a.today == nil || date != a.today.date {
		a.today = &dayTally{date: date, weather: a.weatherAt(now), charged: len(a.inFlight), perUser: make(map[int64]int)}
		a.days = append(a.days, a.today)
	}
	if a.pause.reason == "daily_quota" && a.date(a.pause.began) != a.today.date && a.pause.until.After(now) {
		a.pause.until = now // the quota day has ended
	}
}

// startDay returns the tally of the day of a request that has just ended.
func (a *seasonAPI) startDay(started time.Time) *dayTally {
	if n := len(a.days); n > 1 && a.date(started) == a.days[n-2].date {
		return a.days[n-2]
	}
	return a.today
}

// allow checks that a request may start now, and returns the weather.
func (a *seasonAPI) allow(wmid int64) weather {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	a.enterDay(now)
	a.requests++
	a.today.charged++
	if a.today.charged > a.limit {
		a.t.Errorf("%v: %d requests of %d are charged", now.In(a.zone), a.today.charged, a.limit)
	}
	if p := &a.pause; p.reason != "" {
		if now.Before(p.until) {
			a.t.Errorf("%v: user %d was requested during the pause for %s until %v",
				now.In(a.zone), wmid, p.reason, p.until.In(a.zone))
		}
		for other, since := range a.inFlight {
			if !since.Before(p.until) {
				a.t.Errorf("%v: users %d and %d are probes at the same time", now.In(a.zone), wmid, other)
			}
		}
	}
	u := a.users[wmid]
	if u == nil {
		u = &userHistory{}
		a.users[wmid] = u
	}
	if gap := now.Sub(u.lastStart); !u.lastStart.IsZero() {
		if gap < u.minGap {
			a.t.Errorf("%v: user %d was requested after %v, want at least %v (last ending: %q)",
				now.In(a.zone), wmid, gap, u.minGap, u.ending)
		}
		if a.today.weather == weatherCalm && u.weather == weatherCalm {
			u.longestGap = max(u.longestGap, gap)
		}
	}
	a.inFlight[wmid] = now
	return a.today.weather
}

// finish records how a request ended: with a value if kind is nil.
func (a *seasonAPI) finish(wmid int64, kind *justoneapi.Kind, canceled bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	a.enterDay(now)
	u, started := a.users[wmid], a.inFlight[wmid]
	delete(a.inFlight, wmid)
	day := a.startDay(started)

	if !canceled && (kind == nil || kind.Bilibili) {
		a.today.counted++
		if day != a.today {
			day.counted++
		}
		if max(day.counted, a.today.counted) > a.limit {
			a.t.Errorf("%v: the vendor has counted %d of %d requests", now.In(a.zone), a.today.counted, a.limit)
		}
	}
	if !canceled && kind != nil && kind.Billing == justoneapi.NotBilled {
		a.today.charged--
		if day != a.today {
			day.charged--
		}
	} else {
		day.perUser[wmid]++
	}
	if canceled && a.pause.reason != "" && !started.Before(a.pause.until) {
		a.pause.until = started.Add(a.pause.length) // as if the probe had no response
	}
	if !canceled {
		a.pause.end(kind, started, now)
	}
	if kind != nil && kind.Scope == justoneapi.ScopeAccount {
		return
	}

	ending := "value"
	switch {
	case canceled:
		ending = "canceled"
	case kind == nil:
		day.values++
		a.noteValue(wmid, now)
	case kind.Scope == justoneapi.ScopeUser:
		ending = "own error"
	case kind.Billing == justoneapi.NotBilled:
		ending = "unbilled"
	default:
		ending = "perhaps billed"
	}
	if ending != u.ending {
		u.streak = 0
	}
	u.streak++
	u.lastStart, u.weather, u.ending, u.minGap = started, day.weather, ending, minInterval(wmid)
	switch ending {
	case "unbilled":
		u.minGap = min(time.Minute<<(min(u.streak, 20)-1), u.minGap)
	case "own error":
		u.minGap = min(u.minGap<<min(u.streak, 20), 24*time.Hour)
	}
}

// noteValue records that a user has a new value.
func (a *seasonAPI) noteValue(wmid int64, now time.Time) {
	for _, o := range a.schedule {
		if _, known := o.fresh[wmid]; !known && !now.Before(o.to) {
			o.fresh[wmid] = now.Sub(o.to)
		}
	}
}

// RelationStat implements refresh.API.
func (a *seasonAPI) RelationStat(ctx context.Context, _ justoneapi.Token, wmid int64) (justoneapi.Stat, error) {
	weather := a.allow(wmid)
	kind := a.respond(ctx, weather, wmid)
	a.finish(wmid, kind, ctx.Err() == context.Canceled)
	if kind != nil {
		return justoneapi.Stat{}, &justoneapi.Error{Kind: *kind}
	}
	return justoneapi.Stat{Followers: wmid}, nil
}

// respond returns the failure of a request, nil for none.
func (a *seasonAPI) respond(ctx context.Context, weather weather, wmid int64) *justoneapi.Kind {
	fail := func(code string, bilibili bool) *justoneapi.Kind {
		kind := justoneapi.Explain(code, bilibili)
		return &kind
	}
	latency := rand.N(seasonLatency)
	var failure *justoneapi.Kind
	if o := a.outageAt(time.Now().Add(latency)); o != nil {
		failure = &o.failures[rand.N(len(o.failures))]
		a.mu.Lock()
		o.cost++
		a.mu.Unlock()
	} else if wmid > lastMissing && a.hanging {
		failure = fail("timeout", false)
	} else if wmid > lastRare && wmid <= lastMissing {
		failure = fail("-404", true)
	} else if weather != weatherCalm && rand.N(10) == 0 && !a.recovering(time.Now()) {
		failure = fail([]string{"301", "500"}[rand.N(2)], false)
	}
	if failure != nil && failure.Code == "timeout" {
		<-ctx.Done()
		return failure
	}
	select {
	case <-time.After(latency):
		return failure
	case <-ctx.Done():
		return fail("timeout", false)
	}
}

// recovering reports whether an outage has just ended: the season measures how soon users are fresh again, without
// other failures.
func (a *seasonAPI) recovering(now time.Time) bool {
	return slices.ContainsFunc(a.schedule, func(o *outage) bool {
		return !now.Before(o.to) && now.Sub(o.to) < 20*time.Minute
	})
}

// Balance implements refresh.API. Requests for the balance are at least an interval apart.
func (a *seasonAPI) Balance(context.Context, justoneapi.Token) (justoneapi.Balance, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	if gap := now.Sub(a.balance); gap < seasonBalance {
		a.t.Errorf("%v: the balance was requested after %v", now.In(a.zone), gap)
	}
	a.balance = now
	a.balances++
	return justoneapi.Balance{Amount: 100, Currency: "CNY"}, nil
}

// sleepUntilSeason sleeps until a season starts, at a midnight in a zone that changes to and from daylight saving time.
func sleepUntilSeason(t *testing.T) (start time.Time) {
	zone, err := time.LoadLocation("Africa/Casablanca") // 25 hours on 15 February 2026, 23 on 22 March
	if err != nil {
		t.Fatal(err)
	}
	start = time.Date(2026, 2, 1, 0, 0, 0, 0, zone)
	time.Sleep(time.Until(start))
	return start
}

// TestSeason simulates 60 days with both changes to and from daylight saving time, two Prometheus servers, kills,
// outages, failures, and a budget that is too small. It checks that every request was allowed.
func TestSeason(t *testing.T) {
	tests := []struct {
		name       string
		days       int
		share      float64 // of the requests per day that the budget allows
		hanging    bool
		wantUsed   float64 // share of the budget that is charged on calm days
		wantValues float64 // share of the budget that turns into values on days with failures
	}{
		{"half of the requests", 60, 0.5, false, 0.99, 0.99},
		{"nearly enough, with users that time out", 16, 0.95, true, 0.98, 0.9},
	}
	if testing.Short() { // for the race detector, which takes ten times as long
		tests = tests[:1]
		tests[0].days = 16 // with one of the changes
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				start := sleepUntilSeason(t)
				_, requestsPerDay := seasonUsers()
				api := &seasonAPI{
					t: t, start: start, zone: start.Location(), limit: int(requestsPerDay * test.share), hanging: test.hanging,
					schedule: scheduleOutages(start, test.days),
					users:    make(map[int64]*userHistory), inFlight: make(map[int64]time.Time),
				}
				api.run(time.Duration(test.days) * 24 * time.Hour)
				api.reportDays(test.wantUsed, test.wantValues)
				api.reportOutages()
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
			MaxAge: 24 * time.Hour, BalanceInterval: seasonBalance,
			RequestTimeout: seasonTimeout, MaxConcurrency: seasonSlots, MaxRequestsPerSecond: seasonRate,
		},
		Guard: quota.New(quota.Config{
			Limits: quota.Limits{
				Users: guardUsers, RetryInterval: time.Minute, DailyLimit: a.limit, Zone: a.zone,
				BalanceInterval: seasonBalance,
			},
			Store: store, Records: store.contents(), Term: 1,
		}),
		CollectTimeout: 9500 * time.Millisecond, Logger: log.NewNopLogger(),
		Advice: func(justoneapi.Kind) string { return "do this" },
	})
}

// reportDays logs how much of the budget was used, for what and how evenly, and checks it.
func (a *seasonAPI) reportDays(wantUsed, wantValues float64) {
	a.t.Helper()
	var mostCharged, mostCounted, difference int
	days, charged, values := make(map[weather]int), make(map[weather]int), make(map[weather]int)
	least := 1.                                  // of a user's share of an even distribution, on days with failures
	for _, day := range a.days[:len(a.days)-1] { // the last one is incomplete
		mostCharged, mostCounted = max(mostCharged, day.charged), max(mostCounted, day.counted)
		days[day.weather]++
		charged[day.weather] += day.charged
		values[day.weather] += day.values
		fewest, most, sum := math.MaxInt, 0, 0
		for wmid := int64(1); wmid <= lastHealthy; wmid++ {
			n := day.perUser[wmid]
			fewest, most, sum = min(fewest, n), max(most, n), sum+n
		}
		switch day.weather {
		case weatherCalm:
			difference = max(difference, most-fewest)
		case weatherFailing:
			least = min(least, float64(fewest)*lastHealthy/float64(sum))
		}
	}
	var gaps []time.Duration // the longest of each user
	for wmid := int64(1); wmid <= lastHealthy; wmid++ {
		gaps = append(gaps, a.users[wmid].longestGap)
	}
	slices.Sort(gaps)
	median, longest := gaps[len(gaps)/2], gaps[len(gaps)-1]
	share := func(n map[weather]int, w weather) float64 { return float64(n[w]) / float64(days[w]*a.limit) }
	used, valued := share(charged, weatherCalm), share(values, weatherFailing)
	a.t.Logf("%d requests; of a budget of %d a day, at most %d were charged and %d counted by the vendor. "+
		"On %d calm days %.2f %% of it was charged, equal users' requests differed by %d at most, and the longest gap "+
		"between two was %v, median %v. On %d days on which a tenth of the requests failed, %.2f %% of it turned into "+
		"values, and every user had at least %.0f %% of its share. %d requests for the balance",
		a.requests, a.limit, mostCharged, mostCounted, days[weatherCalm], 100*used, difference, longest, median,
		days[weatherFailing], 100*valued, 100*least, a.balances)
	if used < wantUsed || valued < wantValues {
		a.t.Errorf("used %.4f of the budget, %.4f for values; want at least %.2f and %.2f",
			used, valued, wantUsed, wantValues)
	}
	if difference > 1 {
		a.t.Errorf("equal users' daily requests differ by %d, want 1 at most", difference)
	}
	if least < 0.85 {
		a.t.Errorf("a user had %.2f of its share, want at least 0.85", least)
	}
	if float64(longest) > 1.1*float64(median) {
		a.t.Errorf("the longest gap is %v, want at most 1.1 × the median %v", longest, median)
	}
	if days[weatherCalm] < 9 || days[weatherCalm]+days[weatherFailing] < 12 {
		a.t.Errorf("got %d calm days and %d with failures, want at least 9 and 12 together",
			days[weatherCalm], days[weatherFailing])
	}
}

// reportOutages logs and checks what each outage of the upstream cost, and how soon users had values again after it.
func (a *seasonAPI) reportOutages() {
	a.t.Helper()
	for _, o := range a.schedule {
		if !o.upstream {
			continue
		}
		var fresh []time.Duration
		for wmid := int64(1); wmid <= lastHealthy; wmid++ {
			fresh = append(fresh, o.fresh[wmid])
		}
		slices.Sort(fresh)
		most := fresh[len(fresh)*95/100]
		a.t.Logf("outage of %s for %v: cost %d requests; 95 %% of the users were fresh %v after it",
			o.name, o.to.Sub(o.from), o.cost, most)
		if o.cost > 60 {
			a.t.Errorf("the outage of %s cost %d requests, want at most 60", o.name, o.cost)
		}
		// The next probe starts with the first scrape after it is allowed, and then everyone needs a request.
		want := 10*time.Minute + 35*time.Second + lastOdd*seasonLatency/seasonSlots
		if a.hanging {
			// Requests that time out have half of the slots, and may be a probe.
			want += lastOdd*seasonLatency/seasonSlots + 10*time.Minute + seasonTimeout
		}
		if o.name == "API" {
			want += seasonTimeout // the last probe to fail may still be in flight
		}
		if most > want {
			a.t.Errorf("after the outage of %s, 95 %% of the users were fresh after %v, want at most %v", o.name, most, want)
		}
	}
}
