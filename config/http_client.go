package config

import (
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	promconfig "github.com/prometheus/common/config"
	"golang.org/x/net/http/httpguts"
	"gopkg.in/yaml.v3"
)

// refusedKeys are the keys of Prometheus' HTTP client configuration that have
// no place here, each with the reason.
var refusedKeys = map[string]string{
	"basic_auth":        "the API takes its token as api.token only",
	"authorization":     "the API takes its token as api.token only",
	"oauth2":            "the API takes its token as api.token only",
	"bearer_token":      "the API takes its token as api.token only",
	"bearer_token_file": "the API takes its token as api.token_file only",
}

// decodeHTTPClient reads Prometheus' HTTP client configuration, less
// authentication, redirects and HTTP/2, which can only be off.
func decodeHTTPClient(s *section, to *promconfig.HTTPClientConfig) {
	for _, key := range slices.Sorted(maps.Keys(refusedKeys)) {
		if s.has(key) {
			s.bad(key, "is not supported: %s", refusedKeys[key])
		}
	}
	s.known("proxy_url", "no_proxy", "proxy_from_environment", "proxy_connect_header", "tls_config", "http_headers", "enable_http2", "follow_redirects")
	if s.has("proxy_url") || s.has("no_proxy") {
		to.ProxyFromEnvironment = false
	}
	s.boolean("proxy_from_environment", &to.ProxyFromEnvironment)
	s.text("no_proxy", &to.NoProxy)
	s.foreign("proxy_url", &to.ProxyURL)
	if proxy := to.ProxyURL.URL; proxy != nil && (proxy.Hostname() == "" || !slices.Contains([]string{"http", "https", "socks5"}, proxy.Scheme)) {
		s.bad("proxy_url", "want http://, https:// or socks5://, and a host")
	}
	s.foreign("proxy_connect_header", &to.ProxyConnectHeader)
	for name, values := range to.ProxyConnectHeader {
		checkHeader(s, "proxy_connect_header", name, values)
	}
	s.boolean("follow_redirects", &to.FollowRedirects)
	if to.FollowRedirects {
		s.bad("follow_redirects", "is not supported: redirects would show the token to another server")
	}
	s.boolean("enable_http2", &to.EnableHTTP2)
	if to.EnableHTTP2 {
		s.bad("enable_http2", "is not supported: HTTP/2 may send a request twice, which would be paid twice")
	}

	s.sub("tls_config").known(keysOf(reflect.TypeFor[promconfig.TLSConfig]())...)
	s.foreign("tls_config", &to.TLSConfig)

	headers := s.sub("http_headers")
	for name := range headers.nodes {
		headers.sub(name).known("secrets", "values") // files would be read, and waited for, at every call
	}
	if s.has("http_headers") {
		s.foreign("http_headers", &to.HTTPHeaders)
	}
	if to.HTTPHeaders != nil {
		for name, header := range to.HTTPHeaders.Headers {
			checkHeader(s, "http_headers", name, header.Secrets)
			checkHeader(s, "http_headers", name, header.Values)
		}
	}
	if err := to.Validate(); err != nil {
		s.fail(s.line, s.path, "%v", err)
	}
}

// checkHeader refuses a name and values that no request can be sent with.
func checkHeader[T ~string](s *section, key, name string, values []T) {
	if !httpguts.ValidHeaderFieldName(name) {
		s.bad(key, "%s is not the name of an HTTP header", name)
	}
	for _, value := range values {
		if !httpguts.ValidHeaderFieldValue(string(value)) {
			s.bad(key, "%s has a value that no HTTP header can have", name)
		}
	}
}

// keysOf returns the keys that the YAML form of a foreign struct has.
func keysOf(form reflect.Type) []string {
	var keys []string
	for field := range form.Fields() {
		key, _, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		if key != "" && !strings.HasSuffix(key, "_ref") { // references need a secret manager, which there is not
			keys = append(keys, key)
		}
	}
	return keys
}

var (
	foreignLine  = regexp.MustCompile(`line (\d+): (.*)`)
	foreignValue = regexp.MustCompile("`[^`]*` ")
)

// foreign reads the value of a key into a type that decodes itself. What the
// value holds may be secret: it is not shown.
func (s *section) foreign(key string, to any) {
	node := s.nodes[key]
	if node == nil || s.err != nil {
		return
	}
	err := node.Decode(to)
	if err == nil {
		return
	}
	line, text := node.Line, err.Error()
	if parts := foreignLine.FindStringSubmatch(text); parts != nil {
		text = parts[2]
		if n, err := strconv.Atoi(parts[1]); err == nil {
			line = n
		}
	}
	if _, isURL := to.(*promconfig.URL); isURL && node.Kind == yaml.ScalarNode {
		text = "is not a URL"
	}
	s.fail(line, s.key(key), "%s", foreignValue.ReplaceAllString(text, ""))
}
