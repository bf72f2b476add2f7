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
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", e.Code, e.Meaning)
	if e.Detail != "" {
		fmt.Fprintf(&b, ": %s", e.Detail)
	}
	if e.Message != "" {
		fmt.Fprintf(&b, " (message %q)", e.Message)
	}
	if e.RequestID != "" {
		fmt.Fprintf(&b, " (request ID %q)", e.RequestID)
	}
	return b.String()
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
