package collector

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bilibili-exporter/bilibili_exporter/collector/quota"
)

// Snapshot shows what a [Collector] knows, and calls nobody. It is a
// [prometheus.Collector] of the same metrics, for a handler that has refreshed
// already.
type Snapshot struct {
	settings *settings
	guard    *quota.Guard
	users    userMetrics
	info     *infoMetric
	account  accountMetrics
	requests *requestMetrics
	text     *text
}

func newView(s *settings, guard *quota.Guard, requests *requestMetrics) *Snapshot {
	info := newInfoMetric(s.Users)
	return &Snapshot{
		settings: s, guard: guard,
		users: newUserMetrics(), info: info, account: newAccountMetrics(), requests: requests, text: newText(s.Users, info),
	}
}

// UserSnapshot is what is known of a user at a moment.
type UserSnapshot struct {
	User    User
	State   quota.UserState
	Exposed bool // whether the value is there and young enough to be exposed
}

// Users returns what is known of every user, in the order of the settings.
func (v *Snapshot) Users() []UserSnapshot {
	users := make([]UserSnapshot, 0, len(v.settings.Users))
	v.each(func(i int, state *quota.UserState, shown bool) {
		users = append(users, UserSnapshot{v.settings.Users[i], *state, shown})
	})
	return users
}

// each calls f with what is known of every user, and the user's index.
func (v *Snapshot) each(f func(i int, state *quota.UserState, shown bool)) {
	now := time.Now()
	states := v.guard.Users()
	for i := range states {
		state := &states[i]
		if index, ok := v.settings.index[state.WMID]; ok { // else a reload is under way
			f(index, state, v.shows(state, now))
		}
	}
}

// Account returns what is known of the account.
func (v *Snapshot) Account() quota.Account { return v.guard.Account() }

// Describe implements [prometheus.Collector].
func (v *Snapshot) Describe(ch chan<- *prometheus.Desc) {
	v.users.describe(ch)
	v.info.Describe(ch)
	v.Common().Describe(ch)
}

// Collect implements [prometheus.Collector].
func (v *Snapshot) Collect(ch chan<- prometheus.Metric) {
	for _, user := range v.Users() {
		v.users.emit(ch, &user.State, user.Exposed)
	}
	v.info.Collect(ch)
	v.Common().Collect(ch)
}

// Common returns a collector of those of v's metrics that have no series for
// each user.
func (v *Snapshot) Common() prometheus.Collector { return common{v} }

type common struct{ view *Snapshot }

// Describe implements [prometheus.Collector].
func (c common) Describe(ch chan<- *prometheus.Desc) {
	c.view.account.describe(ch)
	c.view.requests.Describe(ch)
}

// Collect implements [prometheus.Collector].
func (c common) Collect(ch chan<- prometheus.Metric) {
	c.view.account.emit(ch, c.view.Account())
	c.view.requests.Collect(ch)
}

// shows reports whether a user's value is young enough to be shown. An early
// retry, which makes the interval shorter, does not make the value older.
func (v *Snapshot) shows(state *quota.UserState, now time.Time) bool {
	return !state.Value.At.IsZero() && now.Sub(state.Value.At) <= max(v.settings.MaxAge, 3*state.Interval, 3*state.MinInterval)
}
