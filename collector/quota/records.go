package quota

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// keepRemoved is how long users that are no longer configured are kept.
const keepRemoved = 30 * 24 * time.Hour

// The keys of records. A user's WMID follows userKey.
const (
	userKey    = "user/"
	lostKey    = "lost"
	budgetKey  = "budget"
	pauseKey   = "pause"
	tokenKey   = "token"
	balanceKey = "balance"
)

// LostRecords returns the records of a new store that replaces a lost one: the elapsed share of the day's budget then
// counts as used.
func LostRecords() map[string][]byte { return map[string][]byte{lostKey: []byte("true")} }

// userRecord is what is stored of a user.
type userRecord struct {
	MinInterval   time.Duration `json:"min_interval"`
	Removed       time.Time     `json:"removed,omitzero"`        // since when it is no longer configured
	Started       time.Time     `json:"started,omitzero"`        // start of the last request that was not refused
	Delay         time.Duration `json:"delay,omitzero"`          // from Started until it was sent
	StartedBefore time.Time     `json:"started_before,omitzero"` // Started before the request in flight
	DelayBefore   time.Duration `json:"delay_before,omitzero"`   // Delay before the request in flight
	InFlight      bool          `json:"in_flight,omitempty"`
	CutOff        time.Time     `json:"cut_off,omitzero"`  // Started of the last request that ended without a response
	Verdict       Verdict       `json:"verdict,omitempty"` // of the last completed request that was not refused
	Streak        int           `json:"streak,omitempty"`  // how many in a row had it
	TimedOut      bool          `json:"timed_out,omitempty"`

	Value     Value  `json:"value,omitzero"`
	Previous  Value  `json:"previous,omitzero"`
	Last      Result `json:"last,omitzero"`
	Completed bool   `json:"completed,omitempty"`
	Failing   string `json:"failing,omitempty"`

	FailingSince time.Time `json:"failing_since,omitzero"`
}

// budgetRecord is what is stored of the budget.
type budgetRecord struct {
	Today *dayUse `json:"today"`
	Other *dayUse `json:"other,omitempty"`
	Ratio float64 `json:"ratio"`
}

// tokenRecord distinguishes one token from another without holding it.
type tokenRecord struct {
	Salt        []byte `json:"salt"`
	Fingerprint []byte `json:"fingerprint"`
}

// record is to be stored; a nil value deletes it.
type record struct {
	key   string
	value any
}

// key returns the key of the user's record.
func (u *user) key() string { return userKey + strconv.FormatInt(u.WMID, 10) }

func (g *Guard) userRecord(u *user) record { return record{u.key(), &u.userRecord} }

func (g *Guard) budgetRecord() record {
	return record{budgetKey, budgetRecord{g.budget.today, g.budget.other, g.budget.ratio}}
}

func (g *Guard) pauseRecord() record { return record{pauseKey, g.pause.pauseRecord} }

func (g *Guard) tokenRecord() record { return record{tokenKey, g.token} }

func (g *Guard) balanceRecord() record { return record{balanceKey, g.balance} }

// put queues records to be stored, and returns what waits for that.
func (g *Guard) put(records ...record) (wait func(context.Context) error) {
	if g.store == nil || g.term == 0 {
		return func(context.Context) error { return nil }
	}
	encoded := make(map[string][]byte, len(records))
	for _, r := range records {
		if r.value == nil {
			encoded[r.key] = nil
			continue
		}
		text, err := json.Marshal(r.value)
		if err != nil {
			panic(fmt.Sprintf("quota: encoding %s: %v", r.key, err)) // cannot fail: only times, strings and finite numbers
		}
		encoded[r.key] = text
	}
	return g.store.Put(g.term, encoded)
}

// state is what records contain.
type state struct {
	users      map[int64]*user
	budget     budgetRecord
	pause      pauseRecord
	token      tokenRecord
	balance    balanceRecord
	lost       bool     // whether records were lost
	unreadable []string // keys of records that could not be decoded
}

// decode decodes the records.
func decode(records map[string][]byte) state {
	s := state{users: make(map[int64]*user), lost: records[lostKey] != nil}
	s.decodeUsers(records)
	decodeRecord(&s, records, budgetKey, &s.budget)
	decodeRecord(&s, records, pauseKey, &s.pause)
	decodeRecord(&s, records, tokenKey, &s.token)
	decodeRecord(&s, records, balanceKey, &s.balance)
	return s
}

// decodeRecord decodes a record, if there is one. Nothing is used of one that is unreadable.
func decodeRecord[T any](s *state, records map[string][]byte, key string, to *T) {
	text, ok := records[key]
	if !ok {
		return
	}
	var decoded T
	if json.Unmarshal(text, &decoded) != nil {
		s.unreadable = append(s.unreadable, key)
		return
	}
	*to = decoded
}

// decodeUsers decodes the records of users on all CPUs, because that takes most of the time of a startup, and of a
// scrape on standby.
func (s *state) decodeUsers(records map[string][]byte) {
	var users []*user
	for key := range records {
		id, ok := strings.CutPrefix(key, userKey)
		if wmid, err := strconv.ParseInt(id, 10, 64); ok && err == nil {
			u := &user{WMID: wmid}
			users = append(users, u)
			s.users[wmid] = u
		}
	}
	var decoders sync.WaitGroup
	var mu sync.Mutex // protects s
	for chunk := range slices.Chunk(users, len(users)/runtime.GOMAXPROCS(0)+1) {
		decoders.Go(func() {
			for _, u := range chunk {
				if json.Unmarshal(records[u.key()], &u.userRecord) != nil {
					mu.Lock()
					delete(s.users, u.WMID)
					s.unreadable = append(s.unreadable, u.key())
					mu.Unlock()
				}
			}
		})
	}
	decoders.Wait()
}

// restoreLocked continues from a state.
func (g *Guard) restoreLocked(s state, now time.Time) {
	g.index, g.unreadable = s.users, len(s.unreadable)
	g.pause, g.balance, g.token = pause{pauseRecord: s.pause}, s.balance, s.token
	if len(g.token.Salt) == 0 {
		g.token = tokenRecord{Salt: []byte(rand.Text())}
	}
	g.budget = newBudget(g.budget.limit, g.budget.zone)
	if s.budget.Today != nil {
		g.budget.today, g.budget.other, g.budget.ratio = s.budget.Today, s.budget.Other, max(1, s.budget.Ratio)
	}
	g.budget.enterDay(now, g.inFlightAt)
	if s.lost || len(s.unreadable) > 0 {
		g.budget.chargeElapsed(now)
	}
}

// setUsersLocked changes which users are configured. Others are kept for a while.
func (g *Guard) setUsersLocked(users []User, now time.Time) {
	configured := make(map[int64]bool)
	g.users = nil
	for _, each := range users {
		u := g.index[each.WMID]
		if u == nil {
			u = &user{WMID: each.WMID}
			g.index[each.WMID] = u
		}
		u.MinInterval, u.Removed = each.MinInterval, time.Time{}
		configured[each.WMID] = true
		g.users = append(g.users, u)
	}
	var records []record
	for wmid, u := range g.index {
		switch {
		case configured[wmid]:
			continue
		case u.Removed.IsZero() || u.Removed.After(now) || u.Removed.Before(u.Started):
			u.Removed = now
			records = append(records, g.userRecord(u))
		case !u.InFlight && now.Sub(u.Removed) > max(keepRemoved, u.MinInterval):
			delete(g.index, wmid)
			records = append(records, record{u.key(), nil})
		}
	}
	g.put(records...)
}
