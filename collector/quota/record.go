package quota

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// keepRemoved is how long users are remembered that are no longer configured.
const keepRemoved = 30 * 24 * time.Hour

// The keys of records. A user's WMID follows userKey.
const (
	userKey   = "user/"
	lostKey   = "lost"
	budgetKey = "budget"
	pauseKey  = "pause"
	tokenKey  = "token"
)

// LostRecords are the records that a store is to begin with if another was lost:
// the elapsed share of the day's calls then counts as used.
func LostRecords() map[string][]byte { return map[string][]byte{lostKey: []byte("true")} }

// storedUser is what is stored of a user. Times are in Unix nanoseconds, 0 for
// none.
type storedUser struct {
	Started  int64       `json:"started,omitempty"`
	Previous int64       `json:"previous,omitempty"`
	Running  bool        `json:"running,omitempty"`
	Interval int64       `json:"interval"` // the minimum, in nanoseconds
	Hanging  bool        `json:"hanging,omitempty"`
	Verdict  Verdict     `json:"verdict,omitempty"`
	Streak   int         `json:"streak,omitempty"`
	Ended    bool        `json:"ended,omitempty"`
	Failing  string      `json:"failing,omitempty"`
	Last     Result      `json:"last,omitzero"`
	Value    storedValue `json:"value,omitzero"`
	Former   storedValue `json:"former,omitzero"`
	Removed  int64       `json:"removed,omitempty"`
}

// storedValue is a [Value].
type storedValue struct {
	Followers int64 `json:"followers"`
	Following int64 `json:"following"`
	At        int64 `json:"at"`
}

func (v Value) stored() storedValue {
	return storedValue{v.Followers, v.Following, nanoseconds(v.At)}
}

func (v storedValue) restored() Value {
	return Value{v.Followers, v.Following, fromNanoseconds(v.At)}
}

type storedBudget struct {
	Today *storedDay   `json:"today"`
	Known []*storedDay `json:"known,omitempty"`
	Ratio float64      `json:"ratio"`
}

type storedDay struct {
	Start   int64 `json:"start"`
	End     int64 `json:"end"`
	Calls   int   `json:"calls"`
	First   int   `json:"first"`
	Entered bool  `json:"entered,omitempty"`
	Left    bool  `json:"left,omitempty"`
}

func (u *use) stored() *storedDay {
	return &storedDay{u.start.UnixNano(), u.end.UnixNano(), u.calls, u.first, u.entered, u.left}
}

func (d *storedDay) restored() *use {
	return &use{day{time.Unix(0, d.Start), time.Unix(0, d.End)}, d.Calls, d.First, d.Entered, d.Left}
}

type storedPause struct {
	Reason Reason        `json:"reason"`
	End    int64         `json:"end"`
	Next   int64         `json:"next"`
	Length time.Duration `json:"length"`
}

// storedToken tells a token from another without knowing it.
type storedToken struct {
	Salt        []byte `json:"salt"`
	Fingerprint []byte `json:"fingerprint"`
}

func nanoseconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func fromNanoseconds(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n)
}

// record is to be stored; a nil value deletes it.
type record struct {
	key   string
	value any
}

func (g *Guard) userRecord(u *user) record {
	o := u.outcome
	return record{userKey + strconv.FormatInt(u.WMID, 10), storedUser{
		Started: nanoseconds(u.started), Previous: nanoseconds(u.previous), Running: u.current != 0,
		Interval: int64(u.MinInterval), Hanging: u.hanging,
		Verdict: u.verdict, Streak: u.streak, Ended: o.Completed, Failing: o.Failing, Last: o.Last,
		Value: o.Value.stored(), Former: o.Previous.stored(), Removed: nanoseconds(u.removed),
	}}
}

func (g *Guard) budgetRecord() record {
	b := storedBudget{Today: g.budget.today.stored(), Ratio: g.budget.ratio}
	for _, u := range g.budget.known {
		b.Known = append(b.Known, u.stored())
	}
	return record{budgetKey, b}
}

func (g *Guard) pauseRecord() record {
	if !g.pause.active() {
		return record{pauseKey, nil}
	}
	return record{pauseKey, storedPause{g.pause.reason, nanoseconds(g.pause.end), nanoseconds(g.pause.next), g.pause.length}}
}

func (g *Guard) tokenRecord() record { return record{tokenKey, g.token} }

// put has records stored, and returns what waits for that.
func (g *Guard) put(records ...record) (wait func(context.Context)) {
	if g.store == nil {
		return func(context.Context) {}
	}
	encoded := make(map[string][]byte, len(records))
	for _, r := range records {
		if r.value == nil {
			encoded[r.key] = nil
			continue
		}
		text, err := json.Marshal(r.value)
		if err != nil {
			panic(fmt.Sprintf("quota: encoding %s: %v", r.key, err)) // plain numbers and strings: cannot fail
		}
		encoded[r.key] = text
	}
	return g.store.Put(encoded)
}

// restore takes over what the records tell.
func (g *Guard) restore(config Config) {
	now := g.now()
	for key, value := range config.Records {
		if id, ok := strings.CutPrefix(key, userKey); ok {
			g.restoreUser(id, value)
		}
	}
	g.restoreBudget(config.Records[budgetKey], now)
	if config.Records[lostKey] != nil {
		g.budget.forfeit(now)
	}
	g.restorePause(config.Records[pauseKey])
	var token storedToken
	if json.Unmarshal(config.Records[tokenKey], &token) == nil && len(token.Salt) > 0 {
		g.token = token
	}
	records := []record{{lostKey, nil}, g.budgetRecord()}
	for _, u := range g.index {
		if u.current != 0 {
			u.cut()
			g.interrupted++
			records = append(records, g.userRecord(u))
		}
	}
	g.put(records...)
	g.setUsers(config.Users, now)
	g.settle(now)
}

func (g *Guard) restoreUser(id string, value []byte) {
	wmid, err := strconv.ParseInt(id, 10, 64)
	var r storedUser
	if err != nil || json.Unmarshal(value, &r) != nil {
		return
	}
	u := &user{
		User:    User{WMID: wmid, MinInterval: time.Duration(r.Interval)},
		hanging: r.Hanging,
		started: fromNanoseconds(r.Started), previous: fromNanoseconds(r.Previous),
		verdict: r.Verdict, streak: r.Streak,
		outcome: &outcome{Outcome: Outcome{
			Completed: r.Ended, Failing: r.Failing, Last: r.Last, Value: r.Value.restored(), Previous: r.Former.restored(),
		}},
		removed: fromNanoseconds(r.Removed),
	}
	u.shown = u.outcome
	if r.Running {
		u.current = 1 // of the process before; cut off below
	}
	g.index[wmid] = u
}

// restoreBudget takes over the use of days. Calls that the process before left
// running may have run into a day that it did not see begin.
func (g *Guard) restoreBudget(value []byte, now time.Time) {
	var b storedBudget
	if json.Unmarshal(value, &b) == nil && b.Today != nil {
		g.budget.today, g.budget.ratio = b.Today.restored(), max(1, b.Ratio)
		for _, d := range b.Known {
			if d != nil {
				g.budget.known = append(g.budget.known, d.restored())
			}
		}
	}
	var running int
	for _, u := range g.index {
		if u.current != 0 && now.Sub(u.started) < 24*time.Hour {
			running++
		}
	}
	g.budget.enter(now, running)
}

func (g *Guard) restorePause(value []byte) {
	var r storedPause
	if json.Unmarshal(value, &r) == nil && r.Reason != "" {
		g.pause = pause{reason: r.Reason, end: fromNanoseconds(r.End), next: fromNanoseconds(r.Next), length: r.Length, began: 1}
	}
}

// setUsers says which users are configured. Others are remembered for a while.
func (g *Guard) setUsers(users []User, now time.Time) {
	configured := make(map[int64]bool)
	g.users = nil
	for _, each := range users {
		u := g.index[each.WMID]
		if u == nil {
			u = newUser()
			g.index[each.WMID] = u
		}
		u.User, u.removed = each, time.Time{}
		configured[each.WMID] = true
		g.users = append(g.users, u)
	}
	var records []record
	for wmid, u := range g.index {
		switch {
		case configured[wmid]:
			continue
		case u.removed.IsZero() || u.removed.After(now) || u.removed.Before(u.started):
			u.removed = now
			records = append(records, g.userRecord(u))
		case u.current == 0 && now.Sub(u.removed) > max(keepRemoved, u.MinInterval):
			delete(g.index, wmid)
			records = append(records, record{g.userRecord(u).key, nil})
		}
	}
	g.put(records...)
}
