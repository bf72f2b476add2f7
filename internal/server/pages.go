package server

import (
	"bytes"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/common/version"

	"github.com/bilibili-exporter/bilibili_exporter/internal/server/status"
)

// statusPage serves the page at /. Its links are relative, for proxies that
// serve it under a path.
func (e *Exporter) statusPage(w http.ResponseWriter, r *http.Request) {
	var page *bytes.Buffer
	var err error
	if !e.rendering.do(r.Context(), func() { page, err = e.renderStatus(r.URL.Query()) }) {
		return
	}
	if err != nil {
		writeText(w, http.StatusInternalServerError, "Writing the page failed: "+err.Error())
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", status.Policy)
	page.WriteTo(w) //nolint:errcheck // the client may have left
}

func (e *Exporter) renderStatus(query url.Values) (*bytes.Buffer, error) {
	inForce := e.inForce.Load()
	data := status.Data{
		Now: time.Now(), Started: e.started,
		Users: inForce.view.Users(), Account: inForce.view.Account(), Zone: inForce.zone,
		Version: "bilibili_exporter " + version.Version + " (" + version.GetRevision() + ")", Metrics: strings.TrimPrefix(e.options.TelemetryPath, "/"),
		ReloadError: e.reloads.failure.reason(), StorageError: e.storage.failure.reason(),
		TokenError: inForce.token.failure.reason(), Closing: e.closing.Load(),
	}
	if scraped := e.scraped.Load(); scraped != nil {
		data.LastScrape = *scraped
	}
	page := new(bytes.Buffer)
	err := status.Render(page, data, query)
	return page, err
}

// configPage serves the configuration in force, without secrets.
func (e *Exporter) configPage(w http.ResponseWriter, _ *http.Request) {
	text, err := e.inForce.Load().text()
	if err != nil {
		writeText(w, http.StatusInternalServerError, "Writing the configuration failed: "+err.Error())
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Write(text) //nolint:errcheck // the client may have left
}

func healthy(w http.ResponseWriter, _ *http.Request) {
	writeText(w, http.StatusOK, "bilibili_exporter is healthy.")
}

// ready tells whether scrapes make calls. It never tells of the API's health.
func (e *Exporter) ready(w http.ResponseWriter, _ *http.Request) {
	if e.closing.Load() {
		writeText(w, http.StatusServiceUnavailable, "bilibili_exporter is shutting down.")
		return
	}
	writeText(w, http.StatusOK, "bilibili_exporter is ready.")
}
