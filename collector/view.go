package collector

import (
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bilibili-exporter/bilibili_exporter/collector/quota"
)

// View shows what a [Collector] knows, and calls nobody. It is a
// [prometheus.Collector] of the same metrics, for a handler that has refreshed
// already.
type View struct {
	users    map[int64]User
	maxAge   time.Duration
	guard    *quota.Guard
	metrics  userMetrics
	account  accountMetrics
	requests *requestMetrics
}

func newView(s *settings, guard *quota.Guard, requests *requestMetrics) *View {
	labels := make(map[string]bool)
	for _, user := range s.Users {
		for label := range user.Labels {
			labels[label] = true
		}
	}
	return &View{
		users: s.users, maxAge: s.MaxAge, guard: guard,
		metrics: newUserMetrics(slices.Sorted(maps.Keys(labels))), account: newAccountMetrics(), requests: requests,
	}
}

// UserState is what is known of a user at a moment.
type UserState struct {
	User  User
	State quota.State
	Shown bool // whether the value is there and young enough to be exposed
}

// Users returns what is known of every user.
func (v *View) Users() []UserState {
	now := time.Now()
	var states []UserState
	for _, state := range v.guard.Users() {
		if user, ok := v.users[state.WMID]; ok { // else a reload is under way
			states = append(states, UserState{user, state, v.shows(state, now)})
		}
	}
	return states
}

// Account returns what is known of the account.
func (v *View) Account() quota.Status { return v.guard.Status() }

// Describe implements [prometheus.Collector].
func (v *View) Describe(ch chan<- *prometheus.Desc) {
	v.metrics.describe(ch)
	v.account.describe(ch)
	v.requests.Describe(ch)
}

// Collect implements [prometheus.Collector].
func (v *View) Collect(ch chan<- prometheus.Metric) {
	for _, user := range v.Users() {
		v.metrics.emit(ch, user)
	}
	v.account.emit(ch, v.Account())
	v.requests.Collect(ch)
}

// shows reports whether a user's value is young enough to be shown. An early
// retry, which makes the interval shorter, does not make the value older.
func (v *View) shows(state quota.State, now time.Time) bool {
	return !state.Value.At.IsZero() && now.Sub(state.Value.At) <= max(v.maxAge, 3*state.Interval, 3*state.MinInterval)
}
