package justoneapi

import (
	"maps"
	"slices"
	"strconv"
)

// Scope says whom a failure concerns.
type Scope int

// The scopes of a failure.
const (
	ScopeCall    Scope = iota // this one call
	ScopeUser                 // the user asked for; asking again will not help soon
	ScopeAccount              // every call with this token, for [Kind.Reason]
)

// Billing says whether the vendor bills an answer.
type Billing int

// What is known about the bill of a call.
const (
	BillingUnknown Billing = iota // perhaps billed: to be counted as if it were
	NotBilled                     // certainly not billed
	Billed                        // billed
)

// String returns "unknown", "no" or "yes".
func (b Billing) String() string {
	return [...]string{"unknown", "no", "yes"}[b]
}

// Reason says why the account is refused, in the words of the label "reason"
// of bilibili_api_paused. It is empty for failures of another scope.
type Reason string

// The reasons for which an account is refused.
const (
	ReasonToken      Reason = "token"
	ReasonPermission Reason = "permission"
	ReasonBalance    Reason = "balance"
	ReasonTokenLimit Reason = "token_limit"
	ReasonDailyQuota Reason = "daily_quota"
	ReasonRateLimit  Reason = "rate_limit"
)

// Kind is what is known of one way to fail.
type Kind struct {
	// Code is the label value of upstream_error_code: the API's own code,
	// Bilibili's, one of the words below, or http_<status>.
	Code    string
	Scope   Scope
	Reason  Reason
	Billing Billing
	// Unanswered says that the API itself gave no answer, which says nothing
	// of the account.
	Unanswered bool
	Meaning    string // in English, without a full stop
}

// The codes of failures that carry no code of their own.
const (
	CodeTimeout   = "timeout"
	CodeNetwork   = "network"
	CodeMalformed = "malformed"
	CodeMismatch  = "mismatch"
)

var (
	kindTimeout   = Kind{Code: CodeTimeout, Unanswered: true, Meaning: "no answer in time"}
	kindNetwork   = Kind{Code: CodeNetwork, Unanswered: true, Meaning: "the connection failed"}
	kindMalformed = Kind{Code: CodeMalformed, Meaning: "the answer is not what the API documents"}
	kindMismatch  = Kind{Code: CodeMismatch, Scope: ScopeUser, Billing: Billed, Meaning: "the answer is about another user"}
)

// apiKinds holds the business codes of the envelope. Source: the vendor's page
// for 100 to 601, its OpenAPI document (August 2026) and usage guide (June
// 2025) for the others. What no document explains counts as perhaps billed.
var apiKinds = map[int64]Kind{
	100: {Scope: ScopeAccount, Reason: ReasonToken, Billing: NotBilled, Meaning: "the token is invalid or inactive"},
	101: {Meaning: "not explained by the vendor"},
	201: {Scope: ScopeUser, Billing: Billed, Meaning: "no such content"},
	202: {Meaning: "not explained by the vendor"},
	300: {Meaning: "not explained by the vendor"},
	301: {Billing: NotBilled, Meaning: "the vendor could not collect the data"},
	302: {Scope: ScopeAccount, Reason: ReasonRateLimit, Billing: NotBilled, Meaning: "the rate limit is exceeded"},
	303: {Scope: ScopeAccount, Reason: ReasonDailyQuota, Billing: NotBilled, Meaning: "the daily quota is used up"},
	400: {Scope: ScopeUser, Billing: NotBilled, Meaning: "the vendor refuses the parameters"},
	404: {Scope: ScopeUser, Meaning: "not found"},
	500: {Billing: NotBilled, Meaning: "internal error of the vendor"},
	503: {Meaning: "the vendor's service is unavailable"},
	600: {Scope: ScopeAccount, Reason: ReasonPermission, Billing: NotBilled, Meaning: "the account has no permission for this API"},
	601: {Scope: ScopeAccount, Reason: ReasonBalance, Billing: NotBilled, Meaning: "the account's balance is insufficient"},
	602: {Scope: ScopeAccount, Reason: ReasonTokenLimit, Billing: NotBilled, Meaning: "the token's own limit is exceeded"},
}

// bilibiliKinds holds the codes of Bilibili's own answer, which comes inside a
// successful, hence billed, envelope. Source: public documentation of
// Bilibili's API. Codes that are not listed concern the user.
var bilibiliKinds = map[int64]Kind{
	-400:  {Scope: ScopeUser, Meaning: "Bilibili: bad request"},
	-404:  {Scope: ScopeUser, Meaning: "Bilibili: no such user"},
	-412:  {Scope: ScopeCall, Meaning: "Bilibili: refused by risk control"},
	-352:  {Scope: ScopeCall, Meaning: "Bilibili: refused by risk control"},
	-799:  {Scope: ScopeCall, Meaning: "Bilibili: too many requests"},
	22115: {Scope: ScopeUser, Meaning: "Bilibili: the user hides these numbers"},
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

// bilibiliKind returns the kind of a code of Bilibili's other than 0.
func bilibiliKind(code int64) Kind {
	kind, ok := bilibiliKinds[code]
	if !ok {
		kind = Kind{Scope: ScopeUser, Meaning: "Bilibili: not documented"}
	}
	kind.Code = strconv.FormatInt(code, 10)
	kind.Billing = Billed
	return kind
}

// httpKind returns the kind of an answer that is no envelope and whose HTTP
// status is not 200.
func httpKind(status int) Kind {
	return Kind{Code: "http_" + strconv.Itoa(status), Unanswered: true, Meaning: "an HTTP error in place of an answer"}
}

// KnownCodes returns the codes of all failures that are documented: those of
// the API, those of Bilibili, and the words for failures without a code.
func KnownCodes() []string {
	codes := []string{CodeTimeout, CodeNetwork, CodeMalformed, CodeMismatch}
	for _, kinds := range []map[int64]Kind{apiKinds, bilibiliKinds} {
		for _, code := range slices.Sorted(maps.Keys(kinds)) {
			codes = append(codes, strconv.FormatInt(code, 10))
		}
	}
	return codes
}
