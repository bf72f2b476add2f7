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

var screenshots = flag.String("screenshots", "", "folder to write screenshots of the status page to")

// browser is a running Chromium with one window.
type browser struct {
	t   *testing.T
	ctx context.Context //nolint:containedctx // of the window: chromedp keeps all in it

	mu       sync.Mutex // protects the following fields
	requests []string   // addresses that the page has asked for
	trouble  []string   // what the console would show
}

func startBrowser(t *testing.T) *browser {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatalf("%v: make e2e installs it", err)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.NoSandbox, chromedp.DisableGPU)
	for _, flag := range []string{"disable-quic", "disable-background-networking", "disable-component-update", "disable-sync"} {
		options = append(options, chromedp.Flag(flag, true))
	}
	b := &browser{t: t}
	ctx, stop := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(stop)
	b.ctx, stop = chromedp.NewContext(ctx, chromedp.WithListener(b.listen))
	t.Cleanup(stop)
	if err := chromedp.Do(b.ctx, command(network.Enable, network.EnableParams{}), chromedp.EmulateViewport(1300, 900)); err != nil {
		t.Fatal(err)
	}
	return b
}

// command makes an action of a command whose result does not matter.
func command[P, R any](cmd cdp.Command[P, R], params P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, cmd, params)
		return err
	})
}

// listen takes down what the page does that it should not.
func (b *browser) listen(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch event := event.(type) {
	case *network.EventRequestWillBeSent:
		b.requests = append(b.requests, event.Request.URL)
	case *log.EventEntryAdded:
		b.trouble = append(b.trouble, event.Entry.Text)
	case *runtime.EventConsoleAPICalled:
		b.trouble = append(b.trouble, fmt.Sprintf("console.%s", event.Type))
	case *runtime.EventExceptionThrown:
		b.trouble = append(b.trouble, event.ExceptionDetails.Text)
	}
}

// do has the browser do something.
func (b *browser) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

// tell returns what the browser tells.
func tell[T any](b *browser, action chromedp.Action[T]) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	result, err := chromedp.Run(ctx, action)
	if err != nil {
		b.t.Fatal(err)
	}
	return result
}

// follow does what leads to another page, and waits for it.
func (b *browser) follow(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	if response, err := chromedp.RunResponse(ctx, actions...); err != nil || response.Status != http.StatusOK {
		b.t.Fatalf("%v, %+v", err, response)
	}
}

// link clicks on the link with a text.
func link(text string) chromedp.Action[chromedp.Void] {
	return chromedp.Click(`//a[.="` + text + `"]`)
}

// search types a text into the search, and Enter.
func search(text string) chromedp.Action[chromedp.Void] {
	return chromedp.SendKeys(chromedp.CSS("input[name=q]"), text+"\r")
}

// expect looks for texts on the page.
func (b *browser) expect(texts ...string) {
	b.t.Helper()
	body := strings.ReplaceAll(tell(b, chromedp.Evaluate[string]("document.body.innerText")), "\u00a0", " ")
	for _, text := range texts {
		if !strings.Contains(body, text) {
			b.t.Errorf("want %q on the page:\n%s", text, body)
		}
	}
}

// rows returns how many users the table shows.
func (b *browser) rows() int {
	b.t.Helper()
	return tell(b, chromedp.Evaluate[int]("document.querySelectorAll('tbody tr').length"))
}

// shoot takes a picture of the whole page, if pictures are wanted.
func (b *browser) shoot(name string) {
	b.t.Helper()
	if *screenshots == "" {
		return
	}
	if err := os.WriteFile(filepath.Join(*screenshots, name+".png"), tell(b, chromedp.FullScreenshot(100)), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// expectQuiet asserts that nothing went wrong, and that no other host was asked.
func (b *browser) expectQuiet(address string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.trouble) > 0 {
		b.t.Errorf("the console shows %q", b.trouble)
	}
	for _, request := range b.requests {
		if u, err := url.Parse(request); err != nil || u.Host != address && u.Scheme != "data" {
			b.t.Errorf("the page has asked for %s", request)
		}
	}
	if len(b.requests) == 0 {
		b.t.Error("no request was seen")
	}
}

// dark has the page shown in the dark.
func dark() chromedp.Action[chromedp.Void] {
	return command(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}}})
}

// statusPage starts an exporter, scrapes it, and opens its status page.
func statusPage(t *testing.T, b *browser, users string, answers func(api *justoneapitest.Server)) (address string) {
	t.Helper()
	api := justoneapitest.NewServer()
	t.Cleanup(api.Close)
	api.SetAll(exportertest.Steady)
	answers(api)
	file := exportertest.WriteFile(t, "b.yml", "api: {base_url: '"+api.URL+"', token: "+justoneapitest.Token+", max_concurrency: 64, max_requests_per_second: 1000000}\n"+
		"quota: {daily_limit: 20000}\nusers: "+users+"\n")
	_, address = exportertest.StartExporter(t, "--config.file="+file)
	exportertest.Get(t, http.DefaultClient, "http://"+address+"/metrics")
	b.follow(chromedp.Navigate("http://" + address + "/"))
	t.Cleanup(func() { b.expectQuiet(address) })
	return address
}

func steadily(*justoneapitest.Server) {}

// TestStatusPage looks at the page in a browser.
func TestStatusPage(t *testing.T) {
	t.Run("healthy", func(t *testing.T) {
		b := startBrowser(t)
		statusPage(t, b, "[{wmid: 2, name: 碧诗}, 3, 3546564939877816]", steadily)
		b.expect("Working", "3 of 20,000 requests used, 19,997 left", "碧诗", "4,153,991", "in 15 min")
		b.shoot("healthy")
		b.do(dark())
		b.shoot("healthy-dark")
		if got := tell(b, chromedp.Evaluate[string]("document.querySelector('td.name a').href")); got != "https://space.bilibili.com/2" {
			t.Errorf("the first name leads to %s", got)
		}
		b.follow(link("WMID"))
		b.follow(link("WMID"))
		if got := tell(b, chromedp.Evaluate[string]("document.querySelector('tbody tr').innerText")); !strings.Contains(got, "3546564939877816") {
			t.Errorf("sorted by WMID, downwards, the first is %s", got)
		}
		b.follow(link("Configuration"))
		b.expect("min_interval: 15m", "token: <secret>")
	})
	t.Run("failing", func(t *testing.T) {
		b := startBrowser(t)
		statusPage(t, b, "[{wmid: 2, name: 碧诗}, 3]", func(api *justoneapitest.Server) {
			api.Set(2, justoneapitest.BilibiliCode(-404, "啥都木有"))
		})
		b.expect("Partly working: 1 of 2 users failing", "-404: Bilibili: no such user", "Check the WMID")
		b.shoot("failing")
		b.follow(chromedp.Click(chromedp.CSS(".counts .failing a")))
		if got := b.rows(); got != 1 {
			t.Errorf("got %d failing users, want 1", got)
		}
	})
	t.Run("paused", func(t *testing.T) {
		b := startBrowser(t)
		statusPage(t, b, "[2, 3]", func(api *justoneapitest.Server) { api.SetAccount(justoneapitest.Account{EmptyBalance: true}) })
		b.expect("Not working: calls are paused", "Calls are paused: the account's balance is insufficient (601). The next scrape after", "Top up the account")
		b.shoot("paused")
	})
	t.Run("many", func(t *testing.T) {
		b := startBrowser(t)
		var users strings.Builder
		for wmid := range 10_000 {
			fmt.Fprintf(&users, "\n  - {wmid: %d, name: user %d}", wmid+1, wmid+1)
		}
		statusPage(t, b, users.String(), steadily)
		b.expect("10,000\nfresh", "Users 1 to 100 of 10,000")
		b.shoot("many")
		b.follow(link("Last"))
		b.expect("Users 9,901 to 10,000 of 10,000")
		if got := b.rows(); got != 100 {
			t.Errorf("got %d users on the last page, want 100", got)
		}
		b.follow(search("user 77"))
		b.expect("Users 1 to 100 of 111")
	})
	t.Run("narrow", func(t *testing.T) {
		b := startBrowser(t)
		b.do(chromedp.EmulateViewport(360, 740, chromedp.EmulateMobile))
		statusPage(t, b, "[{wmid: 2, name: "+strings.Repeat("长", 60)+"}, {wmid: 3546564939877816, name: "+strings.Repeat("x", 200)+"}, 4]", func(api *justoneapitest.Server) {
			api.Set(2, justoneapitest.Code(301, strings.Repeat("sorry", 50)))
		})
		b.expect("Last error", "301: the vendor could not collect the data")
		b.shoot("narrow")
		b.do(dark())
		b.shoot("narrow-dark")
		if width := tell(b, chromedp.Evaluate[int]("document.documentElement.scrollWidth")); width > 360 {
			t.Errorf("the page is %d pixels wide", width)
		}
	})
	t.Run("without JavaScript", func(t *testing.T) {
		b := startBrowser(t)
		b.do(command(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}))
		statusPage(t, b, "[{wmid: 2, name: 碧诗}, 3]", steadily)
		b.follow(search("碧"))
		b.expect("1 user", "碧诗", "Show all users")
	})
	t.Run("hostile name", func(t *testing.T) {
		b := startBrowser(t)
		address := statusPage(t, b, `[{wmid: 2, name: "<script>document.title='owned'</script><img src=x onerror=alert(1)>"}, 3]`, steadily)
		b.follow(chromedp.Navigate("http://" + address + "/?q=" + url.QueryEscape("<script>document.title='owned'</script>")))
		b.expect("<script>document.title='owned'</script><img src=x onerror=alert(1)>")
		b.shoot("hostile")
		if title := tell(b, chromedp.Title()); title != "Working · bilibili_exporter" {
			t.Errorf("the title is %q", title)
		}
	})
}
