package config

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	promconfig "github.com/prometheus/common/config"
)

// TokenVariable is the environment variable with the token, used if the configuration sets none.
const TokenVariable = "JUSTONEAPI_TOKEN"

const (
	// maxToken is the maximum length of a token. The vendor's are far shorter.
	maxToken = 1024
	// maxTokenSize is the maximum size of a token file, in bytes.
	maxTokenSize = 64 << 10
)

// environmentToken returns the token in the environment variable [TokenVariable].
func environmentToken() (promconfig.Secret, error) {
	token := strings.TrimSpace(os.Getenv(TokenVariable))
	if token == "" {
		return "", fmt.Errorf("the environment variable %s is not set", TokenVariable)
	}
	if err := checkToken(token); err != nil {
		return "", fmt.Errorf("the environment variable %s %w", TokenVariable, err)
	}
	return promconfig.Secret(token), nil
}

// ReadToken returns the token. It reads the token file, if there is one, each time.
func (a *API) ReadToken() (promconfig.Secret, error) {
	if a.TokenFile == "" {
		return a.Token, nil
	}
	token, err := readTokenFile(a.TokenFile)
	if err != nil {
		return "", fmt.Errorf("api.token_file: %w", err)
	}
	return token, nil
}

func readTokenFile(path string) (promconfig.Secret, error) {
	content, err := readFile(path, maxTokenSize)
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(strings.TrimPrefix(string(content), "\ufeff"))
	if err := checkToken(token); err != nil {
		return "", fmt.Errorf("%s %w", path, err)
	}
	return promconfig.Secret(token), nil
}

// TokenFromEnvironment reports whether the token comes from the environment variable [TokenVariable].
func (a *API) TokenFromEnvironment() bool { return a.TokenFile == "" && !a.tokenInFile }

var (
	tokenCharacters = regexp.MustCompile(`^[A-Za-z0-9_+/=-]{16,}$`)
	letter          = regexp.MustCompile(`[A-Za-z]`)
	digit           = regexp.MustCompile(`\d`)
)

// looksLikeToken reports whether a text may be a token.
func looksLikeToken(text string) bool {
	return tokenCharacters.MatchString(text) && letter.MatchString(text) && digit.MatchString(text)
}

// assignment matches a line such as NAME=value. The padding of base64 is not one.
var assignment = regexp.MustCompile(`^(export\s+)?[A-Za-z_]\w*\s*=\s*[^=\s]`)

// checkToken reports why a string cannot be a token, and what to do about it, without showing it.
func checkToken(token string) error {
	switch {
	case token == "":
		return errors.New("is empty")
	case token == secret:
		return errors.New("is the text that /config shows instead of the token; write the token itself")
	case assignment.MatchString(token):
		return errors.New("is a line NAME=value; write only the value")
	case strings.ContainsAny(token, "\"'`"):
		return errors.New("contains a quotation mark; write the token without quotes")
	case strings.ContainsAny(token, "${}"):
		return errors.New("contains $, { or }, like a variable or template that was not replaced; write the token itself")
	case strings.ContainsAny(token, "<>"):
		return errors.New("contains < or >, like a placeholder; write the token itself")
	case strings.ContainsAny(token, " \t\r\n"):
		return errors.New("contains white space; write the token alone, on one line")
	case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return errors.New("contains a character that is not in ASCII; copy the token again")
	case len(token) > maxToken:
		return fmt.Errorf("is longer than %d characters", maxToken)
	}
	return nil
}
