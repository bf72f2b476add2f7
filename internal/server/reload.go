package server

import (
	"errors"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/bilibili-exporter/bilibili_exporter/config"
)

// reloads is the state of reloading, and its metrics.
type reloads struct {
	slot        chan struct{} // taken by the running reload
	lastError   lastError
	successful  prometheus.GaugeFunc
	lastSuccess prometheus.Gauge
}

// newReloads returns the state after startup, which counts as a successful reload.
func newReloads() *reloads {
	r := &reloads{
		slot: make(chan struct{}, 1),
		lastSuccess: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "bilibili_exporter_config_last_reload_success_timestamp_seconds",
			Help: "Timestamp of the last successful configuration reload.",
		}),
	}
	r.successful = prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "bilibili_exporter_config_last_reload_successful",
		Help: "Whether the last configuration reload was successful (1) or not (0).",
	}, func() float64 {
		if r.lastError.get().Text == "" {
			return 1
		}
		return 0
	})
	r.lastSuccess.SetToCurrentTime()
	return r
}

// reloadTimeout is how long a reload waits for another one, which a hanging file system can block forever.
const reloadTimeout = 5 * time.Second

const (
	reloadSucceeded = "Configuration reloaded"
	nothingToReload = "Nothing to reload, because no configuration file is used"
	reloadFailed    = "Error reloading configuration, keeping the previous one"
)

// CheckTimes returns a channel that receives at the times to call [Exporter.ReloadIfChanged], and a function that stops
// it. Without an interval the channel is nil.
func (e *Exporter) CheckTimes() (times <-chan time.Time, stop func()) {
	if e.options.AutoReloadInterval == 0 {
		return nil, func() {}
	}
	ticker := time.NewTicker(e.options.AutoReloadInterval)
	return ticker.C, ticker.Stop
}

// ReloadIfChanged is like [Exporter.Reload] if files of the configuration have changed since they were last read. So an
// invalid configuration is logged once, and read again when it changes again.
func (e *Exporter) ReloadIfChanged() {
	if e.closing.Load() || !e.options.Changed() {
		return
	}
	level.Info(e.options.Logger).Log("msg", "Configuration files changed")
	e.Reload() //nolint:errcheck // Reload logs the error
}

// Reload loads and applies the configuration, and logs the result. Values and in-flight requests are kept. An invalid
// configuration changes nothing. Without a configuration file, neither the exporter nor its metrics change.
func (e *Exporter) Reload() error {
	if e.closing.Load() {
		return errors.New("the exporter is shutting down")
	}
	if e.options.Load == nil {
		level.Info(e.options.Logger).Log("msg", nothingToReload,
			"advice", "To change users or the token, restart the exporter.")
		return nil
	}
	defer debug.FreeOSMemory() // that loading has taken
	if err := e.reload(); err != nil {
		e.reloads.lastError.set(err.Error())
		level.Error(e.options.Logger).Log("msg", reloadFailed, "err", err)
		return err
	}
	e.reloads.lastError.set("")
	e.reloads.lastSuccess.SetToCurrentTime()
	level.Info(e.options.Logger).Log("msg", reloadSucceeded)
	LogUsage(e.current.Load().config, e.options.Logger)
	return nil
}

func (e *Exporter) reload() error {
	select {
	case e.reloads.slot <- struct{}{}:
		defer func() { <-e.reloads.slot }()
	case <-time.After(reloadTimeout):
		return errors.New("another reload is still running, blocked by the configuration file or a file that it names")
	}
	cfg, err := e.options.Load()
	if err != nil {
		return err
	}
	loaded, err := newLoadedConfig(cfg, e.options)
	if err != nil {
		return err
	}
	e.collector.Reload(loaded.settings, loaded.limits)
	e.apply(loaded)
	return nil
}

// reloadHandler returns the handler of /-/reload. It rejects requests that a page of another origin makes a browser
// send.
func (e *Exporter) reloadHandler() http.Handler {
	return http.NewCrossOriginProtection().Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		err := e.Reload()
		switch {
		case err != nil:
			writePlain(w, http.StatusInternalServerError, reloadFailed+": "+errorLines(err))
		case e.options.Load == nil:
			writePlain(w, http.StatusOK, nothingToReload+".")
		default:
			writePlain(w, http.StatusOK, reloadSucceeded+".")
		}
	}))
}

// errorLines returns the text of an error. Each problem of a configuration has a line of its own.
func errorLines(err error) string {
	if invalid, ok := errors.AsType[*config.Error](err); ok {
		return strings.Join(invalid.Lines(), "\n")
	}
	return err.Error()
}

// reloadDisabled is the handler of /-/reload without --web.enable-lifecycle.
func (e *Exporter) reloadDisabled(w http.ResponseWriter, _ *http.Request) {
	if e.options.Load == nil {
		writePlain(w, http.StatusForbidden, nothingToReload+".")
		return
	}
	writePlain(w, http.StatusForbidden,
		"Reloading over HTTP is disabled: start the exporter with --web.enable-lifecycle, or send it SIGHUP.")
}
