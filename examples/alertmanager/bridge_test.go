package alertmanager

import (
	"encoding/json"
	"strings"
	"testing"
	"text/template"

	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
)

// message is the part of Alertmanager's JSON that the bridge passes to bridge.tmpl.
type message struct {
	Status string
	Alerts []struct {
		Status              string
		Labels, Annotations map[string]string
	}
	TruncatedAlerts int
}

// TestBridge checks the messages of the bridge.
func TestBridge(t *testing.T) {
	templates, err := template.New("").Parse(exportertest.ReadFile(t, "examples/alertmanager/bridge.tmpl"))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, notification, title, markdown string }{
		{"one alert", `{"status": "firing", "alerts": [
			{"status": "firing", "labels": {"alertname": "A", "severity": "critical"},
			"annotations": {"summary": "碧诗 has lost 120k followers", "description": "D.", "runbook_url": "https://r"}}]}`,
			"Bilibili: firing", "**[critical] 碧诗 has lost 120k followers**\n\nD.\n\n[A](https://r)"},
		{"many alerts", `{"status": "resolved", "truncatedAlerts": 7, "alerts": [
			{"status": "resolved", "labels": {"alertname": "A", "severity": "warning"},
			"annotations": {"summary": "S1", "description": "D1.", "runbook_url": "https://r"}},
			{"status": "resolved", "labels": {"alertname": "A", "severity": "warning"},
			"annotations": {"summary": "S2", "description": "D2.", "runbook_url": "https://r"}}]}`,
			"Bilibili: resolved", "**[resolved] S1**\n\nD1.\n\n[A](https://r)\n\n" +
				"**[resolved] S2**\n\nD2.\n\n[A](https://r)\n\n7 more alerts are in Alertmanager."},
	} {
		t.Run(test.name, func(t *testing.T) {
			var data message
			if err := json.Unmarshal([]byte(test.notification), &data); err != nil {
				t.Fatal(err)
			}
			for name, want := range map[string]string{
				"prom.title": test.title, "prom.markdown": test.markdown, "prom.text": test.markdown,
			} {
				var got strings.Builder
				if err := templates.ExecuteTemplate(&got, name, data); err != nil {
					t.Fatal(err)
				}
				if strings.TrimSpace(got.String()) != want {
					t.Errorf("%s: got\n%s\nwant\n%s", name, got.String(), want)
				}
			}
		})
	}
}
