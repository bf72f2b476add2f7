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
)

// redacted is what stands in place of a token wherever one would be printed.
const redacted = "<secret>"

// Token is the access token of an account. It prints as "<secret>" with every
// verb of package fmt and in every encoding, also as a field of another type;
// only the client reads it.
type Token struct {
	// A pointer, because fmt prints the strings of unexported fields without
	// asking for their methods.
	value *string
}

// NewToken returns the token with the given text.
func NewToken(text string) Token { return Token{&text} }

// Equal reports whether t and other hold the same text.
func (t Token) Equal(other Token) bool { return t.reveal() == other.reveal() }

// Fingerprint returns what tells the token from others, and does not tell the
// token: its HMAC-SHA256 under a random salt.
func (t Token) Fingerprint(salt []byte) []byte {
	mac := hmac.New(sha256.New, salt)
	mac.Write([]byte(t.reveal()))
	return mac.Sum(nil)
}

// Format implements [fmt.Formatter]: it writes "<secret>", whatever the verb.
func (t Token) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) } //nolint:errcheck // fmt.State does not fail

// MarshalText implements [encoding.TextMarshaler], for JSON, YAML and logs.
func (t Token) MarshalText() ([]byte, error) { return []byte(redacted), nil }

func (t Token) reveal() string {
	if t.value == nil {
		return ""
	}
	return *t.value
}

// redact replaces the token in text, in the forms that it can take there: each
// of its characters as it is, or escaped for a URL, for JSON or for HTML.
func (t Token) redact(text string) string {
	secret := t.reveal()
	if secret == "" {
		return text
	}
	var pattern strings.Builder
	for _, c := range secret {
		fmt.Fprintf(&pattern, `(?:\\?%[1]s|(?i:%%%02[2]x|\\u%04[2]x|&#x0*%[2]x;|&#0*%[2]d;)`, regexp.QuoteMeta(string(c)), c)
		for _, escaped := range []string{url.QueryEscape(string(c)), html.EscapeString(string(c))} {
			pattern.WriteString("|" + regexp.QuoteMeta(escaped))
		}
		pattern.WriteString(")")
	}
	return regexp.MustCompile(pattern.String()).ReplaceAllLiteralString(text, redacted)
}
