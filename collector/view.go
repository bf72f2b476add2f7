package collector

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bilibili-exporter/bilibili_exporter/collector/quota"
)

// View shows what a [Collector] knows, and calls nobody. It is a
// [prometheus.Collector] of the same metrics, for a handler that has refreshed
// already.
type View struct {
	settings *settings
	guard    *quota.Guard
	users    userMetrics
	info     *infoMetric
	account  accountMetrics
	requests *requestMetrics
	text     *text
}

func newView(s *settings, guard *quota.Guard, requests *requestMetrics) *View {
	info := newInfoMetric(s.Users)
	return &View{
		settings: s, guard: guard,
		users: newUserMetrics(), info: info, account: newAccountMetrics(), requests: requests, text: newText(s.Users, info),
	}
}

// UserState is what is known of a user at a moment.
type UserState struct {
	User  User
	State quota.State
	Shown bool // whether the value is there and young enough to be exposed
}

// Users returns what is known of every user, in the order of the settings.
func (v *View) Users() []UserState {
	users := make([]UserState, 0, len(v.settings.Users))
	v.each(func(i int, state *quota.State, shown bool) {
		users = append(users, UserState{v.settings.Users[i], *state, shown})
	})
	return users
}

// each calls f with what is known of every user, and the user's index.
func (v *View) each(f func(i int, state *quota.State, shown bool)) {
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
func (v *View) Account() quota.Status { return v.guard.Status() }

// Describe implements [prometheus.Collector].
func (v *View) Describe(ch chan<- *prometheus.Desc) {
	v.users.describe(ch)
	v.info.Describe(ch)
	v.Common().Describe(ch)
}

// Collect implements [prometheus.Collector].
func (v *View) Collect(ch chan<- prometheus.Metric) {
	for _, user := range v.Users() {
		v.users.emit(ch, &user.State, user.Shown)
	}
	v.info.Collect(ch)
	v.Common().Collect(ch)
}

// Common returns a collector of those of v's metrics that have no series for
// each user.
func (v *View) Common() prometheus.Collector { return common{v} }

type common struct{ view *View }

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
func (v *View) shows(state *quota.State, now time.Time) bool {
	return !state.Value.At.IsZero() && now.Sub(state.Value.At) <= max(v.settings.MaxAge, 3*state.Interval, 3*state.MinInterval)
}
