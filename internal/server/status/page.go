// Package status is the status page: a page for people, which answers whether
// the exporter works and, if not, why. It works without JavaScript and fetches
// nothing.
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
)

// Data is what the page tells of.
type Data struct {
	Now        time.Time
	Started    time.Time
	LastScrape time.Time // zero before the first
	Users      []collector.UserSnapshot
	Account    quota.Account
	Zone       *time.Location // whose midnight begins the quota day
	Version    string
	Metrics    string // path of the metrics, without a slash before it

	ReloadError  string // why the latest reload failed; empty if it did not
	StorageError string // why the state is not on disk; empty if it is
	TokenError   string // why the token cannot be read; empty if it can
	Closing      bool   // whether the exporter is shutting down
}

var (
	//go:embed page.html
	pageText string
	//go:embed page.css
	style string

	page = template.Must(template.New("status").Parse(pageText))
)

// Policy is the Content-Security-Policy of the page: nothing but its own style,
// its icon and its search.
var Policy = "default-src 'none'; style-src '" + hash(style) + "'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// hash returns a source expression of a Content-Security-Policy.
func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// view is what the template shows.
type view struct {
	Verdict
	Problems []problem
	Counts   []count
	Budget   budget
	Scraped  string
	Table    table
	Style    template.CSS
	Version  string
	Metrics  string
}

// Render writes the page. The query says which users it shows, and in which
// order: q (text to search for), state, sort, order and page. What it does not
// understand it leaves out.
func Render(w io.Writer, data Data, query url.Values) error {
	entries := entriesOf(data)
	tally := tallyOf(entries)
	problems := problemsOf(data)
	wanted := parseQuery(query)
	return page.Execute(w, view{
		Verdict:  verdictOf(data, tally, problems),
		Problems: problems,
		Counts:   countsOf(tally, wanted),
		Budget:   budgetOf(data),
		Scraped:  scrapedOf(data),
		Table:    tableOf(data, entries, wanted),
		Style:    template.CSS(style), //nolint:gosec // our own file
		Version:  data.Version,
		Metrics:  data.Metrics,
	})
}
