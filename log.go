package main

import (
	"context"
	"io"
	stdlog "log"
	"log/slog"
	"strings"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	sloggokit "github.com/tjhop/slog-gokit"
	"golang.org/x/time/rate"
)

// newLoggers returns two loggers that write to w: the base, whose lines name
// no caller, and the one to use, whose lines do.
func newLoggers(w io.Writer, lowest, format string) (base, logger log.Logger) {
	w = log.NewSyncWriter(w)
	if format == "json" {
		base = log.NewJSONLogger(w)
	} else {
		base = log.NewLogfmtLogger(w)
	}
	base = level.NewFilter(base, level.Allow(level.ParseDefault(lowest, level.InfoValue())))
	base = log.With(base, "ts", log.DefaultTimestampUTC)
	return base, log.With(base, "caller", log.DefaultCaller)
}

// newSlog returns the base logger in the form that exporter-toolkit wants. It
// adds the caller by itself.
func newSlog(base log.Logger) *slog.Logger {
	return slog.New(untimed{sloggokit.NewGoKitHandler(base, slog.LevelDebug)})
}

// untimed takes the time off records: the base logger adds its own.
type untimed struct{ slog.Handler }

func (h untimed) Handle(ctx context.Context, record slog.Record) error {
	record.Time = time.Time{}
	return h.Handler.Handle(ctx, record)
}

func (h untimed) WithAttrs(attrs []slog.Attr) slog.Handler {
	return untimed{h.Handler.WithAttrs(attrs)}
}

func (h untimed) WithGroup(name string) slog.Handler {
	return untimed{h.Handler.WithGroup(name)}
}

// newServerLog returns the log for the HTTP server's errors. Its clients cause
// them, and must not fill a disk: only so many lines are written.
func newServerLog(logger log.Logger) *stdlog.Logger {
	return stdlog.New(&serverLog{logger, rate.NewLimiter(rate.Every(10*time.Second), 10)}, "", 0)
}

type serverLog struct {
	logger  log.Logger
	limiter *rate.Limiter
}

func (l *serverLog) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	at := level.Warn
	if strings.Contains(text, "TLS handshake error") && strings.HasSuffix(text, ": EOF") {
		at = level.Debug // a probe that only looks whether the port is open
	} else if !l.limiter.Allow() {
		return len(line), nil
	}
	at(l.logger).Log("msg", "Serving a client", "err", text)
	return len(line), nil
}
