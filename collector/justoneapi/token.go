package justoneapi

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"html"
	"io"
	"net/url"
	"regexp"
	"strings"
	"sync"
)

// redacted is printed in place of a token.
const redacted = "<secret>"

// Token is the access token of an account. It prints as "<secret>" with every verb of package fmt and in every
// encoding, also as a field of another type. Only the client reads it.
type Token struct {
	// text and pattern are functions, because fmt prints unexported fields without calling their methods.
	text    func() string
	pattern func() *regexp.Regexp // compiled once
}

// NewToken returns the token with the text.
func NewToken(text string) Token {
	return Token{
		text:    func() string { return text },
		pattern: sync.OnceValue(func() *regexp.Regexp { return secretPattern(text) }),
	}
}

// Equal reports whether t and other are the same.
func (t Token) Equal(other Token) bool { return t.reveal() == other.reveal() }

// Fingerprint returns the HMAC-SHA256 of the token with a random salt as the key. It distinguishes two tokens without
// disclosing them.
func (t Token) Fingerprint(salt []byte) []byte {
	mac := hmac.New(sha256.New, salt)
	mac.Write([]byte(t.reveal()))
	return mac.Sum(nil)
}

// Format implements [fmt.Formatter]: it writes "<secret>" for every verb.
func (t Token) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) } //nolint:errcheck // fmt.State does not fail

// MarshalText implements [encoding.TextMarshaler], for JSON, YAML and logs.
func (t Token) MarshalText() ([]byte, error) { return []byte(redacted), nil }

func (t Token) reveal() string {
	if t.text == nil {
		return ""
	}
	return t.text()
}

// maxRedacted is how many bytes of a text are searched for the token, because a text is shortened to far less
// afterwards.
const maxRedacted = 16 << 10

// maxEscaped is an upper bound for the bytes that one character of a token takes when it is escaped.
const maxEscaped = 16

// redact replaces the token in text by "<secret>". A longer text than [maxRedacted] is cut, together with the part
// before the cut that may be the start of a token.
func (t Token) redact(text string) string {
	if t.reveal() == "" {
		return text
	}
	cut := len(text) > maxRedacted
	if cut {
		text = text[:maxRedacted]
	}
	text = t.pattern().ReplaceAllLiteralString(text, redacted)
	if cut {
		text = text[:max(0, len(text)-maxEscaped*len(t.reveal()))]
	}
	return text
}

// secretPattern returns an expression that matches a token. Each of its characters can appear literally, or escaped for
// a URL, JSON or HTML.
func secretPattern(secret string) *regexp.Regexp {
	var pattern strings.Builder
	for _, c := range secret {
		literal := regexp.QuoteMeta(string(c))
		fmt.Fprintf(&pattern, `(?:\\?%[1]s|(?i:%%%02[2]x|\\u%04[2]x|&#x0{0,8}%[2]x;|&#0{0,8}%[2]d;)`, literal, c)
		for _, escaped := range []string{url.QueryEscape(string(c)), html.EscapeString(string(c))} {
			pattern.WriteString("|" + regexp.QuoteMeta(escaped))
		}
		pattern.WriteString(")")
	}
	return regexp.MustCompile(pattern.String())
}
