package collector

import (
	"io"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/bilibili-exporter/bilibili_exporter/collector/quota"
)

// Snapshot exposes what a [Collector] knows without sending requests. It is a [prometheus.Collector] of the same
// metrics, for a handler that has refreshed already.
type Snapshot struct {
	configured []User
	index      map[int64]int // of each configured user, by WMID
	maxAge     time.Duration
	guard      *quota.Guard

	balanceInterval time.Duration

	users    userMetrics
	info     *infoMetric
	account  accountMetrics
	requests *requestMetrics
	text     *textWriter
}

func newSnapshot(users []User, maxAge, balanceInterval time.Duration, guard *quota.Guard,
	requests *requestMetrics) *Snapshot {
	info := newInfoMetric(users)
	s := &Snapshot{
		configured: users, index: make(map[int64]int, len(users)), maxAge: maxAge, balanceInterval: balanceInterval,
		guard: guard, users: newUserMetrics(), info: info, account: newAccountMetrics(), requests: requests,
		text: newTextWriter(users, info),
	}
	for i, user := range users {
		s.index[user.WMID] = i
	}
	return s
}

// UserSnapshot is what is known about a user at a moment.
type UserSnapshot struct {
	User    User
	State   quota.UserState
	Exposed bool // whether there is a value and it has not expired
}

// Users returns the configured users in the order of the settings.
func (s *Snapshot) Users() []UserSnapshot {
	users := make([]UserSnapshot, 0, len(s.configured))
	s.each(func(i int, state *quota.UserState, exposed bool) {
		users = append(users, UserSnapshot{s.configured[i], *state, exposed})
	})
	return users
}

// each calls f for every user, with its index. f must not keep the state.
func (s *Snapshot) each(f func(i int, state *quota.UserState, exposed bool)) {
	now := time.Now()
	s.guard.Each(func(state *quota.UserState) {
		if index, ok := s.index[state.WMID]; ok { // else a reload is in progress
			f(index, state, s.exposes(state, now))
		}
	})
}

// exposes reports whether a user has a value that has not expired. An early retry, which makes the interval shorter,
// does not make a value expire earlier.
func (s *Snapshot) exposes(state *quota.UserState, now time.Time) bool {
	return !state.Value.At.IsZero() && now.Sub(state.Value.At) <= max(s.maxAge, 3*state.Interval, 3*state.MinInterval)
}

// Account returns what is known about the account.
func (s *Snapshot) Account() quota.Account { return s.guard.Account() }

// MeanDuration returns how long requests have taken on average since startup; 0 before the first.
func (s *Snapshot) MeanDuration() time.Duration { return s.requests.meanDuration() }

// Describe implements [prometheus.Collector].
func (s *Snapshot) Describe(ch chan<- *prometheus.Desc) {
	s.users.describe(ch)
	s.info.Describe(ch)
	s.Common().Describe(ch)
}

// Collect implements [prometheus.Collector].
func (s *Snapshot) Collect(ch chan<- prometheus.Metric) {
	for _, sample := range s.samples() {
		s.users.emit(ch, sample)
	}
	s.info.Collect(ch)
	s.Common().Collect(ch)
}

// Common returns a collector of the metrics that do not have a series for each user.
func (s *Snapshot) Common() prometheus.Collector { return common{s} }

type common struct{ snapshot *Snapshot }

// Describe implements [prometheus.Collector].
func (c common) Describe(ch chan<- *prometheus.Desc) {
	c.snapshot.account.describe(ch)
	c.snapshot.requests.Describe(ch)
}

// Collect implements [prometheus.Collector].
func (c common) Collect(ch chan<- prometheus.Metric) {
	c.snapshot.account.emit(ch, c.snapshot.Account(), c.snapshot.balanceInterval)
	c.snapshot.requests.Collect(ch)
}

// WriteText writes the metrics that have a series for each user, and the given families, in Prometheus' text format, as
// if they had been gathered together. The families are those of [Snapshot.Common] and others, sorted by name. The error
// is the first one that out returned.
func (s *Snapshot) WriteText(out io.Writer, families []*dto.MetricFamily) error {
	return s.text.write(out, s.samples(), families)
}

// samples returns the samples of all users in the order of the text format.
func (s *Snapshot) samples() []userSample {
	samples := make([]userSample, len(s.configured))
	s.each(func(i int, state *quota.UserState, exposed bool) {
		samples[s.text.rank[i]] = newUserSample(state, exposed)
	})
	return slices.DeleteFunc(samples, func(u userSample) bool { return u.wmid == 0 }) // a reload is in progress
}
