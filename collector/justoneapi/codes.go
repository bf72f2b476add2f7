package justoneapi

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Scope says whom a failure concerns.
type Scope int

// The scopes of a failure.
const (
	ScopeUpstream    Scope = iota // this one call
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
	NoResponse bool
	Bilibili   bool   // whether Code is Bilibili's own
	Meaning    string // in English, without a full stop
	Advice     string // what to do about it: sentences
}

// The codes of failures that carry no code of their own.
const (
	CodeTimeout   = "timeout"
	CodeNetwork   = "network"
	CodeMalformed = "malformed"
	CodeMismatch  = "mismatch"
)

var (
	kindTimeout = Kind{
		Code: CodeTimeout, NoResponse: true, Meaning: "no answer in time",
		Advice: "Nothing to do if it passes. If it lasts, see that api.timeout is at least the 60s that the vendor asks for, and ask the vendor.",
	}
	kindNetwork = Kind{
		Code: CodeNetwork, NoResponse: true, Meaning: "the connection failed",
		Advice: "Look at name resolution, firewall, proxy and certificates between the exporter and api.base_url.",
	}
	kindMalformed = Kind{
		Code: CodeMalformed, Meaning: "the answer is not what the API documents",
		Advice: "If it lasts, the vendor has changed the API, or something else answers in its place: look at api.base_url, look for a newer exporter, report it.",
	}
	kindMismatch = Kind{
		Code: CodeMismatch, Scope: ScopeUser, Billing: Billed, Meaning: "the answer is about another user",
		Advice: "Report it to the vendor, who bills these answers.",
	}
)

// The advice that serves for more than one code.
const (
	adviceWait        = "Nothing to do: the exporter tries again by itself. If it lasts, ask the vendor."
	adviceAskVendor   = "If it lasts, ask the vendor, with the request ID."
	adviceCheckWMID   = "Check the WMID: it is the number in https://space.bilibili.com/<wmid>. If the user is gone, take it out of the configuration, since the question may cost."
	adviceRiskControl = "Nothing to do if it passes: Bilibili holds the vendor off for a while. A longer quota.min_interval makes it rarer, since these answers are billed."
)

const meaningUnexplained = "not explained by the vendor"

// apiKinds holds the business codes of the envelope. Source: the vendor's page
// for 100 to 601, its OpenAPI document (August 2026) and usage guide (June
// 2025) for the others. What no document explains counts as perhaps billed.
var apiKinds = map[int64]Kind{
	100: {
		Scope: ScopeAccount, Reason: ReasonToken, Billing: NotBilled, Meaning: "the token is invalid or inactive",
		Advice: "Write a valid token into api.token_file, or into api.token and reload: another token ends the pause at once.",
	},
	101: {Meaning: meaningUnexplained, Advice: adviceAskVendor},
	201: {Scope: ScopeUser, Billing: Billed, Meaning: "no such content", Advice: adviceCheckWMID},
	202: {Meaning: meaningUnexplained, Advice: adviceAskVendor},
	300: {Meaning: meaningUnexplained, Advice: adviceAskVendor},
	301: {Billing: NotBilled, Meaning: "the vendor could not collect the data", Advice: adviceWait},
	302: {
		Scope: ScopeAccount, Reason: ReasonRateLimit, Billing: NotBilled, Meaning: "the rate limit is exceeded",
		Advice: "Lower api.max_requests_per_second, and see that nothing else uses the token.",
	},
	303: {
		Scope: ScopeAccount, Reason: ReasonDailyQuota, Billing: NotBilled, Meaning: "the daily quota is used up",
		Advice: "Calls go on by themselves when the vendor's day ends. Buy a larger quota, or set quota.daily_limit to the one you have: then it is spread over the day.",
	},
	400: {Scope: ScopeUser, Billing: NotBilled, Meaning: "the vendor refuses the parameters", Advice: adviceCheckWMID},
	404: {Scope: ScopeUser, Meaning: "not found", Advice: adviceCheckWMID},
	500: {Billing: NotBilled, Meaning: "internal error of the vendor", Advice: adviceWait},
	503: {Meaning: "the vendor's service is unavailable", Advice: adviceWait},
	600: {
		Scope: ScopeAccount, Reason: ReasonPermission, Billing: NotBilled, Meaning: "the account has no permission for this API",
		Advice: "Have the API \"User Relation Stats (V1)\" enabled for the account on the vendor's site.",
	},
	601: {
		Scope: ScopeAccount, Reason: ReasonBalance, Billing: NotBilled, Meaning: "the account's balance is insufficient",
		Advice: "Top up the account on the vendor's site: the next probe notices.",
	},
	602: {
		Scope: ScopeAccount, Reason: ReasonTokenLimit, Billing: NotBilled, Meaning: "the token's own limit is exceeded",
		Advice: "Raise the token's limit on the vendor's site, or use another token.",
	},
}

// bilibiliKinds holds the codes of Bilibili's own answer, which comes inside a
// successful, hence billed, envelope. Source: public documentation of
// Bilibili's API. Codes that are not listed concern the user.
var bilibiliKinds = map[int64]Kind{
	-400: {Scope: ScopeUser, Meaning: "Bilibili: bad request", Advice: adviceCheckWMID},
	-404: {Scope: ScopeUser, Meaning: "Bilibili: no such user", Advice: adviceCheckWMID},
	-412: {Scope: ScopeUpstream, Meaning: "Bilibili: refused by risk control", Advice: adviceRiskControl},
	-352: {Scope: ScopeUpstream, Meaning: "Bilibili: refused by risk control", Advice: adviceRiskControl},
	-799: {Scope: ScopeUpstream, Meaning: "Bilibili: too many requests", Advice: adviceRiskControl},
	22115: {
		Scope: ScopeUser, Meaning: "Bilibili: the user hides these numbers",
		Advice: "Nobody can see them: take the user out of the configuration, since these answers are billed.",
	},
}

// apiKind returns the kind of a business code other than 0.
func apiKind(code int64) Kind {
	kind, ok := apiKinds[code]
	if !ok {
		kind.Meaning, kind.Advice = "not documented by the vendor", adviceAskVendor
	}
	kind.Code = strconv.FormatInt(code, 10)
	return kind
}

// bilibiliKind returns the kind of a code of Bilibili's other than 0.
func bilibiliKind(code int64) Kind {
	kind, ok := bilibiliKinds[code]
	if !ok {
		kind = Kind{Scope: ScopeUser, Meaning: "Bilibili: not documented", Advice: adviceCheckWMID}
	}
	kind.Code, kind.Bilibili, kind.Billing = strconv.FormatInt(code, 10), true, Billed
	return kind
}

// httpKind returns the kind of an answer that is no envelope and whose HTTP
// status is not 200.
func httpKind(status int) Kind {
	return Kind{
		Code: httpPrefix + strconv.Itoa(status), NoResponse: true, Meaning: "an HTTP error in place of an answer",
		Advice: "Nothing to do if it passes. If it lasts, look at api.base_url and at the proxy, if there is one, and ask the vendor.",
	}
}

// httpPrefix is what the codes of HTTP errors begin with.
const httpPrefix = "http_"

// Explain returns what is known of the failures with the given code, of any
// that an [Error] can have, which is Bilibili's own or not: a number can be both.
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
		return Kind{Code: code, Meaning: "not known"}
	}
	if bilibili {
		return bilibiliKind(number)
	}
	return apiKind(number)
}

// ExplainReason returns what is known of the failures that refuse the account
// for the given reason.
func ExplainReason(reason Reason) Kind {
	for code, kind := range apiKinds {
		if kind.Reason == reason && reason != "" {
			return apiKind(code)
		}
	}
	return Kind{Reason: reason, Meaning: "not known"}
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
