package justoneapi

import (
	"fmt"
	"io"
	"net/url"
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

// redact replaces the token in text, in the forms that it can take there: as
// it is and escaped for a URL.
func (t Token) redact(text string) string {
	secret := t.reveal()
	if secret == "" {
		return text
	}
	return strings.NewReplacer(
		secret, redacted,
		url.QueryEscape(secret), redacted,
		url.PathEscape(secret), redacted,
	).Replace(text)
}
