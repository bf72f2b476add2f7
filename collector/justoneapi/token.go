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

// redacted is printed in place of a token.
const redacted = "<secret>"

// Token is the access token of an account. It prints as "<secret>" with every verb of package fmt and in every
// encoding, also as a field of another type. Only the client reads it.
type Token struct {
	value *string // a pointer, because fmt prints strings in unexported fields without calling their methods
}

// NewToken returns the token with the text.
func NewToken(text string) Token { return Token{&text} }

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
	if t.value == nil {
		return ""
	}
	return *t.value
}

// redact replaces the token in text by "<secret>". Each of its characters can appear literally, or escaped for a URL,
// JSON or HTML.
func (t Token) redact(text string) string {
	secret := t.reveal()
	if secret == "" {
		return text
	}
	var pattern strings.Builder
	for _, c := range secret {
		literal := regexp.QuoteMeta(string(c))
		fmt.Fprintf(&pattern, `(?:\\?%[1]s|(?i:%%%02[2]x|\\u%04[2]x|&#x0*%[2]x;|&#0*%[2]d;)`, literal, c)
		for _, escaped := range []string{url.QueryEscape(string(c)), html.EscapeString(string(c))} {
			pattern.WriteString("|" + regexp.QuoteMeta(escaped))
		}
		pattern.WriteString(")")
	}
	return regexp.MustCompile(pattern.String()).ReplaceAllLiteralString(text, redacted)
}
