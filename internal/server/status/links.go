package status

import "github.com/bilibili-exporter/bilibili_exporter/internal/server/locale"

// link is a link with its text.
type link struct{ Title, Link string }

// dashboard returns the address of a dashboard in examples/grafana, in the language of the page.
func (r renderer) dashboard(name string) string {
	uid := "bilibili-" + name
	if r.Language != locale.English {
		uid += "-" + r.Code
	}
	return r.Grafana + "/d/" + uid
}

// newNavigation returns the links to the dashboards, if their place is known, and to the documents.
func (r renderer) newNavigation() []link {
	var links []link
	if r.Grafana != "" {
		links = append(links,
			link{r.Text("Grafana: creators"), r.dashboard("creators")},
			link{r.Text("Grafana: exporter"), r.dashboard("exporter")})
	}
	return append(links, link{r.Text("Documentation"), r.Documentation()})
}

// documents are links to the documents that explain the table.
type documents struct{ States, Codes string }

func (r renderer) newDocuments() documents {
	return documents{States: r.Document("configuration.md#status-page"), Codes: r.Document("metrics.md#codes")}
}

// newLanguageLinks returns links to the same page in the other languages.
func newLanguageLinks(current *locale.Language, q query) []link {
	var links []link
	for _, l := range locale.Languages() {
		if l != current {
			links = append(links, link{l.Name, q.stay(func(q *query) { q.language = l })})
		}
	}
	return links
}

// refresh says whether the browser loads the page again by itself, and has the link that changes it.
type refresh struct {
	On   bool
	Link string
}

func newRefresh(q query) refresh {
	return refresh{On: !q.still, Link: q.stay(func(q *query) { q.still = !q.still })}
}
