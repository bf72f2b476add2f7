package justoneapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

const example = `{"code":0,"message":null,"recordTime":"2026-07-14T12:00:00+08:00","requestId":"r-1","data":
	{"code":0,"message":"0","ttl":1,"data":{"mid":472747194,"following":11,"whisper":0,"black":0,
	"follower":4153991,"fans_medal_toast":null,"fans_effect":null}}}`

func TestDecode(t *testing.T) {
	const malformed = "malformed: response does not match the documented format: "
	tests := []struct {
		name   string
		status int
		body   string
		want   string // the error, or "followers following"
	}{
		{"the vendor's example", 200, `{"code":0,"data":{"code":0,"message":"0","ttl":1,"data":{"mid":472747194,
			"following":11,"whisper":0,"black":0,"follower":4153991,"fans_medal_toast":null,"fans_effect":null}}}`,
			"4153991 11"},
		{"the whole envelope", 200, example, "4153991 11"},
		{"at another status", 500, example, "4153991 11"},
		{"zero", 200, swap(`4153991`, `0`), "0 11"},
		{"the largest exact number", 200, swap(`4153991`, `9007199254740992`), "9007199254740992 11"},
		{"too large", 200, swap(`4153991`, `9007199254740993`),
			malformed + `data.data: follower is out of range: 9007199254740993, request ID "r-1"`},
		{"beyond 64 bits", 200, swap(`4153991`, `99999999999999999999`),
			malformed + `data.data: follower is not an integer but 99999999999999999999, request ID "r-1"`},
		{"text", 200, swap(`4153991`, `"4153991"`),
			malformed + `data.data: follower is not an integer but text, request ID "r-1"`},
		{"exponent", 200, swap(`4153991`, `1e3`),
			malformed + `data.data: follower is not an integer but 1e3, request ID "r-1"`},
		{"another case", 200, swap(`"follower"`, `"FOLLOWER"`),
			malformed + `data.data: follower is missing, request ID "r-1"`},
		{"nearly the same user", 200, swap(`472747194`, `472747195`),
			`mismatch: response is about another user: requested 472747194, got 472747195, request ID "r-1"`},
		{"message and request ID", 200, `{"code":301,"message":"采集失败","requestId":"r-2"}`,
			`301: collection failed: message "采集失败", request ID "r-2"`},
		{"odd message and request ID", 200, `{"code":301,"message":{"a":1},"requestId":7}`,
			`301: collection failed`},
		{"Bilibili's message", 200, `{"code":0,"message":"ok","data":{"code":-404,"message":"啥都木有"}}`,
			`-404: Bilibili: no such user: message "啥都木有"`},
		{"no envelope", 502, `<html>`, `http_502: HTTP error instead of an API response`},
		{"an envelope without a code", 404, `{"error":"x"}`, `http_404: HTTP error instead of an API response`},
		{"empty", 200, ``, malformed + `want a JSON object`},
		{"body without end", 200, example + strings.Repeat(" ", maxBody), malformed + `longer than 1048576 bytes`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			stat, err := decode(test.status, []byte(test.body), 472747194)
			got := fmt.Sprint(stat.Followers, stat.Following)
			if err != nil {
				got = err.Error()
			}
			if got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func swap(old, text string) string { return strings.Replace(example, old, text, 1) }

func TestScrub(t *testing.T) {
	secret := NewToken("s3cret/+ &")
	long := strings.Repeat("长", 190) + "s3cret/+ &" + strings.Repeat("x", 1000)
	for _, text := range []string{
		long,
		"a\x00\x1b[31m s3cret/+ & s3cret%2F%2B+%26 s3cret%2F+%20&", // Go
		"s3cret/%2B%20%26", "s3cret%2f%2b%20%26", // Python, .NET
		`s3cret\/+ \u0026`, `s3cret\/\u002B\u0020\u0026`, "s3cret/+ &amp;", "s3cret&#x2F;&#43; &#38;", // JSON, HTML
	} {
		e := (&Error{Kind: kindNetwork, Message: text, RequestID: text, Detail: text}).scrub(secret)
		got := e.Error()
		if strings.Contains(got, "s3cr") {
			t.Errorf("shows the token: %s", got)
		}
		if strings.ContainsAny(got, "\x00\x1b") || utf8.RuneCountInString(e.Message) > maxText {
			t.Errorf("is not printable: %q", got)
		}
	}
}

// TestExplain compares with the kinds of errors, also where a number is a code of the API and of Bilibili.
func TestExplain(t *testing.T) {
	for _, want := range []Kind{
		kindTimeout, kindNetwork, kindMalformed, kindMismatch, httpKind(502),
		apiKind(303), apiKind(777), apiKind(-404), apiKind(22115),
		bilibiliKind(-404), bilibiliKind(303), bilibiliKind(777), bilibiliKind(22115),
	} {
		if got := Explain(want.Code, want.Bilibili); got != want || got.Meaning == "" {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	for _, reason := range []Reason{
		ReasonToken, ReasonPermission, ReasonBalance, ReasonTokenLimit, ReasonDailyQuota, ReasonRateLimit,
	} {
		if got := ExplainReason(reason); got.Reason != reason || got.Code == "" {
			t.Errorf("%s: got %+v", reason, got)
		}
	}
	for _, odd := range []string{"", "other", "http_", "http_x", "1e3"} {
		if got := Explain(odd, false); got.Code != odd || got.Meaning == "" {
			t.Errorf("%q: got %+v", odd, got)
		}
	}
}

func TestKnownCodes(t *testing.T) {
	got := strings.Join(KnownCodes(), " ")
	want := "timeout network malformed mismatch " +
		"100 101 201 202 300 301 302 303 400 404 500 503 600 601 602 " +
		"-8888 -799 -658 -626 -509 -504 -503 -500 -412 -404 -403 -401 -400 -352 -112 -111 -101 22115"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func BenchmarkDecode(b *testing.B) {
	body := []byte(`{"code":0,"message":"success","requestId":"0","data":{"code":0,"message":"OK","ttl":1,` +
		`"data":{"mid":1,"following":11,"whisper":0,"black":0,"follower":4153991}}}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, failure := decode(200, body, 1); failure != nil {
			b.Fatal(failure)
		}
	}
}

// FuzzDecode checks that the counts of a successful response are those in the body, decoded independently.
func FuzzDecode(f *testing.F) {
	f.Add(200, []byte(example), int64(472747194))
	f.Add(502, []byte("<html>"), int64(1))
	f.Add(200, []byte(`{"code":0,"data":{"code":-404,"message":"啥都木有"}}`), int64(2))
	f.Add(200, []byte(swap("4153991", "-1")), int64(472747194))
	f.Add(200, []byte(swap("472747194", "47274719.4e1")), int64(472747194))
	f.Fuzz(func(t *testing.T, status int, body []byte, wmid int64) {
		stat, failure := decode(status, body, wmid)
		if failure != nil {
			if failure.Code == "" || failure.Meaning == "" || stat != (Stat{}) {
				t.Fatalf("got %+v and %+v", stat, failure)
			}
			return
		}
		var tree any
		dec := json.NewDecoder(bytes.NewReader(body))
		dec.UseNumber()
		if err := dec.Decode(&tree); err != nil {
			t.Fatal(err)
		}
		for path, want := range map[string]int64{
			"code": 0, "data.code": 0, "data.data.mid": wmid,
			"data.data.follower": stat.Followers, "data.data.following": stat.Following,
		} {
			at := tree
			for key := range strings.SplitSeq(path, ".") {
				at = at.(map[string]any)[key]
			}
			if got, err := at.(json.Number).Int64(); err != nil || got != want {
				t.Errorf("%s: the response contains %v, want %d", path, at, want)
			}
		}
		if stat.Followers < 0 || stat.Followers > maxCount || stat.Following < 0 || stat.Following > maxCount {
			t.Errorf("out of range: %+v", stat)
		}
	})
}
