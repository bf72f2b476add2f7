package justoneapitest

import (
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
)

// Token is the token of the account.
const Token = "stand-in-token-0123456789"

// Tally counts requests, and those of them that the vendor would bill.
type Tally struct {
	Requests, Billed int
}

// Account is the state of the account that the token belongs to. The zero value is a working account without limits.
type Account struct {
	DeadToken    bool // every response is code 100
	NoPermission bool // … code 600
	EmptyBalance bool // … code 601
	TokenLimit   bool // … code 602

	// DailyQuota is the number of requests in a day of Zone, including refused ones, after which every response is
	// code 303. 0 means no limit.
	DailyQuota int
	Zone       *time.Location // nil means China, UTC+8

	// PerSecond is the number of requests in a second of the clock after which every response is code 302. 0 means
	// no limit.
	PerSecond int
}

// Balance is the response about the balance of a working account.
const Balance = `{"code":0,"data":{"balance":"123.4500","currency":"CNY"}}`

// API is an [http.Handler] that responds like the vendor. [Server] adds a listener. It is safe for concurrent use.
type API struct {
	mu         sync.Mutex // protects the following fields
	responses  map[int64]Response
	fallback   Response // for all other users
	account    Account
	balance    Response
	balances   int // requests for the balance
	tallies    map[int64]Tally
	total      Tally
	thisDay    window
	thisSecond window
}

// window counts the requests in one day or second.
type window struct {
	name     string // the formatted day or second
	requests int
}

// count counts a request at t and returns the number of requests in the same day or second.
func (w *window) count(t time.Time, layout string) int {
	if name := t.Format(layout); name != w.name {
		*w = window{name: name}
	}
	w.requests++
	return w.requests
}

// NewAPI returns an API without users, with a working account.
func NewAPI() *API {
	return &API{
		responses: make(map[int64]Response),
		tallies:   make(map[int64]Tally),
		fallback:  BilibiliCode(-404, "啥都木有"),
		balance:   Body(http.StatusOK, "application/json", Balance),
	}
}

// SetBalance sets the response about the balance of an account whose token is valid.
func (a *API) SetBalance(response Response) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.balance = response
}

// Balances returns the number of requests for the balance, which are in no tally.
func (a *API) Balances() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.balances
}

// balanceResponse counts a request for the balance and returns its response.
func (a *API) balanceResponse(x *Exchange) Response {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.balances++
	if x.Request.URL.Query().Get("token") != Token || a.account.DeadToken {
		return Code(100, "Token invalid or inactive")
	}
	return a.balance
}

// Set sets the response for one user.
func (a *API) Set(wmid int64, response Response) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.responses[wmid] = response
}

// SetAll sets the response for all users.
func (a *API) SetAll(response Response) {
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.responses)
	a.fallback = response
}

// SetAccount sets the state of the account.
func (a *API) SetAccount(account Account) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.account = account
}

// Tally counts the requests for one user.
func (a *API) Tally(wmid int64) Tally {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.tallies[wmid]
}

// Total counts all requests, including refused and invalid ones.
func (a *API) Total() Tally {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.total
}

// ServeHTTP responds to a request.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &Exchange{ResponseWriter: w, Request: r, Reused: reused(r), api: a}
	switch r.URL.Path {
	case justoneapi.Path:
		if wmid, err := strconv.ParseInt(r.URL.Query().Get("wmid"), 10, 64); err == nil {
			x.WMID = wmid
		}
		a.response(x)(x)
	case justoneapi.BalancePath:
		a.balanceResponse(x)(x)
	default:
		http.NotFound(w, r)
	}
}

// response counts a request and returns its response.
func (a *API) response(x *Exchange) Response {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	zone := a.account.Zone
	if zone == nil {
		zone = time.FixedZone("China", 8*60*60)
	}
	thisDay := a.thisDay.count(now.In(zone), time.DateOnly)
	thisSecond := a.thisSecond.count(now, time.DateTime)
	a.addLocked(x.WMID, Tally{Requests: 1})

	response, ok := a.responses[x.WMID]
	switch {
	case x.Request.URL.Query().Get("token") != Token || a.account.DeadToken:
		return Code(100, "Token invalid or inactive")
	case a.account.NoPermission:
		return Code(600, "Permission denied")
	case a.account.EmptyBalance:
		return Code(601, "Balance insufficient")
	case a.account.TokenLimit:
		return Code(602, "Token limit exceeded")
	case a.account.PerSecond > 0 && thisSecond > a.account.PerSecond:
		return Code(302, "Rate limit exceeded")
	case a.account.DailyQuota > 0 && thisDay > a.account.DailyQuota:
		return Code(303, "Daily quota exceeded")
	case x.WMID <= 0:
		return Code(400, fmt.Sprintf("Invalid parameter: wmid=%q", x.Request.URL.Query().Get("wmid")))
	case ok:
		return response
	default:
		return a.fallback
	}
}

// bill counts a billed response. Requests for the balance are in no tally.
func (a *API) bill(x *Exchange) {
	if x.URL.Path == justoneapi.BalancePath {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.addLocked(x.WMID, Tally{Billed: 1})
}

func (a *API) addLocked(wmid int64, t Tally) {
	add := func(to Tally) Tally {
		return Tally{Requests: to.Requests + t.Requests, Billed: to.Billed + t.Billed}
	}
	a.tallies[wmid] = add(a.tallies[wmid])
	a.total = add(a.total)
}
