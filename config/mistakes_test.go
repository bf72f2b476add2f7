package config

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/mistakes.golden")

// mistakenConfigurations have the mistakes that people make, by name. Beside them are the mistakenFiles. The word TOKEN
// stands for a token, which no message may show.
var mistakenConfigurations = []struct{ name, text string }{
	{"indented with a tab", "api:\n\ttoken: TOKEN\nusers: [2]\n"},
	{"indented with a full-width space", "api: {token: TOKEN}\nusers:\n\u3000- 2\n"},
	{"indented with a non-breaking space", "api: {token: TOKEN}\nusers:\n\u00a0 - 2\n"},
	{"full-width digits", "api: {token: TOKEN}\nquota: {min_interval: １５m}\nusers: [４]\n"},
	{"a tab among spaces", "users: [2]\napi:\n  token: TOKEN\n\ttimeout: 60s\n"},
	{"token that starts with @", "users: [2]\napi:\n  token: @TOKEN\n"},
	{"token that starts with a backtick", "users: [2]\napi:\n  token: `TOKEN`\n"},
	{"token that starts with %", "users: [2]\napi:\n  token: %TOKEN\n"},
	{"token that starts with *", "users: [2]\napi:\n  token: *TOKEN\n"},
	{"token that starts with &", "users: [2]\napi:\n  token: &TOKEN\n"},
	{"token that starts with !", "users: [2]\napi:\n  token: !TOKEN\n"},
	{"token that starts with |", "users: [2]\napi:\n  token: |TOKEN\n"},
	{"token in braces", "users: [2]\napi:\n  token: {TOKEN}\n"},
	{"token that is a number", "users: [2]\napi:\n  token: 31337\n"},
	{"token without its value", "users: [2]\napi:\n  token:\n"},
	{"token at the top level", "users: [2]\ntoken: TOKEN\n"},
	{"placeholder", "users: [2]\napi:\n  token: <TOKEN>\n"},
	{"variable", "users: [2]\napi:\n  token: ${TOKEN}\n"},
	{"template", "users: [2]\napi:\n  token: {{ TOKEN }}\n"},
	{"line of an env file", "users: [2]\napi:\n  token: JUSTONEAPI_TOKEN=TOKEN\n"},
	{"token in two kinds of quotes", "users: [2]\napi:\n  token: '\"TOKEN\"'\n"},
	{"token in typographic quotes", "users: [2]\napi:\n  token: “TOKEN”\n"},
	{"token with a scheme", "users: [2]\napi:\n  token: Bearer TOKEN\n"},
	{"token in token_file", "users: [2]\napi:\n  token_file: TOKEN0123456789abcdef\n"},
	{"token_file that is missing", "users: [2]\napi:\n  token_file: secrets/token\n"},
	{"token_file that is a directory", "users: [2]\napi:\n  token_file: .\n"},
	{"token_file with a line of an env file", "users: [2]\napi:\n  token_file: env\n"},
	{"token_file that is empty", "users: [2]\napi:\n  token_file: nobody.yml\n"},
	{"token and token_file", "users: [2]\napi:\n  token: TOKEN\n  token_file: env\n"},
	{"no token", "users: [2]\n"},
	{"pasted /config", "users: [2]\napi:\n  token: <secret>\n  http_client:\n    proxy_url: http://<secret>@proxy\n"},
	{"no space after the colon", "users: [2]\nmax_age:1h\n"},
	{"no space after the colon, in braces", "users: [{wmid:2}]\napi: {token: TOKEN}\n"},
	{"unquoted colon", "api: {token: TOKEN}\nusers:\n  - wmid: 2\n    name: live: daily\n"},
	{"two keys on a line", "api: {token: TOKEN}\nusers: [2]\nmax_age: 1h quota: {}\n"},
	{"apostrophe in quotes", "api: {token: TOKEN}\nusers:\n  - wmid: 2\n    name: 'it's me'\n"},
	{"quote that is not closed", "api: {token: TOKEN}\nusers:\n  - wmid: 2\n    name: \"x\nmax_age: 1h\n"},
	{"path of Windows in double quotes", "users: [2]\napi: {token_file: \"C:\\secrets\\token\"}\n"},
	{"indented too little", "api: {token: TOKEN}\nusers:\n  - wmid: 2\n    name: x\n   min_interval: 1h\n"},
	{"indented too much", "api: {token: TOKEN}\nusers:\n  - wmid: 2\n    name: x\n      min_interval: 1h\n"},
	{"braces above a block", "users: [2]\napi:\n  token: TOKEN\n  http_client: {}\n    proxy_url: http://x\n"},
	{"key at the dash", "api: {token: TOKEN}\nusers:\n  - wmid: 2\n  name: x\n"},
	{"section not indented", "api:\ntoken: TOKEN\nusers: [2]\n"},
	{"item indented too much", "api: {token: TOKEN}\nusers:\n  - 2\n    - 3\n"},
	{"no space after the dash", "api: {token: TOKEN}\nusers:\n  -2\n  -3\n"},
	{"list without dashes", "api: {token: TOKEN}\nusers:\n  2\n  3\n"},
	{"list with spaces only", "api: {token: TOKEN}\nusers: [2 3]\n"},
	{"bracket that is not closed", "api: {token: TOKEN}\nusers: [2, 3\nmax_age: 1h\n"},
	{"comma at the end of a line", "api: {token: TOKEN}\nusers: [2, 3],\nmax_age: 1h\n"},
	{"item behind the key", "api: {token: TOKEN}\nusers: - 2\n"},
	{"mapping instead of a list", "api: {token: TOKEN}\nusers:\n  wmid: 2\n"},
	{"number instead of a list", "api: {token: TOKEN}\nusers: 2\n"},
	{"full-width colon", "api: {token: TOKEN}\nusers：[2]\n"},
	{"full-width colon in a section", "users: [2]\napi:\n  token：TOKEN\n"},
	{"full-width colon of a user", "api: {token: TOKEN}\nusers:\n  - wmid：2\n"},
	{"full-width comma", "api: {token: TOKEN}\nusers: [2，3]\n"},
	{"not UTF-8", "api: {token: TOKEN}\nusers:\n  - wmid: 2\n    name: \xb1\xcc\xca\xab\n"},
	{"control character", "api: {token: TOKEN}\nusers:\n  - 2\x00\n"},
	{"merge conflict", "api: {token: TOKEN}\nusers: [2]\n<<<<<<< HEAD\nmax_age: 1h\n=======\nmax_age: 2h\n>>>>>>> x\n"},
	{"code of Markdown", "```yaml\nusers: [2]\n```\n"},
	{"JSON lines", "{\"users\": [2]}\n{\"users\": [3]}\n"},
	{"two documents", "api: {token: TOKEN}\nusers: [2]\n---\nusers: [3]\n"},
	{"empty file", ""},
	{"WMID of a spreadsheet", "api: {token: TOKEN}\nusers: [4.72747194e+08]\n"},
	{"WMID with separators", "api: {token: TOKEN}\nusers:\n  - 472,747,194\n"},
	{"URL instead of a WMID", "api: {token: TOKEN}\nusers:\n  - https://space.bilibili.com/472747194?from=x\n"},
	{"token instead of a WMID", "api: {token: TOKEN}\nusers:\n  - TOKEN0123456789abcdef\n"},
	{"name instead of a WMID", "api: {token: TOKEN}\nusers:\n  - 碧诗\n"},
	{"WMID twice", "api: {token: TOKEN}\nusers:\n  - 2\n  - wmid: 2\n"},
	{"uid instead of wmid", "api: {token: TOKEN}\nusers:\n  - uid: 2\n"},
	{"label job", "api: {token: TOKEN}\nusers:\n  - wmid: 2\n    labels: {job: x, instance: y}\n"},
	{"label with a dash", "api: {token: TOKEN}\nusers:\n  - wmid: 2\n    labels: {talent-agency: x}\n"},
	{"labels as a list", "api: {token: TOKEN}\nusers:\n  - wmid: 2\n    labels: [x]\n"},
	{"label that is a number", "api: {token: TOKEN}\nusers:\n  - wmid: 2\n    labels: {tier: 1}\n"},
	{"duration without a unit", "api: {token: TOKEN, timeout: 60}\nusers: [2]\n"},
	{"duration with a word", "api: {token: TOKEN, timeout: 60 seconds}\nusers: [2]\n"},
	{"duration with a fraction", "api: {token: TOKEN}\nusers: [2]\nquota: {min_interval: 1.5h}\n"},
	{"limit with separators", "api: {token: TOKEN}\nusers: [2]\nquota:\n  daily_limit: 10,000\n"},
	{"limit in quotes", "api: {token: TOKEN}\nusers: [2]\nquota:\n  daily_limit: \"10000\"\n"},
	{"limit of zero concurrency", "api: {token: TOKEN, max_concurrency: 0}\nusers: [2]\n"},
	{"key in the wrong section", "api: {token: TOKEN, daily_limit: 3}\nusers: [2]\n"},
	{"misspelled key", "api: {token: TOKEN}\nusers: [2]\nquota: {min_intervall: 1h}\n"},
	{"section twice", "api: {token: TOKEN}\nquota: {}\nusers: [2]\nquota: {daily_limit: 3}\n"},
	{"time zone as an offset", "api: {token: TOKEN}\nusers: [2]\nquota: {time_zone: UTC+8}\n"},
	{"environment in capitals", "api: {token: TOKEN, environment: PROD-CN}\nusers: [2]\n"},
	{"environment and base_url", "api:\n  token: TOKEN\n  environment: prod-cn\n  base_url: https://x\nusers: [2]\n"},
	{"base_url without a scheme", "api: {token: TOKEN, base_url: api.example.com}\nusers: [2]\n"},
	{"base_url with the token", "api: {token: TOKEN, base_url: 'https://x?token=TOKEN'}\nusers: [2]\n"},
	{"proxy without a scheme", "api:\n  token: TOKEN\n  http_client:\n    proxy_url: TOKEN@proxy:3128\nusers: [2]\n"},
	{"authentication", "users: [2]\napi:\n  token: TOKEN\n  http_client:\n    authorization: {credentials: TOKEN}\n"},
	{"ca_file that is missing", "users: [2]\napi: {token: TOKEN, http_client: {tls_config: {ca_file: ca.pem}}}\n"},
	{"user_files as a string", "api: {token: TOKEN}\nuser_files: creators/*.yml\n"},
	{"user file that is missing", "api: {token: TOKEN}\nuser_files:\n  - creators.yml\n"},
	{"user file with the key users", "api: {token: TOKEN}\nuser_files: [keyed.yml]\n"},
	{"user file that is empty", "api: {token: TOKEN}\nuser_files: [nobody.yml]\n"},
	{"many mistakes", "users: [0, x]\nquota: {min_interval: 5}\nmax_age: never\napi: {timeout: 1}\n"},
}

var mistakenFiles = map[string]string{
	"env": "JUSTONEAPI_TOKEN=TOKEN\n", "nobody.yml": "", "keyed.yml": "users:\n  - 2\n",
}

// TestMistakes compares the messages about mistakes with testdata/mistakes.golden, which is written with -update.
func TestMistakes(t *testing.T) {
	const golden, token = "testdata/mistakes.golden", "s3cretT0ken"
	t.Setenv(TokenVariable, "")
	expand := func(text string) string {
		text = strings.ReplaceAll(text, "TOKEN", token)
		return strings.ReplaceAll(text, "JUSTONEAPI_"+token, TokenVariable)
	}
	dir := t.TempDir()
	for name, text := range mistakenFiles {
		writeFile(t, filepath.Join(dir, name), expand(text))
	}
	messages := strings.NewReplacer("; "+dir+"/b.yml:", "\nb.yml:", dir+"/", "", dir, "DIR")
	var b strings.Builder
	for _, m := range mistakenConfigurations {
		path := filepath.Join(dir, "b.yml")
		writeFile(t, path, expand(m.text))
		_, err := Load(path)
		if err == nil {
			t.Errorf("%s: got no error", m.name)
			continue
		}
		if strings.Contains(err.Error(), token) {
			t.Errorf("%s: shows a secret: %v", m.name, err)
		}
		fmt.Fprintf(&b, "## %s\n\n", m.name)
		for line := range strings.Lines(m.text) {
			fmt.Fprintf(&b, "    %s\n", strings.ToValidUTF8(strings.TrimSuffix(line, "\n"), "?"))
		}
		fmt.Fprintf(&b, "\n%s\n\n", messages.Replace(err.Error()))
	}
	got := strings.ReplaceAll(b.String(), "\x00", "␀")
	if *update {
		writeFile(t, golden, got)
	}
	want, err := os.ReadFile(golden)
	if err != nil || got != string(want) {
		t.Errorf("the messages differ from %s (%v); run go test ./config -run TestMistakes -update", golden, err)
	}
}
