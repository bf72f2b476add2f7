package server

import (
	"bytes"
	"net/http"
	"strings"

	"github.com/prometheus/common/version"

	"github.com/bilibili-exporter/bilibili_exporter/internal/server/status"
)

// statusPage serves the page at /. Its links are relative, for proxies that serve it under a path.
func (e *Exporter) statusPage(w http.ResponseWriter, r *http.Request) {
	var page *bytes.Buffer
	var err error
	if !e.renderSlots.do(r.Context(), func() { page, err = e.renderStatus(r) }) {
		return
	}
	if err != nil {
		writePlain(w, http.StatusInternalServerError, "Error rendering the page: "+err.Error())
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", status.Policy)
	page.WriteTo(w) //nolint:errcheck // the client may have disconnected
}

func (e *Exporter) renderStatus(r *http.Request) (*bytes.Buffer, error) {
	current := e.current.Load()
	data := status.Data{
		Now: wallTime(), Started: e.started,
		Users: current.snapshot.Users(), Account: current.snapshot.Account(), Zone: current.limits.Zone,
		Advice: current.advice, BalanceInterval: current.settings.BalanceInterval,
		Version: "bilibili_exporter " + version.Version + " (" + version.GetRevision() + ")",
		Grafana: strings.TrimRight(e.options.GrafanaURL, "/"), AcceptLanguage: r.Header.Get("Accept-Language"),
		RequestRate: current.requestRate(), Damage: e.storage.damage, Demo: e.options.Demo,
		Metrics: strings.TrimPrefix(e.options.TelemetryPath, "/"), Closing: e.closing.Load(),
		ReloadError: e.reloads.lastError.get(), StorageError: e.storage.lastError.get(),
		TokenError: current.token.lastError.get(), Replica: e.storage.statusReplica(),
	}
	if scrape := e.lastScrape.Load(); scrape != nil {
		data.LastScrape = *scrape
	}
	page := new(bytes.Buffer)
	err := status.Render(page, data, r.URL.Query())
	return page, err
}

// configPage serves the current configuration without secrets.
func (e *Exporter) configPage(w http.ResponseWriter, _ *http.Request) {
	yaml, err := e.current.Load().yaml()
	if err != nil {
		writePlain(w, http.StatusInternalServerError, "Error printing the configuration: "+err.Error())
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Write(yaml) //nolint:errcheck // the client may have disconnected
}

func healthy(w http.ResponseWriter, _ *http.Request) {
	writePlain(w, http.StatusOK, "bilibili_exporter is healthy.")
}

// ready reports whether scrapes make requests. The API's health does not count.
func (e *Exporter) ready(w http.ResponseWriter, _ *http.Request) {
	if e.closing.Load() {
		writePlain(w, http.StatusServiceUnavailable, "bilibili_exporter is shutting down.")
		return
	}
	writePlain(w, http.StatusOK, "bilibili_exporter is ready.")
}
