package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// TestDemo scrapes the demo once and checks the metrics that it names.
func TestDemo(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	output, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- run(ctx, "127.0.0.1:0", w)
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

	resp, err := http.Get(address[1] + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	metrics, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`bilibili_followers{wmid="100001"} 4.15`, `bilibili_followers{wmid="100005"} 1.2`,
		`bilibili_up{wmid="100007"} 0`, `bilibili_user_interval_seconds{wmid="100007"} 10`,
		`upstream_error_code{code="-404"} 1`,
	} {
		if !strings.Contains(string(metrics), "\n"+want) {
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
}
