// Package status renders the status page, which shows whether the exporter works and, if not, why. The page works
// without JavaScript and loads nothing.
package status

import (
	"crypto/sha256"
	_ "embed" // the template and its style
	"encoding/base64"
	"html/template"
	"io"
	"net/url"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/collector"
	"github.com/bilibili-exporter/bilibili_exporter/collector/quota"
	"github.com/bilibili-exporter/bilibili_exporter/internal/server/advice"
	"github.com/bilibili-exporter/bilibili_exporter/internal/server/locale"
)

// Data is the state of the exporter that the page shows.
type Data struct {
	Now        time.Time
	Started    time.Time
	LastScrape time.Time // zero before the first scrape
	Users      []collector.UserSnapshot
	Account    quota.Account
	Zone       *time.Location // of the quota day, and of all times on the page
	Advice     advice.Advice

	BalanceInterval time.Duration // 0 if the balance is not requested
	RequestRate     float64       // requests per second that the settings allow, estimated; above 0
	Replica         *Replica      // nil without shared storage

	Version string
	Metrics string // path of the metrics, without the leading slash
	Grafana string // URL of Grafana, without a slash at the end; empty if it is not known

	AcceptLanguage string // header of the request
	Demo           bool   // whether nothing is billed, because a stand-in takes the place of the API

	Damage       *Damage   // of the persistent state at startup; nil if there was none
	ReloadError  LastError // of the last reload
	StorageError LastError // of the last access to the persistent state
	TokenError   LastError // of the last attempt to read the token
	Closing      bool      // whether the exporter is shutting down
}

// LastError is the error of the last attempt at something. The zero value is a success.
type LastError struct {
	Text  string
	Since time.Time // of the first failure after the last success
}

// Damage is what was wrong with the persistent state.
type Damage struct {
	Error     string
	RenamedTo string // new path of the damaged file
}

var (
	//go:embed page.html
	pageText string
	//go:embed page.css
	style string

	pages = newPages()
)

// newPages returns the template of the page in each language.
func newPages() map[*locale.Language]*template.Template {
	pages := make(map[*locale.Language]*template.Template)
	for _, l := range locale.Languages() {
		functions := template.FuncMap{"t": l.Text}
		pages[l] = template.Must(template.New("status").Funcs(functions).Parse(pageText))
	}
	return pages
}

// Policy is the Content-Security-Policy of the page. It allows only the page's own style, icon and search.
var Policy = "default-src 'none'; style-src '" + hash(style) + "'; img-src data:; form-action 'self'; " +
	"base-uri 'none'; frame-ancestors 'none'"

// hash returns the hash of a style as a Content-Security-Policy source.
func hash(style string) string {
	sum := sha256.Sum256([]byte(style))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// renderer is the data of a page, and the language to show it in.
type renderer struct {
	Data
	*locale.Language
	entries []*entry
	counts  healthCounts
}

// templateData is the data of the template.
type templateData struct {
	Language   *locale.Language
	Navigation []link // to other sites
	Headline   headline
	AsOf       string
	Refresh    refresh
	Problems   []problem
	Health     []healthLink
	Budget     budget
	Balance    *balance     // nil if it is not requested
	Replica    *replicaCard // nil without shared storage
	Queue      string
	Scrapes    string
	Table      table
	Documents  documents
	Languages  []link
	Style      template.CSS
	Version    string
	Metrics    string

	AboutMetrics string // what loading the metrics does
	FirstScrape  string // how to trigger the first scrape; empty if there has been one
}

// Render writes the page. The query selects and sorts the users: q (search text), state, label, sort, order and page.
// It also selects the language (lang) and stops refreshing (refresh=off). Invalid parts of the query are ignored.
func Render(w io.Writer, data Data, values url.Values) error {
	q := parseQuery(values)
	r := renderer{Data: data, Language: q.language, entries: newEntries(data)}
	if r.Language == nil {
		r.Language = locale.Match(data.AcceptLanguage)
	}
	r.counts = countHealth(r.entries)
	problems := r.findProblems()
	return pages[r.Language].Execute(w, templateData{
		Language:   r.Language,
		Navigation: r.newNavigation(),
		Headline:   r.newHeadline(problems),
		AsOf:       r.asOf(!q.still),
		Refresh:    newRefresh(q),
		Problems:   problems,
		Health:     newHealthLinks(r.counts, q),
		Budget:     r.newBudget(),
		Balance:    r.newBalance(),
		Replica:    r.newReplicaCard(),
		Queue:      r.describeQueue(),
		Scrapes:    r.describeScrapes(),
		Table:      r.newTable(q),
		Documents:  r.newDocuments(),
		Languages:  newLanguageLinks(r.Language, q),
		Style:      template.CSS(style), //nolint:gosec // our own file
		Version:    data.Version,
		Metrics:    data.Metrics,

		AboutMetrics: r.Join(r.Text("Loading this page is a scrape: it requests the users that are due."), r.billing()),
		FirstScrape:  r.describeFirstScrape(),
	})
}
