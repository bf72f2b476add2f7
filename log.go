package main

import (
	"context"
	"io"
	stdlog "log"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	sloggokit "github.com/tjhop/slog-gokit"
	"golang.org/x/time/rate"
)

// newLoggers returns two loggers that write to w. The base logger adds nothing, the other one the time and the caller.
func newLoggers(w io.Writer, minLevel, format string) (base, logger log.Logger) {
	w = log.NewSyncWriter(w)
	if format == "json" {
		base = log.NewJSONLogger(w)
	} else {
		base = log.NewLogfmtLogger(w)
	}
	base = level.NewFilter(base, level.Allow(level.ParseDefault(minLevel, level.InfoValue())))
	return base, log.With(base, "ts", log.DefaultTimestampUTC, "caller", log.DefaultCaller)
}

// newSlog returns the base logger as the [slog.Logger] that exporter-toolkit needs. The adapter logs the level, the
// caller and the rest, and the time is inserted after the level, so that the keys have the order of go-kit.
func newSlog(base log.Logger) *slog.Logger {
	withTime := log.LoggerFunc(func(keyvals ...any) error {
		return base.Log(slices.Insert(keyvals, 2, "ts", log.DefaultTimestampUTC())...)
	})
	return slog.New(dropTime{sloggokit.NewGoKitHandler(withTime, slog.LevelDebug)})
}

// dropTime removes the time from records, because the adapter would log it with another key and format.
type dropTime struct{ slog.Handler }

func (h dropTime) Handle(ctx context.Context, record slog.Record) error {
	record.Time = time.Time{}
	return h.Handler.Handle(ctx, record)
}

func (h dropTime) WithAttrs(attrs []slog.Attr) slog.Handler {
	return dropTime{h.Handler.WithAttrs(attrs)}
}

func (h dropTime) WithGroup(name string) slog.Handler {
	return dropTime{h.Handler.WithGroup(name)}
}

// newServerLog returns the log of the HTTP server. It is rate-limited, because clients cause its errors and must not
// fill a disk.
func newServerLog(logger log.Logger) *stdlog.Logger {
	return stdlog.New(&serverLog{logger, rate.NewLimiter(rate.Every(10*time.Second), 10)}, "", 0)
}

type serverLog struct {
	logger  log.Logger
	limiter *rate.Limiter
}

func (l *serverLog) Write(line []byte) (int, error) {
	message := strings.TrimSpace(string(line))
	leveled := level.Warn
	if strings.Contains(message, "TLS handshake error") && strings.HasSuffix(message, ": EOF") {
		leveled = level.Debug // a probe that only checks whether the port is open
	} else if !l.limiter.Allow() {
		return len(line), nil
	}
	leveled(l.logger).Log("msg", "HTTP server error", "err", message)
	return len(line), nil
}
