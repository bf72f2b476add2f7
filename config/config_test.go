package config

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	promconfig "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
)

const testToken = "s3cret-t0ken"

func parse(t *testing.T, text string) (*Config, error) {
	t.Helper()
	return Parse("dir/b.yml", strings.NewReader(text))
}

func TestParseDefaults(t *testing.T) {
	t.Setenv(TokenVariable, " "+testToken+"\n")
	got, err := parse(t, "users: [2]")
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		API: API{
			Environment: "prod-global", Token: testToken, Timeout: model.Duration(time.Minute),
			MaxConcurrency: 4, MaxRequestsPerSecond: 5,
			HTTPClient: promconfig.HTTPClientConfig{ProxyConfig: promconfig.ProxyConfig{ProxyFromEnvironment: true}},
		},
		Quota: Quota{
			MinInterval: model.Duration(15 * time.Minute), RetryInterval: model.Duration(time.Minute),
			TimeZone: "Asia/Shanghai",
		},
		MaxAge: model.Duration(24 * time.Hour),
		Users:  []User{{WMID: 2, Name: "2", MinInterval: model.Duration(15 * time.Minute)}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	byFlag, err := FromWMIDs([]string{"2"})
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(byFlag, want) {
		t.Errorf("--wmid: got  %+v\nwant %+v", byFlag, want)
	}
}

func TestParseEverything(t *testing.T) {
	got, err := parse(t, `
api:
  base_url: https://api.example.com/v2
  token_file: secrets/token
  timeout: 30s
  max_concurrency: 64
  max_requests_per_second: 0.5
  balance_interval: 6h
  http_client:
    proxy_url: http://user:pw@proxy.example.com:3128
    no_proxy: localhost
    proxy_connect_header: {X-Key: [abc]}
    tls_config: {ca_file: ca.pem, server_name: x, min_version: TLS12}
    http_headers: {X-Team: {values: [a]}}
quota: {min_interval: 1h30m, retry_interval: 2m, daily_limit: 1000, time_zone: America/Havana}
max_age: 2d
users:
  - 3546564939877816
  - {wmid: 2, name: 碧诗, labels: &none {agency: none}, min_interval: 1d}
  - wmid: 3
    labels: *none
`)
	if err != nil {
		t.Fatal(err)
	}
	client := got.API.HTTPClient
	if got, want := fmt.Sprint(client.ProxyURL.Host, " ", client.ProxyFromEnvironment, " ", client.TLSConfig.CAFile,
		" ", len(client.HTTPHeaders.Headers)), "proxy.example.com:3128 false dir/ca.pem 1"; got != want {
		t.Errorf("http_client: got %s, want %s", got, want)
	}
	got.API.HTTPClient = promconfig.HTTPClientConfig{}
	labels := map[string]string{"agency": "none"}
	want := &Config{
		API: API{
			BaseURL: "https://api.example.com/v2", TokenFile: filepath.Join("dir", "secrets", "token"),
			Timeout: model.Duration(30 * time.Second), MaxConcurrency: 64, MaxRequestsPerSecond: 0.5,
			BalanceInterval: model.Duration(6 * time.Hour),
		},
		Quota: Quota{
			MinInterval: model.Duration(90 * time.Minute), RetryInterval: model.Duration(2 * time.Minute), DailyLimit: 1000,
			TimeZone: "America/Havana",
		},
		MaxAge: model.Duration(48 * time.Hour),
		Users: []User{
			{WMID: 3546564939877816, Name: "3546564939877816", MinInterval: model.Duration(90 * time.Minute)},
			{WMID: 2, Name: "碧诗", Labels: labels, MinInterval: model.Duration(24 * time.Hour)},
			{WMID: 3, Name: "3", Labels: labels, MinInterval: model.Duration(90 * time.Minute)},
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// TestParseErrors has a case for every rule. No error may show a possible secret.
func TestParseErrors(t *testing.T) {
	const user = "users: [2]\n"
	tests := []struct{ name, text, want string }{
		{"empty", "", `1: the file is empty, want at least the field users`},
		{"only a comment", "# nothing\n", `1: the file is empty, want at least the field users`},
		{"not YAML", "users: [2]\napi: }{", `2: invalid YAML: a value that starts with ] or } must be quoted`},
		{"not YAML, on its first line", "users: ]", `1: invalid YAML: a value that starts with ] or } must be quoted`},
		{"not YAML, in a scalar", "users: [2]\nmax_age: @x\n",
			"2: invalid YAML: a value that starts with @, ` or % must be quoted"},
		{"a list", "- 1\n", `1: want a mapping with at least the field users, got a list`},
		{"a token that YAML takes for a tag", user + "api: {token: !s3cret-t0ken }",
			`2: api.token: want a string (in quotes if it looks like another type), ` +
				`got a value with a custom tag (it starts with !); put it in quotes`},
		{"null", "null\n",
			`1: users: want at least one user, here or in user_files; ` +
				`want the number in https://space.bilibili.com/<wmid>`},
		{"a second document", "api: {token: x}\n" + user + "---\nusers: [3]\n",
			`3: want a single YAML document, got a second one (after ---)`},
		{"broken second document", "api: {token: x}\n" + user + "---\n}\n",
			`4: invalid YAML: a value that starts with ] or } must be quoted`},
		{"unknown key", "api: {token: x}\n" + user + "usres: []\n",
			`3: usres: unknown field; valid fields: api, max_age, quota, user_files, users`},
		{"no space after the colon", user + "api: {token:s3cret-t0ken}\n",
			`2: api.token:…: unknown field; write a colon and a space (key: value); valid fields: ` +
				`balance_interval, base_url, environment, http_client, max_concurrency, max_requests_per_second, timeout, token, ` +
				`token_file`},
		{"unknown section", user + "quotas:\n  # comment\n\n  daily_limit: 3\n",
			`2: quotas: unknown field; valid fields: api, max_age, quota, user_files, users`},
		{"repeated block", user + "max_age: 1h\nquota:\n  daily_limit: 3\nquota:\n  daily_limit: 4\n",
			`5: quota: duplicate field, first set on line 3`},
		{"unknown key below", user + "api:\n  token: x\n  tokn: y\n",
			`4: api.tokn: unknown field; valid fields: ` +
				`balance_interval, base_url, environment, http_client, max_concurrency, max_requests_per_second, timeout, token, ` +
				`token_file`},
		{"merge key", "api: &x {token: y}\nquota: {<<: *x}\n" + user,
			`1: quota.token: unknown field; it belongs in the section api`},
		{"repeated key", user + "max_age: 1h\nmax_age: 2h\n", `3: max_age: duplicate field, first set on line 2`},
		{"repeated section", user + "api: {}\napi: {}\n", `3: api: duplicate field, first set on line 2`},
		{"section of a wrong type", "api: 7\n" + user, `1: api: want a mapping (key: value), got an integer`},

		{"no token", user + "api:\n  timeout: 60s\n",
			`2: api.token: neither token nor token_file is set, ` +
				`and the environment variable JUSTONEAPI_TOKEN is not set`},
		{"two tokens", user + "api:\n  token: s3cret-t0ken\n  token_file: x\n",
			`4: api.token_file: mutually exclusive with token (line 3)`},
		{"token of a wrong type", user + "api:\n  token: 31337\n",
			`3: api.token: want a string (in quotes if it looks like another type), got an integer`},
		{"token in a list", user + "api:\n  token: [s3cret-t0ken]\n",
			`3: api.token: want a string (in quotes if it looks like another type), got a list`},
		{"token with a space", user + "api:\n  token: s3cret-t0ken x\n",
			`3: api.token: contains white space; write the token alone, on one line`},
		{"token that is too long", user + "api: {token: " + strings.Repeat("s3cret", 171) + "}\n",
			`2: api.token: is longer than 1024 characters`},
		{"token as an alias", user + "api:\n  token: *s3cret-t0ken\n",
			`3: invalid YAML: a value that starts with * must be quoted`},
		{"environment", user + "api: {token: x, environment: prod-de}\n",
			`2: api.environment: want prod-cn or prod-global, got "prod-de"`},
		{"environment of a wrong type", user + "api: {token: x, environment: true}\n",
			`2: api.environment: want a string (in quotes if it looks like another type), got the boolean true`},
		{"environment and base URL", user + "api:\n  token: x\n  environment: prod-cn\n  base_url: http://x\n",
			`5: api.base_url: mutually exclusive with environment (line 4)`},
		{"base URL without scheme", user + "api: {token: x, base_url: api.example.com}\n",
			`2: api.base_url: must start with http:// or https://`},
		{"base URL of another scheme", user + "api: {token: x, base_url: 'ftp://x'}\n",
			`2: api.base_url: must start with http:// or https://`},
		{"base URL without host", user + "api: {token: x, base_url: 'http://:80'}\n",
			`2: api.base_url: missing host`},
		{"base URL with password", user + "api: {token: x, base_url: 'http://u:s3cret-t0ken@x'}\n",
			`2: api.base_url: must not contain a user or password`},
		{"base URL with query", user + "api: {token: x, base_url: 'http://x?token=s3cret-t0ken'}\n",
			`2: api.base_url: must not contain a query or fragment`},
		{"base URL, broken", user + "api: {token: x, base_url: 'http://[s3cret-t0ken'}\n",
			`2: api.base_url: invalid URL`},
		{"base URL, port", user + "api: {token: x, base_url: 'http://x:99999'}\n", `2: api.base_url: invalid port`},
		{"timeout", user + "api: {token: x, timeout: 0s}\n",
			`2: api.timeout: want a duration above 0 and of at most 1y, got "0s"`},
		{"timeout without unit", user + "api: {token: x, timeout: 60}\n",
			`2: api.timeout: want a duration such as 15m or 1d, got "60"; add a unit, for example 60s`},
		{"timeout without value", user + "api:\n  token: x\n  timeout:\n",
			`4: api.timeout: want a duration such as 15m or 1d, got nothing; write a value or remove the key`},
		{"concurrency", user + "api: {token: x, max_concurrency: 0}\n",
			`2: api.max_concurrency: want an integer of at least 1, got "0"`},
		{"concurrency, a fraction", user + "api: {token: x, max_concurrency: 1.5}\n",
			`2: api.max_concurrency: want an integer of at least 1, got "1.5"`},
		{"concurrency, vast", user + "api: {token: x, max_concurrency: 99999999999}\n",
			`2: api.max_concurrency: want an integer of at least 1, got "99999999999"`},
		{"rate", user + "api: {token: x, max_requests_per_second: 0}\n",
			`2: api.max_requests_per_second: want a number above 0, got "0"`},
		{"rate, infinite", user + "api: {token: x, max_requests_per_second: .inf}\n",
			`2: api.max_requests_per_second: want a number above 0, got ".inf"`},
		{"rate, no number", user + "api: {token: x, max_requests_per_second: .nan}\n",
			`2: api.max_requests_per_second: want a number above 0, got ".nan"`},
		{"rate of a wrong type", user + "api: {token: x, max_requests_per_second: fast}\n",
			`2: api.max_requests_per_second: want a number above 0, got the string "fast"`},
		{"balance interval", user + "api: {token: x, balance_interval: -1h}\n",
			`2: api.balance_interval: want a duration such as 15m or 1d, got "-1h"; it must not be negative`},
		{"balance interval without unit", user + "api: {token: x, balance_interval: 60}\n",
			`2: api.balance_interval: want a duration such as 15m or 1d, got "60"; add a unit, for example 60s`},
		{"balance interval in a list", user + "api: {token: x, balance_interval: [0s]}\n",
			`2: api.balance_interval: want a duration such as 15m or 1d, got a list`},

		{"client with a password",
			user + "api:\n  token: x\n  http_client:\n    basic_auth: {password: s3cret-t0ken}\n",
			`5: api.http_client.basic_auth: not supported; ` +
				`the API is authenticated with api.token or api.token_file`},
		{"client with redirects", user + "api: {token: x, http_client: {follow_redirects: true}}\n",
			`2: api.http_client.follow_redirects: not supported, ` +
				`because a redirect would reveal the token to another server`},
		{"client with HTTP/2", user + "api: {token: x, http_client: {enable_http2: true}}\n",
			`2: api.http_client.enable_http2: not supported, ` +
				`because HTTP/2 may send a request twice, which may be billed twice`},
		{"client, unknown key", user + "api: {token: x, http_client: {proxy: x}}\n",
			`2: api.http_client.proxy: unknown field; valid fields: ` +
				`enable_http2, follow_redirects, http_headers, no_proxy, proxy_connect_header, ` +
				`proxy_from_environment, proxy_url, tls_config`},
		{"client, unknown key below", user + "api:\n  token: x\n  http_client:\n    tls_config:\n      cafile: x\n",
			`6: api.http_client.tls_config.cafile: unknown field; valid fields: ` +
				`ca, ca_file, cert, cert_file, insecure_skip_verify, key, key_file, max_version, min_version, ` +
				`server_name`},
		{"client, proxy URL", user + "api: {token: x, http_client: {proxy_url: 'http://u:s3cret-t0ken@[x'}}\n",
			`2: api.http_client.proxy_url: invalid URL, want one such as http://proxy.example.com:3128`},
		{"client, proxy URL without scheme",
			user + "api: {token: x, http_client: {proxy_url: 'proxy.example.com:3128'}}\n",
			`2: api.http_client.proxy_url: want a URL with a host and the scheme http, https or socks5`},
		{"client, proxy URL without host", user + "api: {token: x, http_client: {proxy_url: 'http://:3128'}}\n",
			`2: api.http_client.proxy_url: want a URL with a host and the scheme http, https or socks5`},
		{"client, header name",
			user + "api: {token: x, http_client: {http_headers: {'bad header': {values: [x]}}}}\n",
			`2: api.http_client.http_headers: invalid header name "bad header"`},
		{"client, proxy header name",
			user + "api: {token: x, http_client: {proxy_url: 'http://x', proxy_connect_header: {'bad header': [x]}}}\n",
			`2: api.http_client.proxy_connect_header: invalid header name "bad header"`},
		{"client, header value", user + "api: {token: x, http_client: {http_headers: {X: {values: [\"a\\nb\"]}}}}\n",
			`2: api.http_client.http_headers: invalid value of header "X"`},
		{"client, two proxies",
			user + "api: {token: x, http_client: {proxy_url: 'http://x', proxy_from_environment: true}}\n",
			`2: api.http_client: if proxy_from_environment is configured, proxy_url must not be configured`},
		{"client, wrong type",
			user + "api:\n  token: x\n  http_client:\n    proxy_connect_header:\n      Proxy-Authorization: s3cret-t0ken\n",
			`6: api.http_client.proxy_connect_header: want a list such as [a, b], got a string`},
		{"client, TLS version", user + "api: {token: x, http_client: {tls_config: {min_version: SSL3}}}\n",
			`2: api.http_client.tls_config: unknown TLS version: SSL3`},
		{"client, two CAs", user + "api: {token: x, http_client: {tls_config: {ca: a, ca_file: b}}}\n",
			`2: api.http_client.tls_config: at most one of ca, ca_file & ca_ref must be configured`},
		{"client, reserved header",
			user + "api: {token: x, http_client: {http_headers: {Host: {values: [s3cret-t0ken]}}}}\n",
			`2: api.http_client: setting header "Host" is not allowed`},
		{"client, header", user + "api: {token: x, http_client: {http_headers: {X: {value: s3cret-t0ken}}}}\n",
			`2: api.http_client.http_headers.X.value: unknown field; valid fields: secrets, values`},

		{"interval", "api: {token: x}\nquota: {min_interval: -1m}\n" + user,
			`2: quota.min_interval: want a duration such as 15m or 1d, got "-1m"; it must not be negative`},
		{"interval, vast", "api: {token: x}\nquota: {min_interval: 2y}\n" + user,
			`2: quota.min_interval: want a duration above 0 and of at most 1y, got "2y"`},
		{"retry interval", "api: {token: x}\nquota: {retry_interval: soon}\n" + user,
			`2: quota.retry_interval: want a duration such as 15m or 1d, got "soon"`},
		{"daily limit", "api: {token: x}\nquota: {daily_limit: -1}\n" + user,
			`2: quota.daily_limit: want an integer of at least 0, got "-1"`},
		{"daily limit as text", "api: {token: x}\nquota: {daily_limit: '7'}\n" + user,
			`2: quota.daily_limit: want an integer of at least 0, got the string "7"; remove the quotes`},
		{"time zone", "api: {token: x}\nquota: {time_zone: Asia/Bejing}\n" + user,
			`2: quota.time_zone: want the name of a time zone such as Asia/Shanghai or UTC, got "Asia/Bejing"`},
		{"time zone of the machine", "api: {token: x}\nquota: {time_zone: Local}\n" + user,
			`2: quota.time_zone: want the name of a time zone such as Asia/Shanghai or UTC, got "Local"`},
		{"max age", "api: {token: x}\nmax_age: [1h]\n" + user,
			`2: max_age: want a duration such as 15m or 1d, got a list`},

		{"no users", "api: {token: x}\n",
			`1: users: want at least one user, here or in user_files; want the number in https://space.bilibili.com/<wmid>`},
		{"no users in the list", "api: {token: x}\nusers: []\n",
			`2: users: want at least one user, here or in user_files; want the number in https://space.bilibili.com/<wmid>`},
		{"users of a wrong type", "api: {token: x}\nusers: {2: x}\n",
			`2: users: want a list such as [472747194], got a mapping (it starts with {); ` +
				`a string that starts with { must be quoted`},
		{"WMID as text", "api: {token: x}\nusers:\n  - two\n",
			`3: users[0].wmid: invalid WMID "two", want the number in https://space.bilibili.com/<wmid>`},
		{"WMID 0", "api: {token: x}\nusers: [0]\n",
			`2: users[0].wmid: invalid WMID "0", want the number in https://space.bilibili.com/<wmid>`},
		{"WMID below 0", "api: {token: x}\nusers: [-2]\n",
			`2: users[0].wmid: invalid WMID "-2", want the number in https://space.bilibili.com/<wmid>`},
		{"WMID in octal", "api: {token: x}\nusers: [0123]\n",
			`2: users[0].wmid: invalid WMID "0123", want the number in https://space.bilibili.com/<wmid>`},
		{"WMID with an exponent", "api: {token: x}\nusers: [4.7e8]\n",
			`2: users[0].wmid: invalid WMID "4.7e8", want the number in https://space.bilibili.com/<wmid>, ` +
				`with all its digits; spreadsheets, jq, Helm and others print large integers as floats, ` +
				`so put it in quotes before it passes through them`},
		{"WMID beyond 64 bits", "api: {token: x}\nusers: [9223372036854775808]\n",
			`2: users[0].wmid: invalid WMID "9223372036854775808"` +
				`, want the number in https://space.bilibili.com/<wmid>`},
		{"WMID missing", "api: {token: x}\nusers:\n  - 2\n  - name: x\n",
			`4: users[1].wmid: missing, want the number in https://space.bilibili.com/<wmid>`},
		{"WMID without value", "api: {token: x}\nusers:\n  -\n",
			`3: users[0].wmid: want a WMID (an integer), got nothing; write a value or remove the key`},
		{"WMID twice", "api: {token: x}\nusers:\n  - 2\n  - {wmid: 2}\n",
			`4: users[1]: duplicate user 2, first listed on line 3`},
		{"a user that is a list", "api: {token: x}\nusers: [[2]]\n", `2: users[0]: want a mapping (key: value), got a list`},
		{"name", "api: {token: x}\nusers: [{wmid: 2, name: ' '}]\n",
			`2: users[0].name: must not be empty; without the field the WMID is shown`},
		{"invisible name", "api: {token: x}\nusers: [{wmid: 2, name: \"\u200b\ufeff\"}]\n",
			`2: users[0].name: must not be empty; without the field the WMID is shown`},
		{"long name", "api: {token: x}\nusers: [{wmid: 2, name: " + strings.Repeat("长", 201) + "}]\n",
			`2: users[0].name: must not be longer than 200 characters`},
		{"name that turns the line around", "api: {token: x}\nusers: [{wmid: 2, name: \"a\u202eb\"}]\n",
			`2: users[0].name: must not contain control or text direction characters`},
		{"name with a control character", "api: {token: x}\nusers: [{wmid: 2, name: \"a\\eb\"}]\n",
			`2: users[0].name: must not contain control or text direction characters`},
		{"name of a wrong type", "api: {token: x}\nusers: [{wmid: 2, name: 007}]\n",
			`2: users[0].name: want a string (in quotes if it looks like another type), got the integer 007`},
		{"user's key", "api: {token: x}\nusers: [{wmid: 2, nickname: x}]\n",
			`2: users[0].nickname: unknown field; valid fields: labels, min_interval, name, wmid`},
		{"user's interval", "api: {token: x}\nusers: [{wmid: 2, min_interval: 0s}]\n",
			`2: users[0].min_interval: want a duration above 0 and of at most 1y, got "0s"`},
		{"label name", "api: {token: x}\nusers:\n  - wmid: 2\n    labels: {a-b: x}\n",
			`4: users[0].labels.a-b: invalid label name` +
				`, want letters, digits and underscores, not starting with a digit`},
		{"label wmid", "api: {token: x}\nusers: [{wmid: 2, labels: {wmid: x}}]\n",
			`2: users[0].labels.wmid: reserved label name, used by the exporter or by Prometheus; choose another one`},
		{"label name", "api: {token: x}\nusers: [{wmid: 2, labels: {name: x}}]\n",
			`2: users[0].labels.name: reserved label name, used by the exporter or by Prometheus; choose another one`},
		{"label of Prometheus", "api: {token: x}\nusers: [{wmid: 2, labels: {__x: x}}]\n",
			`2: users[0].labels.__x: reserved label name, used by the exporter or by Prometheus; choose another one`},
		{"label value", "api: {token: x}\nusers: [{wmid: 2, labels: {tier: 1}}]\n",
			`2: users[0].labels.tier: want a string (in quotes if it looks like another type), got the integer 1`},
		{"label twice", "api: {token: x}\nusers: [{wmid: 2, labels: {a: x, a: y}}]\n",
			`2: users[0].labels.a: duplicate field, first set on line 2`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv(TokenVariable, "")
			if !strings.Contains(test.want, TokenVariable) {
				t.Setenv(TokenVariable, "x") // else its absence is another error
			}
			_, err := parse(t, test.text)
			if err == nil {
				t.Fatalf("got no error, want %s", test.want)
			}
			if got, want := err.Error(), "dir/b.yml:"+test.want; got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			if strings.Contains(err.Error(), "s3cret") {
				t.Errorf("shows a secret: %v", err)
			}
		})
	}
}

func TestFromWMIDsErrors(t *testing.T) {
	t.Setenv(TokenVariable, testToken)
	for wmids, want := range map[string]string{
		"2,x":  `--wmid: invalid WMID "x", want the number in https://space.bilibili.com/<wmid>`,
		"2,02": `--wmid: invalid WMID "02", want the number in https://space.bilibili.com/<wmid>`,
		"2,2":  `--wmid: duplicate user 2`,
	} {
		if _, err := FromWMIDs(strings.Split(wmids, ",")); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", wmids, err, want)
		}
	}
	for _, bad := range []string{"…", "s3cret t0ken"} {
		t.Setenv(TokenVariable, bad)
		want := "--wmid: the environment variable JUSTONEAPI_TOKEN contains " + map[string]string{
			"…":            "a character that is not in ASCII; copy the token again",
			"s3cret t0ken": "white space; write the token alone, on one line",
		}[bad]
		if _, err := FromWMIDs([]string{"2"}); err == nil || err.Error() != want {
			t.Errorf("token %q: got %v, want %s", bad, err, want)
		}
	}
	t.Setenv(TokenVariable, strings.Repeat("x", 1025))
	want := "--wmid: the environment variable JUSTONEAPI_TOKEN is longer than 1024 characters"
	if _, err := FromWMIDs([]string{"2"}); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	t.Setenv(TokenVariable, "")
	want = "--wmid: the environment variable JUSTONEAPI_TOKEN is not set"
	if _, err := FromWMIDs([]string{"2"}); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestReadToken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	api := API{TokenFile: path}
	for _, test := range []struct{ content, want, err string }{
		{testToken + "\n", testToken, ""},
		{"", "", "api.token_file: " + path + " is empty"},
		{testToken + "\nx", "",
			"api.token_file: " + path + " contains white space; write the token alone, on one line"},
		{"rotated", "rotated", ""},
		{strings.Repeat("x", 1024) + "\n", strings.Repeat("x", 1024), ""},
		{strings.Repeat("x", 1025), "", "api.token_file: " + path + " is longer than 1024 characters"},
		{strings.Repeat("x", 1<<17), "", "api.token_file: " + path + " is larger than 65536 bytes"},
	} {
		if err := os.WriteFile(path, []byte(test.content), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := api.ReadToken()
		if string(got) != test.want || (err != nil || test.err != "") && fmt.Sprint(err) != test.err {
			t.Errorf("%q: got %q, %v; want %q, %s", test.content, string(got), err, test.want, test.err)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := api.ReadToken(); err == nil || !strings.HasPrefix(err.Error(), "api.token_file: stat ") {
		t.Errorf("without the file: got %v", err)
	}
}

func TestConfigPrintsNoSecret(t *testing.T) {
	c, err := parse(t, "users: [2]\napi: {token: s3cret-t0ken, http_client: {proxy_url: 'http://u:s3cret-t0ken@x', "+
		"proxy_connect_header: {A: [s3cret-t0ken]}, tls_config: {key: s3cret-t0ken, cert: x}}}")
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
		for _, value := range []any{c, *c, c.API, &c.API} {
			printed := fmt.Sprintf(verb, value)
			if strings.Contains(printed, testToken) || strings.Contains(printed, fmt.Sprintf("%x", testToken)) {
				t.Errorf("%s of %T shows the token: %s", verb, value, printed)
			}
		}
	}
}

// TestYAML checks that a printed configuration is valid and, except for its secrets, the same.
func TestYAML(t *testing.T) {
	for name, text := range map[string]string{
		"defaults": "users: [2]\napi: {token: s3cret-t0ken}",
		"much": `
api:
  base_url: https://api.example.com/v2
  token: s3cret-t0ken
  max_requests_per_second: 0.5
  http_client:
    proxy_url: http://s3cret-t0ken:s3cret-t0ken@proxy.example.com:3128/?key=s3cret-t0ken
    proxy_connect_header: {X-Key: [s3cret-t0ken]}
    tls_config: {ca_file: /ca.pem, server_name: x, min_version: TLS12}
    http_headers: {X-Team: {values: [a], secrets: [s3cret-t0ken]}}
quota: {min_interval: 1h30m, daily_limit: 1000, time_zone: America/Havana}
max_age: 2d
users: [3546564939877816, {wmid: 2, name: "1e3 # 碧诗", labels: {agency: "yes"}, min_interval: 1d}]
`,
		"token file": "users: [2]\napi: {token_file: /secrets/token}",
	} {
		want, err := parse(t, text)
		if err != nil {
			t.Fatal(err)
		}
		marshalled, err := want.YAML()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(marshalled), testToken) {
			t.Errorf("%s: a secret is shown:\n%s", name, marshalled)
		}
		got, err := parse(t, strings.ReplaceAll(string(marshalled), secret, "x"))
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, marshalled)
		}
		again, err := got.YAML()
		if err != nil || string(again) != string(marshalled) {
			t.Errorf("%s: %v, got\n%s\nwant\n%s", name, err, again, marshalled)
		}
	}
}

func TestTokenFromEnvironment(t *testing.T) {
	t.Setenv(TokenVariable, testToken)
	for text, want := range map[string]bool{"": true, "token: x": false, "token_file: x": false} {
		c, err := parse(t, "users: [2]\napi: {"+text+"}")
		if err != nil {
			t.Fatal(err)
		}
		if got := c.API.TokenFromEnvironment(); got != want {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	}
}

// TestLoadOddFiles loads files that could block the reader or fill its memory. A reload refuses a pipe, because perhaps
// nobody writes to it.
func TestLoadOddFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "b.yml")
	if err := os.WriteFile(path, []byte("api: {token: x}\nusers: [2]"), 0o600); err != nil {
		t.Fatal(err)
	}
	loader := NewLoader(path)
	if _, err := loader.Load(); err != nil {
		t.Fatal(err)
	}
	for want, replace := range map[string]func() error{
		" is not a regular file":        func() error { return syscall.Mkfifo(path, 0o600) },
		" is larger than 8388608 bytes": func() error { return os.WriteFile(path, make([]byte, maxConfigSize+1), 0o600) },
		" is a directory, want a file":  func() error { return os.Mkdir(path, 0o700) },
		": no such file or directory":   func() error { return nil },
	} {
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
		if err := replace(); err != nil {
			t.Fatal(err)
		}
		_, err := loader.Load()
		if err == nil || !strings.HasSuffix(err.Error(), path+want) || loader.Changed() {
			t.Errorf("got %v, want …%s, or it has changed again", err, path+want)
		}
	}
}

// TestWorldReadableWarning warns about a file that contains the token and is readable by everyone.
func TestWorldReadableWarning(t *testing.T) {
	t.Setenv(TokenVariable, testToken)
	path := filepath.Join(t.TempDir(), "b.yml")
	for _, test := range []struct {
		text string
		mode os.FileMode
		want string
	}{
		{"users: [2]\napi: {token: x}", 0o644, path + " contains the token and is readable by every user of this machine. " +
			"Run chmod o-r on it, or use api.token_file or JUSTONEAPI_TOKEN."},
		{"users: [2]\napi: {token: x}", 0o640, ""},
		{"users: [2]", 0o644, ""},
	} {
		if err := os.WriteFile(path, []byte(test.text), test.mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, test.mode); err != nil {
			t.Fatal(err)
		}
		c, err := Load(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(c.Warnings(), "\n"); got != test.want {
			t.Errorf("%s, mode %o: got %q, want %q", test.text, test.mode, got, test.want)
		}
	}
}

func TestShortIntervalWarning(t *testing.T) {
	for text, want := range map[string]string{
		"users: [2, {wmid: 3, min_interval: 30s}]": "the min_interval of user 3 is 30s, shorter than the default scrape " +
			"interval of 1m. Requests are made only on scrapes, so every scrape requests this user, which is billed each time.",
		"users: [2]\nquota: {min_interval: 1m}": "",
		"users: [2, {wmid: 3, min_interval: 1m}]\nquota: {min_interval: 50s}": "quota.min_interval is 50s, shorter than " +
			"the default scrape interval of 1m. Requests are made only on scrapes, so every scrape requests all users " +
			"without a min_interval, which is billed each time.",
	} {
		c, err := parse(t, "api: {token: x}\n"+text)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(c.Warnings(), "\n"); got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}

func TestWarnings(t *testing.T) {
	const clearText = " is plain HTTP, so the token crosses the network in clear text. " +
		"Use https (environment prod-global) on networks that you do not trust."
	const insecure = "api.http_client.tls_config.insecure_skip_verify is set, " +
		"so a server that impersonates the API can read the token."
	for text, want := range map[string]string{
		"token: x": "",
		"token: x, base_url: 'http://127.0.0.1:80'": "",
		"token: x, base_url: 'http://[::1]:80'":     "",
		"token: x, base_url: 'http://localhost'":    "",

		"token: x, base_url: 'http://127.0.0.2', http_client: {proxy_url: 'http://[::1]:8080'}": "",

		"token: x, base_url: 'http://localhost', http_client: {proxy_url: 'http://x'}": "http://localhost" + clearText,

		"token: x, base_url: 'http://x', http_client: {proxy_url: 'http://127.0.0.1:8080'}":         "http://x" + clearText,
		"token: x, base_url: 'http://x', http_client: {proxy_url: 'http://localhost', no_proxy: x}": "http://x" + clearText,
		"token: x, base_url: 'https://x', http_client: {proxy_url: 'http://y'}":                     "",

		"token: x, balance_interval: 0s":  "",
		"token: x, balance_interval: 10m": "",
		"token: x, balance_interval: 5m": "api.balance_interval is 5m, shorter than 10m. " +
			"The vendor does not document whether these requests are free.",

		"token: x, base_url: 'http://x'": "http://x" + clearText,
		"token: x, environment: prod-cn": "http://47.117.133.51:30015" + clearText,
		"token: x, timeout: 59s": "api.timeout is 59s, less than the 1m that the vendor asks for. " +
			"A request that is canceled early may still be billed.",
		"token: x, http_client: {tls_config: {insecure_skip_verify: true}}": insecure,
	} {
		c, err := parse(t, "users: [2]\napi: {"+text+"}")
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(c.Warnings(), "\n"); got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}

func TestRequestsPerDay(t *testing.T) {
	c, err := parse(t, "users: [2, {wmid: 3, min_interval: 1h}]\napi: {token: x}")
	if err != nil {
		t.Fatal(err)
	}
	if got := c.RequestsPerDay(); got != 96+24 {
		t.Errorf("got %v, want 120", got)
	}
}

// FuzzParse looks for panics, and for invalid files that are accepted.
func FuzzParse(f *testing.F) {
	f.Add("users: [2, {wmid: 3, name: x, labels: {a: b}, min_interval: 1h}]\napi: {token: x}\nquota: {daily_limit: 3}")
	f.Add("a: &a [*a]\nusers: *a")
	f.Add("---\n---\n")
	f.Add("users: [2]\napi: {token: x, http_client: {tls_config: {ca: a}, proxy_url: 'http://x', " +
		"http_headers: {a: {values: [b]}}}}")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := Parse("b.yml", strings.NewReader(text))
		if err != nil {
			if !strings.HasPrefix(err.Error(), "b.yml:") || strings.Contains(err.Error(), "\n") {
				t.Errorf("the error names no line or has several: %v", err)
			}
			return
		}
		if len(c.Users) == 0 || c.Quota.MinInterval <= 0 || c.API.Timeout <= 0 || c.API.MaxConcurrency < 1 ||
			!(c.API.MaxRequestsPerSecond > 0) {
			t.Errorf("not valid: %+v", c)
		}
		for _, user := range c.Users {
			if user.WMID <= 0 || user.Name == "" || user.MinInterval <= 0 {
				t.Errorf("not valid: %+v", user)
			}
		}
		if _, err := c.API.URL(); err != nil {
			t.Error(err)
		}
		if _, err := c.YAML(); err != nil {
			t.Error(err)
		}
	})
}

// TestTokens checks tokens that are placeholders or were pasted with something else.
func TestTokens(t *testing.T) {
	const variable = "contains $, { or }, like a variable or template that was not replaced; write the token itself"
	for token, want := range map[string]string{
		"abc-DEF_0.9/+==":         "",
		"<your-token>":            "contains < or >, like a placeholder; write the token itself",
		"<secret>":                "is the text that /config shows instead of the token; write the token itself",
		"${TOKEN}":                variable,
		"{{token}}":               variable,
		`"abc"`:                   "contains a quotation mark; write the token without quotes",
		"`abc`":                   "contains a quotation mark; write the token without quotes",
		"JUSTONEAPI_TOKEN=abc":    "is a line NAME=value; write only the value",
		"export T='abc'":          "is a line NAME=value; write only the value",
		"JUSTONEAPI_TOKEN=":       "", // as padded base64
		"a b":                     "contains white space; write the token alone, on one line",
		"“abc”":                   "contains a character that is not in ASCII; copy the token again",
		"abc\x00":                 "contains a character that is not in ASCII; copy the token again",
		strings.Repeat("x", 1025): "is longer than 1024 characters",
	} {
		got := ""
		if err := checkToken(token); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", token, got, want)
		}
	}
}

// TestAccepted has what is certainly meant.
func TestAccepted(t *testing.T) {
	t.Setenv(TokenVariable, testToken)
	const text = "x-defaults: &d {agency: a, tier: b}\nx-user: &u {min_interval: 1h}\n" +
		"users:\n  - <<: *u\n    wmid: \"2\"\n    labels: {<<: *d, tier: c}\n  - '472747194'\n"
	utf16 := "\xff\xfe"
	for _, r := range "users: [2]\n" {
		utf16 += string(r) + "\x00"
	}
	got, err := parse(t, text)
	if err != nil {
		t.Fatal(err)
	}
	want := []User{
		{2, "2", map[string]string{"agency": "a", "tier": "c"}, model.Duration(time.Hour)},
		{472747194, "472747194", nil, got.Quota.MinInterval},
	}
	if !reflect.DeepEqual(got.Users, want) {
		t.Errorf("got %+v, want %+v", got.Users, want)
	}
	for _, text := range []string{"\ufeffusers: [2]", "users:\r\n  - 2\r\n", utf16, "--- # x\nusers: [2]\n...\n"} {
		if c, err := parse(t, text); err != nil || len(c.Users) != 1 {
			t.Errorf("%q: got %v", text, err)
		}
	}
}

func TestTimeZoneWarning(t *testing.T) {
	for zone, want := range map[string]string{
		"Etc/GMT+8": "quota.time_zone is Etc/GMT+8, which is 8 h behind UTC: the sign of these names is inverted. " +
			"Use a name such as Asia/Shanghai, which is 8 h ahead of UTC.",
		"Etc/GMT-8": "quota.time_zone is Etc/GMT-8, which is 8 h ahead of UTC: the sign of these names is inverted. " +
			"Use a name such as Asia/Shanghai, which is 8 h ahead of UTC.",
		"Etc/GMT": "", "Etc/GMT0": "", "Etc/GMT-0": "", "Asia/Shanghai": "",
	} {
		c, err := parse(t, "api: {token: x}\nusers: [2]\nquota: {time_zone: "+zone+"}")
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(c.Warnings(), "\n"); got != want {
			t.Errorf("%s: got %q, want %q", zone, got, want)
		}
	}
}

// TestYAMLEmoji checks that emoji are printed as they are, and that nothing else that looks like an escape changes.
func TestYAMLEmoji(t *testing.T) {
	names := []string{"😀 x: y", "😀\\U0001F600", `\U0001F600`, `'a: "\U0001F600"`, "👨‍👩‍👧", `"\\U0001F600`, "\U000e0041😀"}
	text := "api: {token: x}\nusers:\n"
	for i, name := range names {
		text += fmt.Sprintf("  - {wmid: %d, name: '%s'}\n", i+1, strings.ReplaceAll(name, "'", "''"))
	}
	c, err := parse(t, text)
	if err != nil {
		t.Fatal(err)
	}
	printed, err := c.YAML()
	if err != nil {
		t.Fatal(err)
	}
	again, err := parse(t, strings.ReplaceAll(string(printed), secret, "x"))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(again.Users, c.Users) || strings.Count(string(printed), "😀") != 3 ||
		!strings.Contains(string(printed), "👨‍👩‍👧") {
		t.Errorf("got\n%s", printed)
	}
}
