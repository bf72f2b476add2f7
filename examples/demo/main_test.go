package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
)

// TestDemo scrapes the demo once and checks the metrics that it names. Neither the pages nor the log warn about costs.
func TestDemo(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	output, w := io.Pipe()
	var logs bytes.Buffer // written by the demo, and read when it has ended
	done := make(chan error, 1)
	go func() {
		done <- run(ctx, "127.0.0.1:0", w, &logs)
		w.Close() //nolint:errcheck // always nil
	}()
	lines := bufio.NewReader(output)
	first, err := lines.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	address := regexp.MustCompile(`^bilibili_exporter runs at (http://\S+),`).FindStringSubmatch(first)
	if address == nil {
		t.Fatalf("got output %q", first)
	}
	rest := make(chan string)
	go func() {
		text, _ := io.ReadAll(lines) // the pipe returns no errors
		rest <- string(text)
	}()

	pages := exportertest.Get(t, http.DefaultClient, address[1])
	metrics := exportertest.Get(t, http.DefaultClient, address[1]+"/metrics")
	pages += exportertest.Get(t, http.DefaultClient, address[1])
	const hint = "Nothing is billed in this demo."
	if !strings.Contains(pages, hint) || strings.Contains(strings.ReplaceAll(pages, hint, ""), "billed") {
		t.Errorf("want pages that mention billing only in %q, got\n%s", hint, pages)
	}
	for _, want := range []string{
		`bilibili_followers{wmid="100001"} 4.15`, `bilibili_followers{wmid="100005"} 1.2`,
		`bilibili_up{wmid="100007"} 0`, `bilibili_user_interval_seconds{wmid="100007"} 10`,
		`upstream_error_code{code="-404"} 1`,
	} {
		if !strings.Contains(metrics, "\n"+want) {
			t.Errorf("the metrics do not contain %s", want)
		}
	}

	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	const want = "\nThe stand-in API had 8 requests and would have billed 8 of them.\n"
	if got := <-rest; !strings.HasSuffix(got, want) {
		t.Errorf("got output %q, want %q at its end", got, want)
	}
	const failure = `msg="Error fetching user" code=-404 `
	if got := logs.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, failure) ||
		strings.Contains(got, " billed.") {
		t.Errorf("want one line with %s, without a warning about costs, got\n%s", failure, got)
	}
}
