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
)

// Data is the state of the exporter that the page shows.
type Data struct {
	Now        time.Time
	Started    time.Time
	LastScrape time.Time // zero before the first scrape
	Users      []collector.UserSnapshot
	Account    quota.Account
	Zone       *time.Location // of the quota day
	Advice     advice.Advice

	BalanceInterval time.Duration // 0 if the balance is not requested
	Replica         *Replica      // nil without shared storage

	Version string
	Metrics string // path of the metrics, without the leading slash

	ReloadError  string // of the last reload; empty if it succeeded
	StorageError string // of the last access to the persistent state; empty if it succeeded
	TokenError   string // of the last attempt to read the token; empty if it succeeded
	Closing      bool   // whether the exporter is shutting down
}

var (
	//go:embed page.html
	pageText string
	//go:embed page.css
	style string

	page = template.Must(template.New("status").Parse(pageText))
)

// Policy is the Content-Security-Policy of the page. It allows only the page's own style, icon and search.
var Policy = "default-src 'none'; style-src '" + hash(style) + "'; img-src data:; form-action 'self'; " +
	"base-uri 'none'; frame-ancestors 'none'"

// hash returns the hash of a style as a Content-Security-Policy source.
func hash(style string) string {
	sum := sha256.Sum256([]byte(style))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// templateData is the data of the template.
type templateData struct {
	Headline headline
	Problems []problem
	Health   []healthLink
	Budget   budget
	Balance  *balance     // nil if it is not requested
	Replica  *replicaCard // nil without shared storage
	Scrapes  string
	Table    table
	Style    template.CSS
	Version  string
	Metrics  string
}

// Render writes the page. The query selects and sorts the users: q (search text), state, sort, order and page.
// Invalid parts of the query are ignored.
func Render(w io.Writer, data Data, values url.Values) error {
	entries := newEntries(data)
	counts := countHealth(entries)
	problems := findProblems(data)
	q := parseQuery(values)
	return page.Execute(w, templateData{
		Headline: newHeadline(data, counts, problems),
		Problems: problems,
		Health:   newHealthLinks(counts, q),
		Budget:   newBudget(data),
		Balance:  newBalance(data),
		Replica:  newReplicaCard(data),
		Scrapes:  describeScrapes(data),
		Table:    newTable(data, entries, q),
		Style:    template.CSS(style), //nolint:gosec // our own file
		Version:  data.Version,
		Metrics:  data.Metrics,
	})
}
