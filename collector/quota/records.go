package quota

import (
	"context"
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

// restore continues from the records.
func (g *Guard) restore(records map[string][]byte, now time.Time) {
	g.restoreUsers(records)
	g.restoreBudget(records[budgetKey], now)
	if records[lostKey] != nil {
		g.budget.chargeElapsed(now)
	}
	var pause pauseRecord
	if json.Unmarshal(records[pauseKey], &pause) == nil {
		g.pause.pauseRecord = pause
	}
	var balance balanceRecord
	if json.Unmarshal(records[balanceKey], &balance) == nil {
		g.balance = balance
	}
	var token tokenRecord
	if json.Unmarshal(records[tokenKey], &token) == nil && len(token.Salt) > 0 {
		g.token = token
	}
}

// restoreUsers restores the users. It decodes their records on all CPUs, because that takes most of the time of a
// startup, and of a scrape on standby.
func (g *Guard) restoreUsers(records map[string][]byte) {
	var users []*user
	for key := range records {
		id, ok := strings.CutPrefix(key, userKey)
		if wmid, err := strconv.ParseInt(id, 10, 64); ok && err == nil {
			users = append(users, &user{WMID: wmid})
		}
	}
	var decoders sync.WaitGroup
	for chunk := range slices.Chunk(users, len(users)/runtime.GOMAXPROCS(0)+1) {
		decoders.Go(func() {
			for i, u := range chunk {
				if json.Unmarshal(records[u.key()], &u.userRecord) != nil {
					chunk[i] = nil
				}
			}
		})
	}
	decoders.Wait()
	for _, u := range users {
		if u != nil {
			g.index[u.WMID] = u
		}
	}
}

// restoreBudget restores the use of days. Requests that the previous process left in flight may have run into a day
// that it did not see start.
func (g *Guard) restoreBudget(value []byte, now time.Time) {
	var b budgetRecord
	if json.Unmarshal(value, &b) == nil && b.Today != nil {
		g.budget.today, g.budget.other, g.budget.ratio = b.Today, b.Other, max(1, b.Ratio)
	}
	var inFlight int
	for _, u := range g.index {
		if u.InFlight && now.Sub(u.Started) < 24*time.Hour {
			inFlight++
		}
	}
	g.budget.enterDay(now, inFlight)
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
