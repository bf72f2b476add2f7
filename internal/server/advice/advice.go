// Package advice explains what an operator can do about a failed request, in terms of the exporter's configuration.
package advice

import (
	"strings"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
)

// TokenSource is where the token comes from, which decides how to change it.
type TokenSource int

// The sources of the token.
const (
	TokenEnvironment TokenSource = iota // the environment variable JUSTONEAPI_TOKEN
	TokenConfig                         // api.token
	TokenFile                           // api.token_file
	TokenCredential                     // api.token_file, which is a credential of systemd
)

// changeToken says how to change a token from each source.
var changeToken = map[TokenSource]string{
	TokenEnvironment: "To change the token, set the environment variable JUSTONEAPI_TOKEN and restart.",
	TokenConfig:      "To change the token, edit api.token and reload.",
	TokenFile:        "To change the token, write the new one to api.token_file: the next refresh reads it.",
	TokenCredential: "To change the token, write the new one to the file that LoadCredential names, and restart: " +
		"systemd copies it at startup.",
}

const (
	wait      = "No action is needed: the exporter retries. If it persists, contact the vendor."
	contact   = "If it persists, contact the vendor with the request ID."
	checkWMID = "Check the WMID, the number in https://space.bilibili.com/<wmid>. " +
		"If the user no longer exists, remove it from the configuration."
	hidden      = "The user hides these numbers. Remove the user from the configuration."
	riskControl = "No action is needed if it passes: Bilibili is throttling the vendor. " +
		"A longer quota.min_interval makes it less frequent."
	bilibiliFails = "No action is needed if it passes: Bilibili is failing or being upgraded. " +
		"If it persists, contact the vendor."
	session      = "Contact the vendor with the request ID: Bilibili does not accept its session."
	undocumented = "No action is needed if it passes: the code is not documented, and says nothing about the user. " +
		"If it persists, contact the vendor with the request ID."
	connection = "Check name resolution, firewall, proxy and certificates between the exporter and api.base_url. " +
		"A proxy that refuses must allow connections to it; its user and password are in api.http_client.proxy_url."
	timeout = "No action is needed if it passes. " +
		"If it persists, make sure that api.timeout is at least 60s, and contact the vendor."
	malformed = "If it persists, the API has changed or another server responds in its place: " +
		"check api.base_url and look for a newer exporter."
	httpError = "No action is needed if it passes. " +
		"If it persists, check api.base_url and the proxy, if any, and contact the vendor."
	mismatch = "Report it to the vendor."
	billed   = "These responses are billed."
)

// reasonOutage is the reason of a pause that is not due to the account.
const reasonOutage justoneapi.Reason = "outage"

// byReason is the advice about pauses. How to change the token follows where it helps.
var byReason = map[justoneapi.Reason]string{
	justoneapi.ReasonToken:      "Use a valid token. A different token ends the pause at once.",
	justoneapi.ReasonPermission: `Have the API "User Relation Stats (V1)" enabled for the account on the vendor's site.`,
	justoneapi.ReasonBalance:    "Top up the account on the vendor's site. The next probe ends the pause.",
	justoneapi.ReasonTokenLimit: "Raise the token's limit on the vendor's site, or use another token.",
	justoneapi.ReasonDailyQuota: "Requests resume when the vendor's day ends. Raise the account's quota, " +
		"or set quota.daily_limit to it, so that it is spread over the day.",
	justoneapi.ReasonRateLimit: "Lower api.max_requests_per_second, and make sure that nothing else uses the token.",
	reasonOutage: "No action is needed: single requests probe, and requests resume by themselves. " +
		"If it lasts, check network, proxy and api.base_url, and contact the vendor.",
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

// byBilibiliCode is the advice about Bilibili's codes, except those that a wrong WMID explains.
var byBilibiliCode = map[string]string{
	"22115": hidden,
	"-412":  riskControl, "-352": riskControl, "-799": riskControl, "-509": riskControl,
	"-500": bilibiliFails, "-503": bilibiliFails, "-504": bilibiliFails, "-112": bilibiliFails, "-8888": bilibiliFails,
	"-101": session, "-111": session, "-401": session, "-403": session, "-658": session,
}

// Advice gives advice about one configuration.
type Advice struct {
	Token TokenSource
	Demo  bool // whether nothing is billed
}

// For returns what to do about failures of a kind, in sentences. A kind that has only a reason stands for a pause.
func (a Advice) For(kind justoneapi.Kind) string { return strings.Join(a.Texts(kind), " ") }

// Texts returns the same as one text or more, each of which can be translated by itself.
func (a Advice) Texts(kind justoneapi.Kind) []string {
	switch kind.Reason {
	case "":
		if kind.Billing == justoneapi.Billed && !a.Demo {
			return []string{forCode(kind), billed}
		}
		return []string{forCode(kind)}
	case justoneapi.ReasonToken, justoneapi.ReasonTokenLimit:
		return []string{byReason[kind.Reason], changeToken[a.Token]}
	default:
		return []string{byReason[kind.Reason]}
	}
}

// forCode returns what to do about failures that do not refuse the account.
func forCode(kind justoneapi.Kind) string {
	codes := byCode
	if kind.Bilibili {
		codes = byBilibiliCode
	}
	switch advice, ok := codes[kind.Code]; {
	case ok:
		return advice
	case kind.Scope == justoneapi.ScopeUser:
		return checkWMID
	case kind.Bilibili:
		return undocumented
	case kind.NoResponse:
		return httpError
	default:
		return contact
	}
}
