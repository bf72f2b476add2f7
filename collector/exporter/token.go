package exporter

import (
	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	promconfig "github.com/prometheus/common/config"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
)

// tokenSource reads the token anew each time it is needed; while it cannot be
// read, the last good one serves. It is not safe for concurrent use.
type tokenSource struct {
	from    func() (promconfig.Secret, error)
	logger  log.Logger
	last    justoneapi.Token
	failing bool
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
	switch {
	case err != nil:
		if !s.failing {
			level.Error(s.logger).Log("msg", "The token cannot be read; the last good one serves", "err", err)
		}
		s.failing = true
		return s.last
	case s.failing:
		level.Info(s.logger).Log("msg", "The token can be read again")
		s.failing = false
	}
	token := justoneapi.NewToken(string(text))
	if !token.Equal(s.last) {
		level.Info(s.logger).Log("msg", "The token has changed")
	}
	s.last = token
	return token
}
