package collector_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"

	"github.com/bilibili-exporter/bilibili_exporter/collector"
	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
	"github.com/bilibili-exporter/bilibili_exporter/collector/quota"
	"github.com/bilibili-exporter/bilibili_exporter/collector/store"
)

var sharedSeed = flag.Uint64("seed", 0, "seed of TestSharedSeason; 0 = a random one")

const (
	sharedUsers    = 8
	sharedInterval = 10 * time.Minute
	sharedLimit    = 570             // about half of what the intervals make in a day
	sharedScrape   = 2 * time.Minute // between two scrapes
	sharedLease    = 150 * time.Second
)

var (
	errKilled      = errors.New("the process was killed")
	errUnreachable = errors.New("the database is unreachable")
)

// sharedSeason is a season of several exporters that share a store and a token.
type sharedSeason struct {
	t     *testing.T
	seed  uint64
	start time.Time
	end   time.Time
	store sharedStore
	wire  sharedWire
}

// draw returns random numbers for a decision, which depend on the seed, its name and the second only. So a season can
// be repeated, although goroutines run in any order.
func (s *sharedSeason) draw(name string) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(name))
	return rand.New(rand.NewPCG(s.seed^h.Sum64(), uint64(time.Now().Unix())))
}

// between returns a random duration.
func between(r *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(r.Int64N(int64(most-least)))
}

func (s *sharedSeason) errorf(format string, args ...any) {
	s.t.Helper()
	s.t.Errorf("%v: %s", time.Now().In(s.start.Location()), fmt.Sprintf(format, args...))
}

// replica is a process of an exporter.
type replica struct {
	season    *sharedSeason
	name      string
	killed    chan struct{} // closed when the process ends
	store     *store.Store
	collector *collector.Collector

	mu     sync.Mutex // protects the following fields
	frozen time.Time  // until when the process is frozen
	read   time.Time  // the last reading of the clock
}

// database is a [store.SharedDatabase] that is made of functions.
type database struct {
	write   func(term int64, changes map[string][]byte) error
	acquire func() (store.Contents, store.Lease, error)
	release func(term int64) error
}

func (d database) Write(term int64, changes map[string][]byte) error { return d.write(term, changes) }

func (d database) Acquire() (store.Contents, store.Lease, error) { return d.acquire() }

func (d database) Close(term int64) error { return d.release(term) }

// newReplica starts a process. It fails if the process cannot read the store.
func newReplica(s *sharedSeason, name string) (*replica, error) {
	p := &replica{season: s, name: name, killed: make(chan struct{})}
	var contents store.Contents
	err := p.transact("open", func() error {
		contents = s.store.load(p, false)
		return nil
	})
	if err != nil {
		return nil, err
	}
	p.store = store.OpenShared(database{p.write, p.acquire, p.release}, store.Config{
		OnError: func(string, error) {},
	})
	limits := quota.Limits{RetryInterval: time.Minute, DailyLimit: sharedLimit, Zone: s.start.Location()}
	for _, user := range users(sharedUsers) {
		limits.Users = append(limits.Users, quota.User{WMID: user.WMID, MinInterval: sharedInterval})
	}
	settings := settingsFor(replicaAPI{replica: p}, users(sharedUsers))
	token := settings.Token
	settings.Token = func() justoneapi.Token {
		p.step("token") //nolint:errcheck // the process may be frozen here
		return token()
	}
	p.collector = collector.New(collector.Config{
		Settings: settings, Leader: p, CollectTimeout: 9500 * time.Millisecond, Logger: log.NewNopLogger(),
		Guard:  quota.New(quota.Config{Limits: limits, Now: p.now, Store: p, Records: contents.Records}),
		Advice: func(justoneapi.Kind) string { return "do this" },
	})
	return p, nil
}

// Put implements [quota.Store]. Those that wait for the same commit continue in any order.
func (p *replica) Put(term int64, changes map[string][]byte) func(context.Context) error {
	wait, name := p.store.Put(term, changes), strings.Join(slices.Sorted(maps.Keys(changes)), " ")
	return func(ctx context.Context) error {
		err := wait(ctx)
		jitter := between(p.season.draw(name), 0, time.Millisecond)
		return errors.Join(err, p.sleep(jitter), p.step("put"+name))
	}
}

// now returns the time. As on a real clock, no two readings are equal.
func (p *replica) now() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.read = p.read.Add(1)
	if now := time.Now(); now.After(p.read) {
		p.read = now
	}
	return p.read
}

// Lead implements [refresh.Leader].
func (p *replica) Lead(ctx context.Context) (map[string][]byte, int64, error) {
	if err := p.step("lead"); err != nil {
		return nil, 0, err
	}
	records, term, err := p.store.Lead(ctx)
	return records, term, errors.Join(err, p.step("led"))
}

func (p *replica) dead() bool {
	select {
	case <-p.killed:
		return true
	default:
		return false
	}
}

// sleep sleeps, and fails if the process is killed.
func (p *replica) sleep(d time.Duration) error {
	select {
	case <-p.killed:
		return errKilled
	case <-time.After(d):
		return nil
	}
}

// freeze freezes the process: its goroutines stop at their next step.
func (p *replica) freeze(r *rand.Rand) {
	d := between(r, time.Second, []time.Duration{10 * time.Second, 20 * time.Second, 5 * time.Minute}[r.IntN(3)])
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frozen = time.Now().Add(d)
}

// step is a moment at which the process may be frozen. It fails if the process is killed.
func (p *replica) step(name string) error {
	if r := p.season.draw(name + p.name); r.IntN(1500) == 0 {
		p.freeze(r)
	}
	for !p.dead() {
		p.mu.Lock()
		wait := time.Until(p.frozen)
		p.mu.Unlock()
		if wait <= 0 {
			return nil
		}
		p.sleep(wait) //nolint:errcheck // as above
	}
	return errKilled
}

// transact runs a transaction of the store, named after what it does. It may fail with or without having been
// committed.
func (p *replica) transact(name string, commit func() error) error {
	r := p.season.draw("transact" + p.name + name)
	if p.sleep(between(r, time.Millisecond, 5*time.Millisecond)) != nil || p.step("commit"+name) != nil {
		return errKilled
	}
	fault := r.IntN(1000)
	if p.season.store.unreachable() || fault == 0 {
		if name == "start" {
			p.season.store.disturb()
		}
		return errors.Join(errUnreachable, p.sleep(between(r, 0, 7*time.Second)))
	}
	err := commit()
	if p.sleep(between(r, 0, time.Millisecond)) != nil || p.step("committed"+name) != nil {
		return errKilled
	}
	if fault == 1 {
		return errors.Join(errUnreachable, p.sleep(between(r, 0, 7*time.Second)))
	}
	return err
}

func (p *replica) write(term int64, changes map[string][]byte) error {
	name := "renew"
	for _, value := range changes {
		if name = "finish"; recordsStart(value) {
			name = "start"
			break
		}
	}
	return p.transact(name, func() error { return p.season.store.write(p, term, changes) })
}

func (p *replica) acquire() (contents store.Contents, lease store.Lease, err error) {
	err = p.transact("acquire", func() error {
		contents = p.season.store.load(p, true)
		return nil
	})
	return contents, lease, err
}

func (p *replica) release(term int64) error {
	return p.transact("release", func() error {
		p.season.store.release(term)
		return nil
	})
}

// kill ends the process at once: its requests in flight are cut off.
func (p *replica) kill() {
	close(p.killed)
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	p.collector.Close(canceled)
	p.store.Close(context.Background())
}

// stop ends the process as SIGTERM does.
func (p *replica) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	p.collector.Close(ctx)
	p.store.Close(ctx)
	close(p.killed)
}

// sharedStore models the database: the records, and the lease of the active replica.
type sharedStore struct {
	season *sharedSeason

	mu        sync.Mutex // protects the following fields
	records   map[string][]byte
	term      int64
	holder    *replica
	until     time.Time // when the lease expires
	down      time.Time // until when the database is unreachable
	active    time.Time // when the lease was taken or renewed for the last time
	recorded  map[int64]*recordedRequest
	lost      map[string]int  // requests that are charged, but were not sent or not counted, by date
	disturbed map[string]bool // dates on which a request was cut off, sent late or not sent
	idle      map[string]bool // dates at the end of which no replica was active
	broken    map[string]bool // dates on which it was unreachable for long
	takeovers int
	cutOff    int
}

// recordedRequest is a request that is in flight according to the records.
type recordedRequest struct {
	by       *replica
	term     int64
	started  time.Time
	sent     bool
	unbilled bool
}

// disturb notes that requests could not be recorded.
func (s *sharedStore) disturb() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.disturbed[s.season.wire.date(time.Now())] = true
}

func (s *sharedStore) unreachable() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now().Before(s.down)
}

func (s *sharedStore) write(p *replica, term int64, changes map[string][]byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if term != s.term {
		return store.ErrSuperseded
	}
	s.renew()
	for key, value := range changes {
		if value == nil {
			delete(s.records, key)
			continue
		}
		s.records[key] = value
		if id, ok := strings.CutPrefix(key, "user/"); ok {
			wmid, _ := strconv.ParseInt(id, 10, 64)
			s.note(p, wmid, value)
		}
	}
	return nil
}

// renew renews the lease. Without a replica that is active, at least one scrape passes.
func (s *sharedStore) renew() {
	now, zone := time.Now(), s.season.start.Location()
	year, month, day := s.active.In(zone).Date()
	midnight := time.Date(year, month, day+1, 0, 0, 0, 0, zone)
	if now.Sub(s.active) > sharedScrape+time.Second && now.After(midnight.Add(-10*time.Minute)) {
		s.idle[s.season.wire.date(s.active)] = true
	}
	s.active, s.until = now, now.Add(sharedLease)
}

// recordsStart reports whether a user's record says that a request is in flight.
func recordsStart(value []byte) bool { return bytes.Contains(value, []byte(`"in_flight":true`)) }

// note notes which requests are in flight according to the records.
func (s *sharedStore) note(p *replica, wmid int64, value []byte) {
	before := s.recorded[wmid]
	if recordsStart(value) {
		var record struct{ Started time.Time }
		if err := json.Unmarshal(value, &record); err != nil {
			s.season.errorf("%v", err)
		}
		if before == nil || before.by != p || !before.started.Equal(record.Started) {
			s.recorded[wmid] = &recordedRequest{by: p, term: s.term, started: record.Started}
		}
		return
	}
	if before != nil && before.term != s.term {
		s.cutOff++
		s.season.wire.leave(wmid, before.started)
		s.disturbed[s.season.wire.date(before.started)] = true
		if !before.sent || before.unbilled {
			s.lost[s.season.wire.date(before.started)]++
		}
	}
	if before != nil && !before.sent {
		s.disturbed[s.season.wire.date(before.started)] = true
	}
	delete(s.recorded, wmid)
}

func (s *sharedStore) load(p *replica, take bool) store.Contents {
	s.mu.Lock()
	defer s.mu.Unlock()
	contents := store.Contents{Records: maps.Clone(s.records)}
	if now := time.Now(); take && !now.Before(s.until) {
		s.term++
		s.takeovers++
		s.holder = p
		s.renew()
		contents.Term = s.term
	}
	return contents
}

func (s *sharedStore) release(term int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if term == s.term {
		s.until = time.Now()
	}
}

// send checks that a request was recorded, at most 10 s ago, by the active replica.
func (s *sharedStore) send(p *replica, wmid int64) *recordedRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.recorded[wmid]
	switch {
	case r == nil || r.by != p || r.sent:
		s.season.errorf("%s has not recorded its request for user %d", p.name, wmid)
		return &recordedRequest{}
	case time.Since(r.started) > 10*time.Second:
		s.season.errorf("%s sent a request for user %d %v after its record", p.name, wmid, time.Since(r.started))
	case s.holder != p || s.term != r.term:
		s.season.errorf("%s sent a request for user %d, but %s is active", p.name, wmid, s.holder.name)
	}
	if time.Since(r.started) > time.Second {
		s.disturbed[s.season.wire.date(r.started)] = true
	}
	r.sent = true
	return r
}

// sharedWire is the API. It checks each request, and knows nothing but the requests and its own responses.
type sharedWire struct {
	season *sharedSeason

	mu       sync.Mutex // protects the following fields
	requests int
	received []bool // by the number of the request: whether its value was received
	users    map[int64]*userHistory
	inFlight map[int64]time.Time
	left     map[int64]time.Time // start of the last request that no process waits for
	days     []*dayTally
	leastGap time.Duration
}

func (w *sharedWire) date(t time.Time) string {
	return t.In(w.season.start.Location()).Format(time.DateOnly)
}

// leave records that no process waits for a request any more.
func (w *sharedWire) leave(wmid int64, started time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.left[wmid] = started
}

// today returns the tally of the day. Requests in flight are charged to a new one, too, and so are those of the last
// hour that no process waits for, because the vendor may still work on them.
func (w *sharedWire) today() *dayTally {
	date := w.date(time.Now())
	if n := len(w.days); n > 0 && w.days[n-1].date == date {
		return w.days[n-1]
	}
	today := &dayTally{date: date, charged: len(w.inFlight), perUser: make(map[int64]int)}
	year, month, day := time.Now().In(w.season.start.Location()).Date()
	midnight := time.Date(year, month, day, 0, 0, 0, 0, w.season.start.Location())
	for wmid, started := range w.left {
		if _, ok := w.inFlight[wmid]; !ok && midnight.Sub(started) < time.Hour {
			today.charged++
		}
	}
	if today.weather = weatherCalm; len(w.days)%3 == 2 {
		today.weather = weatherFailing
	}
	w.days = append(w.days, today)
	return today
}

// failing reports whether requests fail today: on every third day.
func (w *sharedWire) failing() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.today().weather == weatherFailing
}

// allow checks that a request may start now, and returns its number.
func (w *sharedWire) allow(wmid int64) (number int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now, today := time.Now(), w.today()
	today.charged++
	today.perUser[wmid]++
	if today.charged > sharedLimit {
		w.season.errorf("%d requests of %d are charged", today.charged, sharedLimit)
	}
	u := w.users[wmid]
	if u == nil {
		u = &userHistory{}
		w.users[wmid] = u
	}
	if gap := now.Sub(u.lastStart); !u.lastStart.IsZero() {
		if gap < u.minGap {
			w.season.errorf("user %d was requested after %v, want at least %v", wmid, gap, u.minGap)
		}
		if u.minGap == sharedInterval && (w.leastGap == 0 || gap < w.leastGap) {
			w.leastGap = gap
		}
	}
	u.lastStart, u.minGap = now, sharedInterval
	w.inFlight[wmid] = now
	w.received = append(w.received, false)
	w.requests++
	return w.requests - 1
}

// finish records that a request has ended, and how.
func (w *sharedWire) finish(wmid int64, number int, value, unbilled bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	today, started := w.today(), w.inFlight[wmid]
	delete(w.inFlight, wmid)
	w.received[number] = value
	if !unbilled {
		return
	}
	w.users[wmid].minGap = time.Minute
	today.charged--
	if date := w.date(started); date != today.date {
		today = w.days[len(w.days)-2]
		today.charged--
	}
	today.perUser[wmid]--
}

// replicaAPI is the API as a process sees it.
type replicaAPI struct {
	fixedBalance
	*replica
}

// RelationStat implements [refresh.API]. A user's number of followers is the number of the request.
func (p replicaAPI) RelationStat(
	ctx context.Context, _ justoneapi.Token, wmid int64,
) (justoneapi.Stat, error) {
	fail := func(code string) (justoneapi.Stat, error) {
		return justoneapi.Stat{}, &justoneapi.Error{Kind: justoneapi.Explain(code, false)}
	}
	if p.dead() {
		return fail(justoneapi.CodeNetwork)
	}
	recorded := p.season.store.send(p.replica, wmid)
	number := p.season.wire.allow(wmid)
	r := p.season.draw("response" + strconv.FormatInt(wmid, 10))
	latency, fault := between(r, 10*time.Millisecond, 3*time.Second), 100
	if p.season.wire.failing() {
		fault = r.IntN(100)
	}
	if fault == 0 { // the response is lost
		latency = time.Hour
	}
	select {
	case <-time.After(latency):
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) && !p.dead() { // else it stays recorded as in flight
			p.season.wire.leave(wmid, recorded.started)
		}
		p.season.wire.finish(wmid, number, false, false)
		return fail(justoneapi.CodeTimeout)
	}
	unbilled := fault < 4
	recorded.unbilled = unbilled
	p.season.wire.finish(wmid, number, !unbilled, unbilled)
	if err := p.step("response" + strconv.FormatInt(wmid, 10)); err != nil {
		return fail(justoneapi.CodeNetwork)
	}
	if unbilled {
		return fail("301")
	}
	return justoneapi.Stat{Followers: int64(number), Following: wmid}, nil
}

// slot is where one of the replicas runs.
type slot struct {
	season *sharedSeason
	name   string

	mu      sync.Mutex // protects the following field
	process *replica   // nil while none runs
}

func (l *slot) current() *replica {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.process
}

func (l *slot) set(p *replica) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.process = p
}

// run starts processes, one after another, freezes and ends them.
func (l *slot) run() {
	s := l.season
	for n := 0; time.Now().Before(s.end); n++ {
		p, err := newReplica(s, fmt.Sprintf("%s%d", l.name, n))
		r := s.draw("run" + l.name)
		if err == nil {
			l.set(p)
			for range r.IntN(4) {
				time.Sleep(between(r, time.Minute, 2*time.Hour))
				p.freeze(r)
			}
			time.Sleep(between(r, 0, 10*time.Minute))
			l.set(nil)
			if r.IntN(3) == 0 {
				p.stop()
			} else {
				p.kill()
			}
		}
		time.Sleep(between(r, 0, 2*time.Minute))
	}
}

// scrape scrapes the process every two minutes.
func (l *slot) scrape(from time.Time) {
	s := l.season
	for at := from; at.Before(s.end); at = at.Add(sharedScrape) {
		time.Sleep(time.Until(at) + between(s.draw("scrape"+l.name), 0, 10*time.Millisecond))
		if p := l.current(); p != nil && p.step("scrape") == nil {
			scrape(p.collector, 9500*time.Millisecond)
			s.wire.checkValues(p)
		}
	}
}

// checkValues checks that a process exposes no value that was not received.
func (w *sharedWire) checkValues(p *replica) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, user := range p.collector.Snapshot().Users() {
		if value := user.State.Value; user.Exposed && (value.Following != user.User.WMID || !w.received[value.Followers]) {
			w.season.errorf("%s exposes %+v for user %d, which was not received", p.name, value, user.User.WMID)
		}
	}
}

// breakStore makes the store unreachable now and then, and rarely for so long that the day's budget cannot be used up.
// Then there is no stretch, and only their intervals keep users from being requested.
func (s *sharedSeason) breakStore() {
	for n := 1; time.Now().Before(s.end); n++ {
		r := s.draw("outage")
		time.Sleep(between(r, time.Hour, 18*time.Hour))
		length := between(r, 5*time.Second, 10*time.Minute)
		if n%10 == 0 {
			length = between(r, 12*time.Hour, 18*time.Hour)
		}
		s.store.mu.Lock()
		s.store.down = time.Now().Add(length)
		if n%10 == 0 {
			s.store.broken[s.wire.date(time.Now())], s.store.broken[s.wire.date(s.store.down)] = true, true
		}
		s.store.mu.Unlock()
		time.Sleep(length)
	}
}

// run runs the season. A third replica joins when two thirds of it have passed.
func (s *sharedSeason) run(days int) {
	s.start = sleepUntilSeason(s.t)
	s.end = s.start.AddDate(0, 0, days)
	s.store = sharedStore{
		season: s, records: make(map[string][]byte), recorded: make(map[int64]*recordedRequest), lost: make(map[string]int),
		disturbed: make(map[string]bool), idle: make(map[string]bool), broken: make(map[string]bool),
	}
	s.wire = sharedWire{
		season: s, users: make(map[int64]*userHistory),
		inFlight: make(map[int64]time.Time), left: make(map[int64]time.Time),
	}
	var running sync.WaitGroup
	running.Go(s.breakStore)
	for i, joins := range []time.Time{s.start, s.start, s.start.AddDate(0, 0, days*2/3)} {
		l := &slot{season: s, name: string(rune('A' + i))}
		running.Go(func() {
			time.Sleep(time.Until(joins))
			l.run()
		})
		running.Go(func() { l.scrape(joins.Add(time.Duration(i+1) * 17 * time.Second)) })
	}
	running.Wait()
}

// report logs how much of the budget was used and how evenly, and checks it.
func (s *sharedSeason) report(wantUsed float64) {
	s.t.Helper()
	var charged, lost, undisturbed, difference int
	days := s.wire.days[:len(s.wire.days)-1] // the last one is incomplete
	whole := 0                               // days on which the store was not unreachable for long
	for _, day := range days {
		lost += s.store.lost[day.date]
		d := s.checkDay(day)
		if !s.store.broken[day.date] {
			whole++
			charged += day.charged
		}
		if day.weather == weatherCalm && !s.store.disturbed[day.date] {
			undisturbed++
			difference = max(difference, d)
		}
	}
	used := float64(charged) / float64(sharedLimit*whole)
	s.t.Logf("%d requests; %d takeovers cut off %d requests. %.2f %% of the budget of %d days was used; %d requests were "+
		"charged without being sent or counted. Equal users' requests differed by %d at most on %d undisturbed days, and "+
		"the least gap between two was %v", s.wire.requests, s.store.takeovers, s.store.cutOff, 100*used, whole, lost,
		difference, undisturbed, s.wire.leastGap)
	if used < wantUsed {
		s.t.Errorf("used %.4f of the budget, want at least %.4f", used, wantUsed)
	}
	if s.store.takeovers < 5*len(days) {
		s.t.Errorf("got %d takeovers in %d days, want at least 5 a day", s.store.takeovers, len(days))
	}
}

// checkDay checks how much of a day's budget was used, and returns by how much equal users' requests differ. All of it
// is used unless no replica was active at the end of the day; one or two refunds may come too late. They differ by one
// unless requests failed, were cut off, were sent late or could not be recorded.
func (s *sharedSeason) checkDay(day *dayTally) (difference int) {
	s.t.Helper()
	mostLeft, mostDifference := 2, 1
	if s.store.idle[day.date] {
		mostLeft = 6
	}
	if s.store.broken[day.date] {
		mostLeft = sharedLimit
	}
	if s.store.disturbed[day.date] || day.weather == weatherFailing {
		mostDifference = 4
	}
	left := sharedLimit - day.charged - s.store.lost[day.date]
	if left < 0 || left > mostLeft {
		s.t.Errorf("%s: %d requests are left, want 0 to %d", day.date, left, mostLeft)
	}
	fewest, most := math.MaxInt, 0
	for wmid := int64(1); wmid <= sharedUsers; wmid++ {
		fewest, most = min(fewest, day.perUser[wmid]), max(most, day.perUser[wmid])
	}
	if most-fewest > mostDifference {
		s.t.Errorf("%s: equal users' requests differ by %d, want at most %d", day.date, most-fewest, mostDifference)
	}
	return most - fewest
}

// TestSharedSeason simulates 60 days of two or three exporters that share a store and a token. They are killed, stopped
// and frozen between any two steps, and commits fail, with or without an effect. It checks that every request was
// allowed, was recorded by the active exporter, and was sent soon after that.
func TestSharedSeason(t *testing.T) {
	t.Parallel()
	days, wantUsed := 60, 0.999
	if testing.Short() {
		days, wantUsed = 9, 0.995
	}
	synctest.Test(t, func(t *testing.T) {
		s := &sharedSeason{t: t, seed: *sharedSeed}
		if s.seed == 0 {
			s.seed = rand.Uint64()
		}
		s.run(days)
		s.report(wantUsed)
		if t.Failed() {
			t.Logf("repeat it with -run TestSharedSeason -seed %d", s.seed)
		}
	})
}
