//go:build e2e

package e2e

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi/justoneapitest"
	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
)

var screenshots = flag.String("screenshots", "", "directory for screenshots of the status page")

// browser is a running Chromium with one window.
type browser struct {
	t   *testing.T
	ctx context.Context //nolint:containedctx // chromedp keeps the window in it

	mu       sync.Mutex // protects the following fields
	requests []string   // URLs that pages have requested
	problems []string   // messages and errors on the console
}

func startBrowser(t *testing.T) *browser {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatalf("%v: make e2e installs it", err)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(program), chromedp.NoSandbox, chromedp.DisableGPU)
	for _, flag := range []string{
		"disable-quic", "disable-background-networking", "disable-component-update", "disable-sync",
	} {
		options = append(options, chromedp.Flag(flag, true))
	}
	b := &browser{t: t}
	ctx, stop := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(stop)
	b.ctx, stop = chromedp.NewContext(ctx, chromedp.WithListener(b.listen))
	t.Cleanup(stop)
	start := command(network.Enable, network.EnableParams{})
	if err := chromedp.Do(b.ctx, start, chromedp.EmulateViewport(1300, 900)); err != nil { // its context ends the browser
		t.Fatal(err)
	}
	return b
}

// command returns the action that runs a command and ignores its result.
func command[P, R any](cmd cdp.Command[P, R], params P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, cmd, params)
		return err
	})
}

// listen records requests and problems.
func (b *browser) listen(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch event := event.(type) {
	case *network.EventRequestWillBeSent:
		b.requests = append(b.requests, event.Request.URL)
	case *log.EventEntryAdded:
		b.problems = append(b.problems, event.Entry.Text)
	case *runtime.EventConsoleAPICalled:
		b.problems = append(b.problems, fmt.Sprintf("console.%s", event.Type))
	case *runtime.EventExceptionThrown:
		b.problems = append(b.problems, event.ExceptionDetails.Text)
	}
}

// do runs actions.
func (b *browser) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

// run runs an action and returns its result.
func run[T any](b *browser, action chromedp.Action[T]) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	result, err := chromedp.Run(ctx, action)
	if err != nil {
		b.t.Fatal(err)
	}
	return result
}

// navigate runs actions that lead to another page, and waits for it.
func (b *browser) navigate(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	if response, err := chromedp.RunResponse(ctx, actions...); err != nil || response.Status != http.StatusOK {
		b.t.Fatalf("%v, %+v", err, response)
	}
}

// link clicks the link with the text.
func link(text string) chromedp.Action[chromedp.Void] {
	return chromedp.Click(`//a[.="` + text + `"]`)
}

// search types a text and Enter into the search field.
func search(text string) chromedp.Action[chromedp.Void] {
	return chromedp.SendKeys(chromedp.CSS("input[name=q]"), text+"\r")
}

// expect checks that the texts are on the page.
func (b *browser) expect(texts ...string) {
	b.t.Helper()
	body := strings.ReplaceAll(run(b, chromedp.Evaluate[string]("document.body.innerText")), "\u00a0", " ")
	for _, text := range texts {
		if !strings.Contains(body, text) {
			b.t.Errorf("want %q on the page:\n%s", text, body)
		}
	}
}

// rows returns the number of users in the table.
func (b *browser) rows() int {
	b.t.Helper()
	return run(b, chromedp.Evaluate[int]("document.querySelectorAll('tbody tr').length"))
}

// screenshot writes a screenshot of the whole page, if screenshots are wanted.
func (b *browser) screenshot(name string) {
	b.t.Helper()
	if *screenshots == "" {
		return
	}
	png := run(b, chromedp.FullScreenshot(100))
	if err := os.WriteFile(filepath.Join(*screenshots, name+".png"), png, 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// expectNoProblems checks that there were no problems, and no requests to other hosts than address.
func (b *browser) expectNoProblems(address string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.problems) > 0 {
		b.t.Errorf("the console shows %q", b.problems)
	}
	for _, request := range b.requests {
		if u, err := url.Parse(request); err != nil || u.Host != address && u.Scheme != "data" {
			b.t.Errorf("the page has requested %s", request)
		}
	}
	if len(b.requests) == 0 {
		b.t.Error("no request was recorded")
	}
}

// colorScheme switches to the light or the dark mode.
func colorScheme(scheme string) chromedp.Action[chromedp.Void] {
	feature := &emulation.MediaFeature{Name: "prefers-color-scheme", Value: scheme}
	params := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{feature}}
	return command(emulation.SetEmulatedMedia, params)
}

// openStatusPage starts an exporter, scrapes it, and opens its status page. Users work unless prepare changes the API.
func openStatusPage(t *testing.T, b *browser, users string, prepare func(*justoneapitest.Server)) (address string) {
	t.Helper()
	api := justoneapitest.NewServer()
	t.Cleanup(api.Close)
	api.SetAll(exportertest.Steady)
	if prepare != nil {
		prepare(api)
	}
	file := exportertest.WriteFile(t, "b.yml", "api: {base_url: '"+api.URL+"', token: "+justoneapitest.Token+", "+
		"max_concurrency: 64, max_requests_per_second: 1000000}\nquota: {daily_limit: 20000}\nusers: "+users+"\n")
	_, address = exportertest.StartExporter(t, "--config.file="+file)
	exportertest.Get(t, &http.Client{Transport: exportertest.ScrapeTransport(time.Minute)}, "http://"+address+"/metrics")
	b.navigate(chromedp.Navigate("http://" + address + "/"))
	t.Cleanup(func() { b.expectNoProblems(address) })
	return address
}

// TestStatusPage tests the page in a browser.
func TestStatusPage(t *testing.T) {
	t.Parallel()
	t.Run("healthy", func(t *testing.T) {
		b := startBrowser(t)
		openStatusPage(t, b, "[{wmid: 2, name: 碧诗}, 3, 3546564939877816]", nil)
		b.expect("Working", "3 of 20,000 requests charged, 19,997 left", "碧诗", "4,153,991", "in 15 min")
		got := run(b, chromedp.Evaluate[string]("document.querySelector('td.name a').href"))
		if got != "https://space.bilibili.com/2" {
			t.Errorf("the first name leads to %s", got)
		}
		b.navigate(link("WMID"))
		b.navigate(link("WMID"))
		got = run(b, chromedp.Evaluate[string]("document.querySelector('tbody tr').innerText"))
		if !strings.Contains(got, "3546564939877816") {
			t.Errorf("sorted by WMID in descending order, the first user is %s", got)
		}
		b.navigate(link("Configuration"))
		b.expect("min_interval: 15m", "token: <secret>")
	})
	t.Run("unavailable", func(t *testing.T) {
		b := startBrowser(t)
		openStatusPage(t, b, "[{wmid: 2, name: 碧诗}, 3]", func(api *justoneapitest.Server) {
			api.Set(2, justoneapitest.BilibiliCode(-404, "啥都木有"))
		})
		b.expect("Working, 1 of 2 users unavailable", "-404: Bilibili: no such user", "Check the WMID")
		b.navigate(chromedp.Click(chromedp.CSS(".counts .unavailable a")))
		if got := b.rows(); got != 1 {
			t.Errorf("got %d unavailable users, want 1", got)
		}
	})
	t.Run("paused", func(t *testing.T) {
		b := startBrowser(t)
		openStatusPage(t, b, "[2, 3]", func(api *justoneapitest.Server) {
			api.SetAccount(justoneapitest.Account{EmptyBalance: true})
		})
		b.expect("Not working: balance insufficient (601), requests paused since ",
			"Requests are paused: balance insufficient (601). Next probe: first scrape after", "Top up the account")
	})
	t.Run("many", func(t *testing.T) {
		b := startBrowser(t)
		var users strings.Builder
		for wmid := range 10_000 {
			fmt.Fprintf(&users, "\n  - {wmid: %d, name: user %d}", wmid+1, wmid+1)
		}
		openStatusPage(t, b, users.String(), nil)
		b.expect("10,000\nfresh", "Users 1 to 100 of 10,000")
		b.navigate(link("Last"))
		b.expect("Users 9,901 to 10,000 of 10,000")
		if got := b.rows(); got != 100 {
			t.Errorf("got %d users on the last page, want 100", got)
		}
		b.navigate(search("user 77"))
		b.expect("Users 1 to 100 of 111")
	})
	t.Run("narrow", func(t *testing.T) {
		b := startBrowser(t)
		b.do(chromedp.EmulateViewport(360, 740, chromedp.EmulateMobile))
		users := fmt.Sprintf("[{wmid: 2, name: %s}, {wmid: 3546564939877816, name: %s}, 4]",
			strings.Repeat("长", 60), strings.Repeat("x", 200))
		openStatusPage(t, b, users, func(api *justoneapitest.Server) {
			api.Set(2, justoneapitest.Code(301, strings.Repeat("sorry", 50)))
		})
		b.expect("Last error", "301: collection failed")
		b.screenshot("narrow")
		if found := run(b, chromedp.Evaluate[[]string](cutOff)); len(found) > 0 {
			t.Errorf("%q", found)
		}
	})
	t.Run("without JavaScript", func(t *testing.T) {
		b := startBrowser(t)
		params := emulation.SetScriptExecutionDisabledParams{Value: true}
		b.do(command(emulation.SetScriptExecutionDisabled, params))
		openStatusPage(t, b, "[{wmid: 2, name: 碧诗}, 3]", nil)
		b.navigate(search("碧"))
		b.expect("1 user", "碧诗", "Show all users")
	})
	t.Run("hostile name", func(t *testing.T) {
		b := startBrowser(t)
		const script = "<script>document.title='owned'</script>"
		const name = script + "<img src=x onerror=alert(1)>"
		address := openStatusPage(t, b, `[{wmid: 2, name: "`+name+`"}, 3]`, nil)
		b.navigate(chromedp.Navigate("http://" + address + "/?q=" + url.QueryEscape(script)))
		b.expect(name)
		if title := run(b, chromedp.Title()); title != "Working · bilibili_exporter" {
			t.Errorf("the title is %q", title)
		}
	})
}
