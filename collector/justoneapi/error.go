package justoneapi

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// maxText is the maximum length of each text of an [Error], in characters.
const maxText = 200

// Error is a failed request. It never contains the URL or the token.
type Error struct {
	Kind
	RequestID string // the vendor's, if there is one
	Message   string // the vendor's message, or Bilibili's for one of its codes
	Detail    string // the exact problem, for failures without a message

	// RetryAfter is how long the response asks to wait: its header Retry-After, for the codes 302, 503, http_429 and
	// http_503. It is 0 if there is none, and at most an hour.
	RetryAfter time.Duration
}

// Error returns the code, its meaning and the specifics.
func (e *Error) Error() string {
	text := e.Code + ": " + e.Meaning
	if specifics := e.Specifics(); specifics != "" {
		text += ": " + specifics
	}
	return text
}

// Specifics returns what is known about this failure beyond its kind: the detail, the message and the request ID, as
// far as there are any.
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

// scrub removes the token from the texts of e, makes them printable and shortens them. The token is removed first,
// because a part of it would not be recognized.
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

// maxRetryAfter caps [Error.RetryAfter].
const maxRetryAfter = time.Hour

// withRetryAfter adds what a response's header Retry-After asks for, in seconds or as a date (RFC 9110, section
// 10.2.3). What cannot be parsed, or is past, is ignored.
func (e *Error) withRetryAfter(header http.Header) *Error {
	switch e.Code {
	case httpKind(http.StatusTooManyRequests).Code, httpKind(http.StatusServiceUnavailable).Code:
	case "302", "503":
		if e.Bilibili {
			return e
		}
	default:
		return e
	}
	value := header.Get("Retry-After")
	var wait time.Duration
	if seconds, err := strconv.ParseUint(value, 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		wait = time.Duration(min(seconds, uint64(maxRetryAfter/time.Second))) * time.Second
	} else if date, err := http.ParseTime(value); err == nil {
		wait = time.Until(date)
	}
	e.RetryAfter = max(0, min(wait, maxRetryAfter))
	return e
}
