package collector

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/bilibili-exporter/bilibili_exporter/collector/quota"
)

// There can be ten thousands of users, of whom a registry makes, checks, sorts
// and renders every series anew at every scrape. What is written here is the
// same, byte for byte, but prepared as far as no scrape changes it.

// text writes the metrics of users in the text format.
type text struct {
	families []textFamily // by name
	rank     []int        // of each user among the series of a family
	labels   []string     // of the series, by rank
}

// textFamily is a metric. Its function writes the series of all users.
type textFamily struct {
	name  string
	write func(w *bufio.Writer, users []shownState)
}

// shownState is what is known of a user, and whether its value is shown. None
// is known while a reload is under way.
type shownState struct {
	*quota.State
	shown bool
}

func newText(users []User, info *infoMetric) *text {
	t := &text{rank: make([]int, len(users)), labels: make([]string, len(users))}
	for _, g := range userGauges {
		t.families = append(t.families, textFamily{g.name, func(w *bufio.Writer, users []shownState) { t.writeGauge(w, &g, users) }})
	}
	constant := render(info)
	t.families = append(t.families,
		textFamily{lastErrorName, writeLastErrors},
		textFamily{infoName, func(w *bufio.Writer, _ []shownState) { w.Write(constant) }}) //nolint:errcheck // kept by w
	slices.SortFunc(t.families, func(a, b textFamily) int { return strings.Compare(a.name, b.name) })

	order := make([]int, len(users))
	for i, user := range users {
		order[i] = i
		t.labels[i] = `{wmid="` + formatWMID(user.WMID) + `"} `
	}
	slices.SortFunc(order, func(a, b int) int { return strings.Compare(t.labels[a], t.labels[b]) })
	slices.Sort(t.labels)
	for rank, i := range order {
		t.rank[i] = rank
	}
	return t
}

// render returns the text of a collector's metrics.
func render(c prometheus.Collector) []byte {
	registry := prometheus.NewRegistry()
	registry.MustRegister(c)
	families, err := registry.Gather()
	if err != nil {
		panic(fmt.Sprintf("collector: %v", err))
	}
	var b bytes.Buffer
	for _, family := range families {
		expfmt.MetricFamilyToText(&b, family) //nolint:errcheck // a buffer cannot fail
	}
	return bytes.Clone(b.Bytes())
}

// WriteText writes v's metrics that have a series for each user, and the given
// families, in Prometheus' text format: as if the families had been gathered
// together with v. They are those of [View.Common] and others, sorted by name.
// The error is the first of out.
func (v *View) WriteText(out io.Writer, families []*dto.MetricFamily) error {
	w := bufio.NewWriterSize(out, 64<<10)
	users := v.ranked()
	own := v.text.families
	for _, family := range families {
		for len(own) > 0 && own[0].name < family.GetName() {
			own[0].write(w, users)
			own = own[1:]
		}
		expfmt.MetricFamilyToText(w, family) //nolint:errcheck // kept by w
	}
	for _, family := range own {
		family.write(w, users)
	}
	return w.Flush()
}

// ranked returns what is known of the users, by rank.
func (v *View) ranked() []shownState {
	now := time.Now()
	states := v.guard.Users()
	ranked := make([]shownState, len(v.text.rank))
	for i := range states {
		if at, ok := v.settings.index[states[i].WMID]; ok {
			ranked[v.text.rank[at]] = shownState{&states[i], v.shows(&states[i], now)}
		}
	}
	return ranked
}

// writeHead writes what comes before the series of a family.
func writeHead(w *bufio.Writer, name, help string) {
	fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s gauge\n", name, help, name)
}

func (t *text) writeGauge(w *bufio.Writer, g *userGauge, users []shownState) {
	head := false
	for i, user := range users {
		if user.State == nil {
			continue
		}
		value, ok := g.value(user.State, user.shown)
		if !ok {
			continue
		}
		if !head {
			writeHead(w, g.name, g.help)
			head = true
		}
		line := append(w.AvailableBuffer(), g.name...)
		line = append(line, t.labels[i]...)
		line = strconv.AppendFloat(line, value, 'g', -1, 64)
		w.Write(append(line, '\n')) //nolint:errcheck // kept by w
	}
}

// escaper escapes a label value.
var escaper = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)

// writeLastErrors writes bilibili_last_error_info, by code first.
func writeLastErrors(w *bufio.Writer, users []shownState) {
	var failures []*quota.State
	for _, user := range users {
		if user.State != nil && failed(user.State) {
			failures = append(failures, user.State)
		}
	}
	slices.SortStableFunc(failures, func(a, b *quota.State) int { return strings.Compare(a.Last.Code, b.Last.Code) })
	for i, state := range failures {
		if i == 0 {
			writeHead(w, lastErrorName, lastErrorHelp)
		}
		line := append(w.AvailableBuffer(), lastErrorName+`{code="`...)
		line = append(line, escaper.Replace(state.Last.Code)...)
		line = append(line, `",wmid="`...)
		line = strconv.AppendInt(line, state.WMID, 10)
		w.Write(append(line, "\"} 1\n"...)) //nolint:errcheck // kept by w
	}
}
