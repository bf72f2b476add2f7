package justoneapitest

import (
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
)

// Token is the token that an [API] takes unless its account says otherwise.
const Token = "stand-in-token-0123456789"

// Tally counts requests and those of them that the vendor would bill.
type Tally struct {
	Requests, Billed int
}

// Account is the state of the account that the token belongs to. The zero
// value is an account in good order, without limits.
type Account struct {
	DeadToken    bool // every answer is code 100
	NoPermission bool // … code 600
	EmptyBalance bool // … code 601
	TokenLimit   bool // … code 602

	// DailyQuota is the number of requests in a day of Zone, refused ones
	// included, after which every answer is code 303. 0 is no limit.
	DailyQuota int
	Zone       *time.Location // nil is China's, UTC+8

	// PerSecond is the number of requests in a second of the clock after which
	// every answer is code 302. 0 is no limit.
	PerSecond int
}

// API answers like the vendor's. It is an [http.Handler]; [Server] puts it
// behind a listener. It is safe for concurrent use.
type API struct {
	mu        sync.Mutex // protects the following fields
	answers   map[int64]Response
	others    Response
	account   Account
	tallies   map[int64]Tally
	total     Tally
	today     window
	thisSpell window
}

// window counts the requests of the day or second that it is named after.
type window struct {
	name     string
	requests int
}

// count counts a request at t and returns how many t's window has had.
func (w *window) count(t time.Time, layout string) int {
	if name := t.Format(layout); name != w.name {
		*w = window{name: name}
	}
	w.requests++
	return w.requests
}

// NewAPI returns an API without users, whose account is in good order.
func NewAPI() *API {
	return &API{
		answers: make(map[int64]Response),
		tallies: make(map[int64]Tally),
		others:  BilibiliCode(-404, "啥都木有"),
	}
}

// Set makes answer the answer for one user from now on.
func (a *API) Set(wmid int64, answer Response) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answers[wmid] = answer
}

// SetAll makes answer the answer for every user from now on.
func (a *API) SetAll(answer Response) {
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.answers)
	a.others = answer
}

// SetAccount changes the state of the account.
func (a *API) SetAccount(account Account) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.account = account
}

// Tally returns what one user's calls came to.
func (a *API) Tally(wmid int64) Tally {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.tallies[wmid]
}

// Total returns what all requests came to, refused and invalid ones included.
func (a *API) Total() Tally {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.total
}

// ServeHTTP answers one request.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != justoneapi.Path {
		http.NotFound(w, r)
		return
	}
	wmid, err := strconv.ParseInt(r.URL.Query().Get("wmid"), 10, 64)
	if err != nil {
		wmid = 0
	}
	x := &Exchange{ResponseWriter: w, Request: r, WMID: wmid, Reused: reused(r), api: a}
	a.response(x)(x)
}

// response counts a request and chooses its answer.
func (a *API) response(x *Exchange) Response {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	zone := a.account.Zone
	if zone == nil {
		zone = time.FixedZone("China", 8*60*60)
	}
	today := a.today.count(now.In(zone), time.DateOnly)
	spell := a.thisSpell.count(now, time.DateTime)
	a.addLocked(x.WMID, Tally{Requests: 1})

	answer, known := a.answers[x.WMID]
	switch {
	case x.Request.URL.Query().Get("token") != Token || a.account.DeadToken:
		return Code(100, "Token invalid or inactive")
	case a.account.NoPermission:
		return Code(600, "Permission denied")
	case a.account.EmptyBalance:
		return Code(601, "Balance insufficient")
	case a.account.TokenLimit:
		return Code(602, "Token limit exceeded")
	case a.account.PerSecond > 0 && spell > a.account.PerSecond:
		return Code(302, "Rate limit exceeded")
	case a.account.DailyQuota > 0 && today > a.account.DailyQuota:
		return Code(303, "Daily quota exceeded")
	case x.WMID <= 0:
		return Code(400, fmt.Sprintf("Invalid parameter: wmid=%q", x.Request.URL.Query().Get("wmid")))
	case known:
		return answer
	default:
		return a.others
	}
}

// bill counts an answer that costs money.
func (a *API) bill(wmid int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.addLocked(wmid, Tally{Billed: 1})
}

func (a *API) addLocked(wmid int64, t Tally) {
	add := func(to Tally) Tally {
		return Tally{Requests: to.Requests + t.Requests, Billed: to.Billed + t.Billed}
	}
	a.tallies[wmid] = add(a.tallies[wmid])
	a.total = add(a.total)
}
