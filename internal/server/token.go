package server

import (
	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	promconfig "github.com/prometheus/common/config"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
)

// tokenSource reads the token each time it is needed. While it cannot be read, the last good token is used. Calls of
// [tokenSource.read] must not overlap.
type tokenSource struct {
	readToken func() (promconfig.Secret, error)
	logger    log.Logger
	last      justoneapi.Token
	lastError lastError
}

// newTokenSource reads the token once, and fails if that fails.
func newTokenSource(readToken func() (promconfig.Secret, error), logger log.Logger) (*tokenSource, error) {
	token, err := readToken()
	if err != nil {
		return nil, err
	}
	return &tokenSource{readToken: readToken, logger: logger, last: justoneapi.NewToken(string(token))}, nil
}

func (s *tokenSource) read() justoneapi.Token {
	secret, err := s.readToken()
	if err != nil {
		if s.lastError.set(err.Error()) == "" {
			level.Error(s.logger).Log("msg", "Error reading the token, using the last good one", "err", err)
		}
		return s.last
	}
	if s.lastError.set("") != "" {
		level.Info(s.logger).Log("msg", "Token readable again")
	}
	token := justoneapi.NewToken(string(secret))
	if !token.Equal(s.last) {
		level.Info(s.logger).Log("msg", "Token changed")
	}
	s.last = token
	return token
}
