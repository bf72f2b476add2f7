package justoneapi

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Scope says what a failure concerns.
type Scope int

// The scopes of a failure.
const (
	ScopeUpstream Scope = iota // failed upstream, which says nothing about the user or the account
	ScopeUser                  // the user's own error, so another request for the user will soon fail again
	ScopeAccount               // account refused for [Kind.Reason], so every request with this token will fail
)

// Billing says whether the vendor bills a request.
type Billing int

// What is known about the billing of a request.
const (
	BillingUnknown Billing = iota // possibly billed, to be counted as billed
	NotBilled                     // certainly not billed
	Billed                        // certainly billed
)

// String returns "unknown", "no" or "yes".
func (b Billing) String() string {
	return [...]string{"unknown", "no", "yes"}[b]
}

// Reason says why the account is refused, as a value of the label "reason" of bilibili_api_paused. It is empty for
// failures of another scope.
type Reason string

// The reasons for refusing the account.
const (
	ReasonToken      Reason = "token"
	ReasonPermission Reason = "permission"
	ReasonBalance    Reason = "balance"
	ReasonTokenLimit Reason = "token_limit"
	ReasonDailyQuota Reason = "daily_quota"
	ReasonRateLimit  Reason = "rate_limit"
)

// Kind describes all failures with the same code.
type Kind struct {
	// Code is the label value of upstream_error_code: the API's own code, Bilibili's own code, one of the words
	// below, or http_<status>.
	Code       string
	Scope      Scope
	Reason     Reason
	Billing    Billing
	NoResponse bool   // whether the API itself did not respond, so that nothing is known about the account
	Bilibili   bool   // whether Code is Bilibili's own
	Meaning    string // in English, without a full stop
}

// The codes of failures for which neither the API nor Bilibili has a code.
const (
	CodeTimeout   = "timeout"
	CodeNetwork   = "network"
	CodeMalformed = "malformed"
	CodeMismatch  = "mismatch"
)

var (
	kindTimeout   = Kind{Code: CodeTimeout, NoResponse: true, Meaning: "no response in time"}
	kindNetwork   = Kind{Code: CodeNetwork, NoResponse: true, Meaning: "connection failed"}
	kindMalformed = Kind{Code: CodeMalformed, Meaning: "response does not match the documented format"}
	kindMismatch  = Kind{Code: CodeMismatch, Scope: ScopeUser, Billing: Billed, Meaning: "response is about another user"}
)

const meaningUnexplained = "not explained by the vendor"

// apiKinds holds the business codes of the envelope. Sources: the vendor's page for 100 to 601, its OpenAPI document
// and its usage guide for the others. Codes that no document explains count as possibly billed.
var apiKinds = map[int64]Kind{
	100: {Scope: ScopeAccount, Reason: ReasonToken, Billing: NotBilled, Meaning: "token invalid or inactive"},
	101: {Meaning: meaningUnexplained},
	201: {Scope: ScopeUser, Billing: Billed, Meaning: "no such content"},
	202: {Meaning: meaningUnexplained},
	300: {Meaning: meaningUnexplained},
	301: {Billing: NotBilled, Meaning: "collection failed"},
	302: {Scope: ScopeAccount, Reason: ReasonRateLimit, Billing: NotBilled, Meaning: "rate limit exceeded"},
	303: {Scope: ScopeAccount, Reason: ReasonDailyQuota, Billing: NotBilled, Meaning: "daily quota exceeded"},
	400: {Scope: ScopeUser, Billing: NotBilled, Meaning: "invalid parameter"},
	404: {Scope: ScopeUser, Meaning: "not found"},
	500: {Billing: NotBilled, Meaning: "internal error"},
	503: {Meaning: "service unavailable"},
	600: {Scope: ScopeAccount, Reason: ReasonPermission, Billing: NotBilled, Meaning: "permission denied"},
	601: {Scope: ScopeAccount, Reason: ReasonBalance, Billing: NotBilled, Meaning: "balance insufficient"},
	602: {
		Scope: ScopeAccount, Reason: ReasonTokenLimit, Billing: NotBilled,
		Meaning: "the token's cumulative spending limit is reached",
	},
}

// bilibiliKinds holds the codes of Bilibili's own response, which is in a successful, therefore billed, envelope.
// Source: public documentation of Bilibili's API. Only the codes of [ScopeUser] say anything about the user: all
// others, and those that are not documented, concern the upstream.
var bilibiliKinds = map[int64]Kind{
	-400:  {Scope: ScopeUser, Meaning: "Bilibili: bad request"},
	-404:  {Scope: ScopeUser, Meaning: "Bilibili: no such user"},
	-626:  {Scope: ScopeUser, Meaning: "Bilibili: no such user"},
	22115: {Scope: ScopeUser, Meaning: "Bilibili: the user hides these numbers"},

	-412: {Meaning: "Bilibili: blocked by risk control"},
	-352: {Meaning: "Bilibili: blocked by risk control"},
	-799: {Meaning: "Bilibili: too many requests"},
	-509: {Meaning: "Bilibili: overloaded"},

	-500:  {Meaning: "Bilibili: server error"},
	-503:  {Meaning: "Bilibili: overloaded or unavailable"},
	-504:  {Meaning: "Bilibili: timeout in Bilibili's backend"},
	-112:  {Meaning: "Bilibili: the system is being upgraded"},
	-8888: {Meaning: "Bilibili: failing or overloaded"},

	-101: {Meaning: "Bilibili: the vendor is not logged in"},
	-111: {Meaning: "Bilibili: the vendor's CSRF token is invalid"},
	-401: {Meaning: "Bilibili: the vendor is not authorized"},
	-403: {Meaning: "Bilibili: the vendor has no access"},
	-658: {Meaning: "Bilibili: the vendor's session has expired"},
}

// apiKind returns the kind of a business code other than 0.
func apiKind(code int64) Kind {
	kind, ok := apiKinds[code]
	if !ok {
		kind.Meaning = "not documented by the vendor"
	}
	kind.Code = strconv.FormatInt(code, 10)
	return kind
}

// bilibiliKind returns the kind of a Bilibili code other than 0.
func bilibiliKind(code int64) Kind {
	kind, ok := bilibiliKinds[code]
	if !ok {
		kind = Kind{Meaning: "Bilibili: not documented"}
	}
	kind.Code, kind.Bilibili, kind.Billing = strconv.FormatInt(code, 10), true, Billed
	return kind
}

// httpPrefix begins the codes of HTTP errors.
const httpPrefix = "http_"

// httpKind returns the kind of a response without an envelope whose HTTP status is not 200. A plain 429 refuses the
// account like code 302, but nothing is documented about its bill.
func httpKind(status int) Kind {
	kind := Kind{
		Code: httpPrefix + strconv.Itoa(status), NoResponse: true, Meaning: "HTTP error instead of an API response",
	}
	if status == http.StatusTooManyRequests {
		kind.Scope, kind.Reason = ScopeAccount, ReasonRateLimit
	}
	return kind
}

// Explain returns the kind of the failures with a code. The same number can be a code of the API and of Bilibili:
// bilibili says which one is meant.
func Explain(code string, bilibili bool) Kind {
	for _, kind := range []Kind{kindTimeout, kindNetwork, kindMalformed, kindMismatch} {
		if kind.Code == code {
			return kind
		}
	}
	if status, ok := strings.CutPrefix(code, httpPrefix); ok {
		if n, err := strconv.Atoi(status); err == nil {
			return httpKind(n)
		}
	}
	number, err := strconv.ParseInt(code, 10, 64)
	if err != nil {
		return Kind{Code: code, Meaning: "unknown code"}
	}
	if bilibili {
		return bilibiliKind(number)
	}
	return apiKind(number)
}

// ExplainReason returns the kind of the failures that refuse the account for a reason.
func ExplainReason(reason Reason) Kind {
	for code, kind := range apiKinds {
		if kind.Reason == reason && reason != "" {
			return apiKind(code)
		}
	}
	return Kind{Reason: reason, Meaning: "unknown reason"}
}

// KnownCodes returns all documented codes, of the API and of Bilibili, and the words for failures without a code.
func KnownCodes() []string {
	codes := []string{CodeTimeout, CodeNetwork, CodeMalformed, CodeMismatch}
	for _, kinds := range []map[int64]Kind{apiKinds, bilibiliKinds} {
		for _, code := range slices.Sorted(maps.Keys(kinds)) {
			codes = append(codes, strconv.FormatInt(code, 10))
		}
	}
	return codes
}
