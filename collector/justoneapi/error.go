package justoneapi

import (
	"fmt"
	"strings"
	"unicode"
)

// maxText is how many characters of a text from outside an [Error] keeps.
const maxText = 200

// Error is a failed call. It never holds the URL of the call or the token.
type Error struct {
	Kind
	RequestID string // the vendor's, empty if there is none
	Message   string // the vendor's, or Bilibili's for one of its codes
	Detail    string // what exactly went wrong, for failures without a message
}

// Error returns the code, its meaning, and whatever else is known.
func (e *Error) Error() string {
	text := e.Code + ": " + e.Meaning
	if specifics := e.Specifics(); specifics != "" {
		text += ": " + specifics
	}
	return text
}

// Specifics returns what is known of this failure beyond its code: the detail,
// the message and the request ID. It is empty if there is none.
func (e *Error) Specifics() string {
	var known []string
	if e.Detail != "" {
		known = append(known, e.Detail)
	}
	if e.Message != "" {
		known = append(known, fmt.Sprintf("message %q", e.Message))
	}
	if e.RequestID != "" {
		known = append(known, fmt.Sprintf("request ID %q", e.RequestID))
	}
	return strings.Join(known, ", ")
}

// scrub removes the token from every text of e that came from outside, makes
// the texts printable and shortens them, in this order: half a token would not
// be recognised.
func (e *Error) scrub(token Token) *Error {
	for _, text := range []*string{&e.RequestID, &e.Message, &e.Detail} {
		*text = shorten(printable(token.redact(*text)))
	}
	return e
}

func printable(text string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text))
}

func shorten(text string) string {
	runes := []rune(text)
	if len(runes) <= maxText {
		return text
	}
	return string(runes[:maxText-1]) + "…"
}
