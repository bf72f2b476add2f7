// Package advice explains what an operator can do about a failed request, in terms of the exporter's configuration.
package advice

import "github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"

const (
	wait      = "No action is needed: the exporter retries. If it persists, contact the vendor."
	contact   = "If it persists, contact the vendor with the request ID."
	checkWMID = "Check the WMID, the number in https://space.bilibili.com/<wmid>. " +
		"If the user no longer exists, remove it: requests for it may be billed."
	hidden      = "The user hides these numbers. Remove the user from the configuration: these responses are billed."
	riskControl = "No action is needed if it passes: Bilibili is throttling the vendor. " +
		"A longer quota.min_interval makes it less frequent; these responses are billed."
	connection = "Check name resolution, firewall, proxy and certificates between the exporter and api.base_url."
	timeout    = "No action is needed if it passes. " +
		"If it persists, make sure that api.timeout is at least 60s, and contact the vendor."
	malformed = "If it persists, the API has changed or another server responds in its place: " +
		"check api.base_url and look for a newer exporter."
	httpError = "No action is needed if it passes. " +
		"If it persists, check api.base_url and the proxy, if any, and contact the vendor."
	mismatch = "Report it to the vendor, who bills these responses."
)

// byReason is the advice about refusals of the account.
var byReason = map[justoneapi.Reason]string{
	justoneapi.ReasonToken: "Write a valid token to api.token_file, or to api.token and reload. " +
		"A new token ends the pause at once.",
	justoneapi.ReasonPermission: `Have the API "User Relation Stats (V1)" enabled for the account on the vendor's site.`,
	justoneapi.ReasonBalance:    "Top up the account on the vendor's site. The next probe ends the pause.",
	justoneapi.ReasonTokenLimit: "Raise the token's limit on the vendor's site, or use another token.",
	justoneapi.ReasonDailyQuota: "Requests resume when the vendor's day ends. Raise the account's quota, " +
		"or set quota.daily_limit to it, so that it is spread over the day.",
	justoneapi.ReasonRateLimit: "Lower api.max_requests_per_second, and make sure that nothing else uses the token.",
}

// byCode is the advice about other codes of the API, and about failures without a code.
var byCode = map[string]string{
	"301":                    wait,
	"500":                    wait,
	"503":                    wait,
	justoneapi.CodeTimeout:   timeout,
	justoneapi.CodeNetwork:   connection,
	justoneapi.CodeMalformed: malformed,
	justoneapi.CodeMismatch:  mismatch,
}

// For returns what to do about failures of a kind, in sentences.
func For(kind justoneapi.Kind) string {
	if advice, ok := byReason[kind.Reason]; ok {
		return advice
	}
	switch advice, ok := byCode[kind.Code]; {
	case kind.Bilibili && kind.Code == "22115":
		return hidden
	case kind.Bilibili && kind.Scope != justoneapi.ScopeUser:
		return riskControl
	case !kind.Bilibili && ok:
		return advice
	case kind.Scope == justoneapi.ScopeUser:
		return checkWMID
	case kind.NoResponse:
		return httpError
	default:
		return contact
	}
}
