package quota

import (
	"context"
	"math"
	"time"
)

// Limits are the users and how often they may be requested.
type Limits struct {
	Users         []User         // in the order of [Guard.Users]; each WMID once
	RetryInterval time.Duration  // first interval after a failure that is not billed; above 0
	DailyLimit    int            // requests in a quota day; 0 = no limit
	Zone          *time.Location // its midnight starts the quota day

	BalanceInterval time.Duration // between two requests for the account's balance; 0 = never
}

// Config is what a [Guard] needs.
type Config struct {
	Limits
	Now func() time.Time // nil = [time.Now]

	Store   Store             // nil disables persistence
	Records map[string][]byte // what the store holds
	Term    int64             // under which they may be changed; 0 on standby
}

// MaxSendDelay is how long after [Guard.Start] a request may be sent at most.
const MaxSendDelay = 10 * time.Second

// Store keeps records.
type Store interface {
	// Put changes records, all of them or none; nil deletes. It only queues the changes, which were made under a term.
	// The function that it returns waits until they, and all before them, are durable, or until its context ends; an
	// error means that they must not be relied on. Put without changes returns the function alone.
	Put(term int64, changes map[string][]byte) (wait func(context.Context) error)
}

// User is a user to request.
type User struct {
	WMID        int64
	MinInterval time.Duration // between the starts of two requests; above 0
}

// Value is what a successful request returned.
type Value struct {
	Followers int64     `json:"followers"`
	Following int64     `json:"following"`
	At        time.Time `json:"at"` // when it was received; zero if there is none
}

// Verdict is what the end of a request means for the next one.
type Verdict int

// The verdicts.
const (
	VerdictSuccess Verdict = iota // there is a value
	VerdictRetry                  // failed upstream and certainly not billed
	VerdictWait                   // failed upstream and perhaps billed
	VerdictBackOff                // the user's own error, so another request will soon fail again
	VerdictRefused                // the account is refused, so every request would be
)

// Result is how a request ended.
type Result struct {
	Verdict    Verdict `json:"verdict,omitempty"`
	Reason     Reason  `json:"reason,omitempty"`      // for VerdictRefused
	Code       string  `json:"code,omitempty"`        // of the failure; empty for VerdictSuccess
	Bilibili   bool    `json:"bilibili,omitempty"`    // whether Code is Bilibili's own
	Detail     string  `json:"detail,omitempty"`      // more about the failure, in words
	TimedOut   bool    `json:"timed_out,omitempty"`   // whether there was no response in time
	NoResponse bool    `json:"no_response,omitempty"` // whether the API itself did not respond

	Sent                 time.Time     `json:"-"` // when the request was sent
	Followers, Following int64         `json:"-"` // for VerdictSuccess
	Unbilled             bool          `json:"-"` // whether the vendor certainly does not count the request
	RetryAfter           time.Duration `json:"-"` // least length of the pause that the response asks for; 0 for none
}

// DueUser is a user that may be requested.
type DueUser struct {
	WMID     int64
	At       time.Time // not before; zero for a user that was never requested
	TimedOut bool      // whether the user's last request timed out
	Failures int       // how many of the user's requests in a row failed alike, refusals of the account aside
}

// probeRank orders users for the probe of a pause: a user that fails alone, time after time, would keep all others
// waiting, and one whose requests time out would delay the probe as well.
func (u DueUser) probeRank() int {
	if u.TimedOut {
		return math.MaxInt/2 + u.Failures
	}
	return u.Failures
}

// Suppression is why a user is skipped although its minimum interval has elapsed: a label value of
// bilibili_suppressed_requests_total.
type Suppression string

// The suppressions.
const (
	SuppressedBackOff    Suppression = "backoff"
	SuppressedStretch    Suppression = "stretch"
	SuppressedDailyLimit Suppression = "daily_limit"
	SuppressedPaused     Suppression = "paused"
)

// UserState is what is known about a user at a moment.
type UserState struct {
	User
	Value     Value  // the last one
	Previous  Value  // the one before Value
	Last      Result // of the last completed request
	Completed bool   // whether a request has completed yet
	// Failing is the code of the last completed request that did not refuse the account; empty for a success.
	Failing string
	// FailingSince is the time of the first failure in a row, failed upstream or the user's own; zero for a success.
	FailingSince time.Time

	InFlight bool          // whether a request is in flight
	Started  time.Time     // start of the last request that was not refused; zero before the first
	Interval time.Duration // the effective one, including backoff and stretch
	Due      time.Time     // when the next request may start as far as the user is concerned; zero before the first
}

// Account is what is known about the account at a moment. The times of the pause and the reset are in the quota day's
// zone.
type Account struct {
	Limit      int       // requests in the quota day; 0 = no limit
	Used       int       // requests charged to it: started in it or in flight when it started, and not refunded
	Remaining  int       // with a limit
	Reset      time.Time // when the quota day ends
	Ratio      float64   // factor by which intervals are stretched; at least 1
	Pause      Pause
	Suppressed map[Suppression]uint64
	InFlight   int // requests in flight, for users and for the balance

	Balance          Balance   // the last one received; also one that has expired
	BalanceRequested time.Time // start of the last request for it; zero before the first
	SpentPerDay      float64   // in the balance's currency, at the pace of the last day; 0 if unknown
}

// BalanceExpired reports whether the balance is unknown or older than three intervals.
func (a Account) BalanceExpired(interval time.Duration, now time.Time) bool {
	return a.Balance.At.IsZero() || now.Sub(a.Balance.At) > 3*interval
}

// Earliest returns when a request may start that is due at t: not during a pause, except for its probe, and not
// while the budget is used up.
func (a Account) Earliest(t time.Time) time.Time {
	if a.Pause.Reason != "" && a.Pause.Resume.After(t) {
		t = a.Pause.Resume
	}
	if a.Limit > 0 && a.Remaining == 0 && a.Reset.After(t) {
		t = a.Reset
	}
	return t
}

// Pause is a pause of all requests; the zero value is none.
type Pause struct {
	Reason Reason
	Resume time.Time // when the next probe is allowed
	Since  time.Time // when the pause for this reason started; zero if it is not known
}

// Transition is what the end of a request changed.
type Transition struct {
	Before, After           UserState
	PauseBefore, PauseAfter Pause
	// Next is when the user's next request or, during a pause, the probe may start, in the quota day's zone.
	Next time.Time
}
