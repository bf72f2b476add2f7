package server

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
)

// reloads tells of the reloads. It is a [prometheus.Collector].
type reloads struct {
	turn       chan struct{} // has room for the reload that runs
	failure    failure
	successful prometheus.Gauge
	last       prometheus.Gauge
}

// newReloads returns the reloads after a start, which counts as a success.
func newReloads() *reloads {
	r := &reloads{
		turn: make(chan struct{}, 1),
		successful: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "bilibili_exporter_config_last_reload_successful",
			Help: "Whether the last reload of the configuration succeeded (1) or not (0).",
		}),
		last: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "bilibili_exporter_config_last_reload_success_timestamp_seconds",
			Help: "When the configuration was last loaded with success, in Unix time.",
		}),
	}
	r.record(nil)
	return r
}

// Describe implements [prometheus.Collector].
func (r *reloads) Describe(ch chan<- *prometheus.Desc) {
	r.successful.Describe(ch)
	r.last.Describe(ch)
}

// Collect implements [prometheus.Collector].
func (r *reloads) Collect(ch chan<- prometheus.Metric) {
	r.successful.Collect(ch)
	r.last.Collect(ch)
}

func (r *reloads) record(err error) {
	if err != nil {
		r.failure.set(err.Error())
		r.successful.Set(0)
		return
	}
	r.failure.set("")
	r.successful.Set(1)
	r.last.SetToCurrentTime()
}

// patience is how long a reload waits for one that runs. A file system that
// hangs keeps that one for ever.
const patience = 5 * time.Second

// Reload loads the configuration and puts it in force: values and calls that
// run stay. A bad one changes nothing. What comes of it is logged.
func (e *Exporter) Reload() error {
	if e.closing.Load() {
		return errors.New("the exporter is shutting down")
	}
	err := e.reloadInTurn()
	e.reloads.record(err)
	if err != nil {
		level.Error(e.options.Logger).Log("msg", "Reloading the configuration failed; the one before stays in force", "err", err)
		return err
	}
	level.Info(e.options.Logger).Log("msg", "The configuration was reloaded")
	LogCost(e.inForce.Load().config, e.options.Logger)
	return nil
}

func (e *Exporter) reloadInTurn() error {
	select {
	case e.reloads.turn <- struct{}{}:
		defer func() { <-e.reloads.turn }()
		return e.reload()
	case <-time.After(patience):
		return errors.New("another reload has not ended: a file that the configuration names keeps it waiting, or the configuration file itself")
	}
}

func (e *Exporter) reload() error {
	cfg, err := e.options.Load()
	if err != nil {
		return err
	}
	p, err := prepare(cfg, e.options.Logger)
	if err != nil {
		return err
	}
	e.collector.Reload(p.settings, p.limits)
	e.use(p)
	return nil
}

// reloadHandler returns the handler of /-/reload. Pages of other origins are
// kept from making a browser reload.
func (e *Exporter) reloadHandler() http.Handler {
	return http.NewCrossOriginProtection().Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if err := e.Reload(); err != nil {
			writeText(w, http.StatusInternalServerError, fmt.Sprintf("Reloading the configuration failed; the one before stays in force: %v", err))
			return
		}
		writeText(w, http.StatusOK, "The configuration was reloaded.")
	}))
}

// refuseReload is the handler of /-/reload without the flag.
func refuseReload(w http.ResponseWriter, _ *http.Request) {
	writeText(w, http.StatusForbidden, "Reloading over HTTP is off: start with --web.enable-lifecycle, or send the process SIGHUP.")
}
