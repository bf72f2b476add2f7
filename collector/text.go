package collector

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
)

// textWriter writes the metrics of users in the text format, byte for byte what a registry would write. A registry
// creates, checks, sorts and renders every series at every scrape; a textWriter only renders. The order, and everything
// that does not change between scrapes, is prepared.
type textWriter struct {
	families []textFamily // by name
	rank     []int        // of each user among the series of a family
}

// textFamily is a metric. Its function writes the series of the users, which are sorted by rank.
type textFamily struct {
	name  string
	write func(w *bufio.Writer, users []userSample)
}

func newTextWriter(users []User, info *infoMetric) *textWriter {
	t := &textWriter{rank: make([]int, len(users))}
	for i, g := range userGauges {
		write := func(w *bufio.Writer, users []userSample) { writeGauge(w, i, users) }
		t.families = append(t.families, textFamily{g.name, write})
	}
	constant := renderInfo(info)
	t.families = append(t.families,
		textFamily{lastErrorName, writeLastErrors},
		textFamily{infoName, func(w *bufio.Writer, _ []userSample) { w.Write(constant) }}) //nolint:errcheck // kept by w
	slices.SortFunc(t.families, func(a, b textFamily) int { return strings.Compare(a.name, b.name) })

	order, wmids := make([]int, len(users)), make([]string, len(users))
	for i, user := range users {
		order[i], wmids[i] = i, formatWMID(user.WMID)
	}
	slices.SortFunc(order, func(a, b int) int { return strings.Compare(wmids[a], wmids[b]) })
	for rank, i := range order {
		t.rank[i] = rank
	}
	return t
}

// renderInfo returns the text of bilibili_user_info.
func renderInfo(info *infoMetric) []byte {
	var b bytes.Buffer
	w := bufio.NewWriter(&b)
	series := make([][]string, len(info.users))
	for i, user := range info.users {
		series[i] = info.values(user)
	}
	slices.SortFunc(series, slices.Compare)
	for i, values := range series {
		if i == 0 {
			writeHead(w, infoName, infoHelp)
		}
		line := append(w.AvailableBuffer(), infoName...)
		separator := byte('{')
		for i, label := range info.labels {
			line = append(append(line, separator), label...)
			line = append(append(line, `="`...), escaper.Replace(values[i])...)
			line, separator = append(line, '"'), ','
		}
		w.Write(append(line, "} 1\n"...)) //nolint:errcheck // a buffer cannot fail
	}
	w.Flush()                     //nolint:errcheck // likewise
	return bytes.Clone(b.Bytes()) // without spare capacity
}

// write writes the metrics of the users, which are sorted by rank, and between them the families, which are sorted by
// name. The error is the first one that out returned.
func (t *textWriter) write(out io.Writer, users []userSample, families []*dto.MetricFamily) error {
	w := bufio.NewWriterSize(out, 64<<10)
	own := t.families
	for _, family := range families {
		for len(own) > 0 && own[0].name < family.GetName() {
			own[0].write(w, users)
			own = own[1:]
		}
		expfmt.MetricFamilyToText(w, family) //nolint:errcheck // w keeps the error, and the registry has checked the family
	}
	for _, family := range own {
		family.write(w, users)
	}
	return w.Flush()
}

// writeHead writes the lines before the series of a family.
func writeHead(w *bufio.Writer, name, help string) {
	fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s gauge\n", name, help, name)
}

// writeGauge writes the gauge of userGauges with the given index.
func writeGauge(w *bufio.Writer, index int, users []userSample) {
	g, head := &userGauges[index], false
	last, number := math.NaN(), []byte(nil) // users share many values
	for i := range users {
		if !users[i].known[index] {
			continue
		}
		if !head {
			writeHead(w, g.name, g.help)
			head = true
		}
		if value := users[i].values[index]; value != last {
			last, number = value, strconv.AppendFloat(number[:0], value, 'g', -1, 64)
		}
		line := append(w.AvailableBuffer(), g.name...)
		line = append(line, `{wmid="`...)
		line = strconv.AppendInt(line, users[i].wmid, 10)
		line = append(line, `"} `...)
		line = append(line, number...)
		w.Write(append(line, '\n')) //nolint:errcheck // kept by w
	}
}

// escaper escapes a label value.
var escaper = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)

// writeLastErrors writes bilibili_last_error_info, sorted by code and then by rank.
func writeLastErrors(w *bufio.Writer, users []userSample) {
	var failures []*userSample
	for i := range users {
		if users[i].failed {
			failures = append(failures, &users[i])
		}
	}
	slices.SortStableFunc(failures, func(a, b *userSample) int { return strings.Compare(a.code, b.code) })
	for i, user := range failures {
		if i == 0 {
			writeHead(w, lastErrorName, lastErrorHelp)
		}
		line := append(w.AvailableBuffer(), lastErrorName+`{code="`...)
		line = append(line, escaper.Replace(user.code)...)
		line = append(line, `",wmid="`...)
		line = strconv.AppendInt(line, user.wmid, 10)
		w.Write(append(line, "\"} 1\n"...)) //nolint:errcheck // kept by w
	}
}
