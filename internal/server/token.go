package server

import (
	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	promconfig "github.com/prometheus/common/config"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
)

// tokenSource reads the token anew each time it is needed; while it cannot be
// read, the last good one serves. [tokenSource.read] must not be called by two
// at a time.
type tokenSource struct {
	from    func() (promconfig.Secret, error)
	logger  log.Logger
	last    justoneapi.Token
	failure failure // of the latest reading
}

// newTokenSource returns a source that has read a token.
func newTokenSource(from func() (promconfig.Secret, error), logger log.Logger) (*tokenSource, error) {
	token, err := from()
	if err != nil {
		return nil, err
	}
	return &tokenSource{from: from, logger: logger, last: justoneapi.NewToken(string(token))}, nil
}

func (s *tokenSource) read() justoneapi.Token {
	text, err := s.from()
	if err != nil {
		if s.failure.set(err.Error()) == "" {
			level.Error(s.logger).Log("msg", "The token cannot be read; the last good one serves", "err", err)
		}
		return s.last
	}
	if s.failure.set("") != "" {
		level.Info(s.logger).Log("msg", "The token can be read again")
	}
	token := justoneapi.NewToken(string(text))
	if !token.Equal(s.last) {
		level.Info(s.logger).Log("msg", "The token has changed")
	}
	s.last = token
	return token
}
