package server

import (
	"os"
	"path/filepath"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	promconfig "github.com/prometheus/common/config"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
	"github.com/bilibili-exporter/bilibili_exporter/config"
	"github.com/bilibili-exporter/bilibili_exporter/internal/server/advice"
)

// tokenReader reads the token each time it is needed. While it cannot be read, the last valid token is used. Calls of
// [tokenReader.read] must not overlap.
type tokenReader struct {
	readToken func() (promconfig.Secret, error)
	logger    log.Logger
	last      justoneapi.Token
	lastError lastError
}

// newTokenReader reads the token once, and fails if that fails.
func newTokenReader(readToken func() (promconfig.Secret, error), logger log.Logger) (*tokenReader, error) {
	token, err := readToken()
	if err != nil {
		return nil, err
	}
	return &tokenReader{readToken: readToken, logger: logger, last: justoneapi.NewToken(string(token))}, nil
}

func (r *tokenReader) read() justoneapi.Token {
	secret, err := r.readToken()
	if err != nil {
		if r.lastError.set(err.Error()) == "" {
			level.Error(r.logger).Log("msg", "Error reading the token, using the last valid one", "err", err)
		}
		return r.last
	}
	if r.lastError.set("") != "" {
		level.Info(r.logger).Log("msg", "Token readable again")
	}
	token := justoneapi.NewToken(string(secret))
	if !token.Equal(r.last) {
		level.Info(r.logger).Log("msg", "Token changed")
	}
	r.last = token
	return token
}

// tokenSource returns where the token of a configuration comes from.
func tokenSource(api *config.API) advice.TokenSource {
	credentials := os.Getenv("CREDENTIALS_DIRECTORY") // set by systemd
	switch {
	case api.TokenFromEnvironment():
		return advice.TokenEnvironment
	case api.TokenFile == "":
		return advice.TokenConfig
	case credentials != "" && filepath.Dir(api.TokenFile) == filepath.Clean(credentials):
		return advice.TokenCredential
	default:
		return advice.TokenFile
	}
}
