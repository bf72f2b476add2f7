package config

import (
	"cmp"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	promconfig "github.com/prometheus/common/config"
	"golang.org/x/net/http/httpguts"
	"gopkg.in/yaml.v3"
)

// decodeHTTPClient reads Prometheus' HTTP client configuration without authentication. Redirects and HTTP/2 can only
// be disabled.
func decodeHTTPClient(s *section, dst *promconfig.HTTPClientConfig) {
	s.secret = true
	if s.failMasked() {
		return
	}
	before := len(s.found)
	for _, key := range []string{"authorization", "basic_auth", "bearer_token", "bearer_token_file", "oauth2"} {
		if s.has(key) {
			s.invalid(key, "not supported; the API is authenticated with api.token or api.token_file")
			s.fields = slices.DeleteFunc(s.fields, func(f field) bool { return f.key == key })
		}
	}
	s.checkFields("proxy_url", "no_proxy", "proxy_from_environment", "proxy_connect_header", "tls_config",
		"http_headers", "enable_http2", "follow_redirects")
	if s.has("proxy_url") || s.has("no_proxy") {
		dst.ProxyFromEnvironment = false
	}
	s.boolean("proxy_from_environment", &dst.ProxyFromEnvironment)
	s.str("no_proxy", &dst.NoProxy)
	s.unmarshal("proxy_url", &dst.ProxyURL)
	schemes := []string{"http", "https", "socks5"}
	if proxy := dst.ProxyURL.URL; proxy != nil && (proxy.Hostname() == "" || !slices.Contains(schemes, proxy.Scheme)) {
		s.invalid("proxy_url", "want a URL with a host and the scheme http, https or socks5")
	}
	s.unmarshal("proxy_connect_header", &dst.ProxyConnectHeader)
	for name, values := range dst.ProxyConnectHeader {
		checkHeader(s, "proxy_connect_header", name, values)
	}
	s.boolean("follow_redirects", &dst.FollowRedirects)
	if dst.FollowRedirects {
		s.invalid("follow_redirects", "not supported, because a redirect would reveal the token to another server")
	}
	s.boolean("enable_http2", &dst.EnableHTTP2)
	if dst.EnableHTTP2 {
		s.invalid("enable_http2", "not supported, because HTTP/2 may send a request twice, which may be billed twice")
	}

	s.sub("tls_config").checkFields(yamlKeys(reflect.TypeFor[promconfig.TLSConfig]())...)
	s.unmarshal("tls_config", &dst.TLSConfig)

	headers := s.sub("http_headers")
	for _, f := range headers.fields {
		headers.sub(f.key).checkFields("secrets", "values") // not files, which would be read on every request
	}
	if s.has("http_headers") {
		s.unmarshal("http_headers", &dst.HTTPHeaders)
	}
	if dst.HTTPHeaders != nil {
		for name, header := range dst.HTTPHeaders.Headers {
			checkHeader(s, "http_headers", name, header.Secrets)
			checkHeader(s, "http_headers", name, header.Values)
		}
	}
	if err := dst.Validate(); err != nil && len(s.found) == before {
		s.fail(s.line, s.path, "%v", err)
	}
}

// checkHeader records an error about a name or value that cannot be sent as an HTTP header.
func checkHeader[T ~string](s *section, key, name string, values []T) {
	if !httpguts.ValidHeaderFieldName(name) {
		s.invalid(key, "invalid header name %q", name)
	}
	for _, value := range values {
		if !httpguts.ValidHeaderFieldValue(string(value)) {
			s.invalid(key, "invalid value of header %q", name)
		}
	}
}

// yamlKeys returns the YAML keys of a struct of another package.
func yamlKeys(structType reflect.Type) []string {
	var keys []string
	for field := range structType.Fields() {
		key, _, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		if key != "" && !strings.HasSuffix(key, "_ref") { // references need a secret manager
			keys = append(keys, key)
		}
	}
	return keys
}

var (
	unmarshalLine  = regexp.MustCompile(`line (\d+): (.*)`)
	unmarshalValue = regexp.MustCompile("`[^`]*` ")
)

// unmarshal reads the value of a key into a type that unmarshals itself. Errors do not show the value, which may be
// secret.
func (s *section) unmarshal(key string, dst any) {
	node := s.node(key)
	if node == nil {
		return
	}
	err := node.Decode(dst)
	if err == nil {
		return
	}
	line, message := node.Line, err.Error()
	if match := unmarshalLine.FindStringSubmatch(message); match != nil {
		message = match[2]
		if n, err := strconv.Atoi(match[1]); err == nil {
			line = n
		}
	}
	if _, isURL := dst.(*promconfig.URL); isURL && node.Kind == yaml.ScalarNode {
		message = "invalid URL, want one such as http://proxy.example.com:3128"
	}
	s.fail(line, s.keyPath(key), "%s", plain(unmarshalValue.ReplaceAllString(message, "")))
}

var unmarshalType = regexp.MustCompile(`^cannot unmarshal !!(\w+) into (.*)$`)

// plain replaces a message of package yaml about types of Go.
func plain(message string) string {
	match := unmarshalType.FindStringSubmatch(message)
	if match == nil {
		return message
	}
	want := "a mapping"
	switch {
	case strings.HasPrefix(match[2], "[]"):
		want = "a list such as [a, b]"
	case match[2] == "bool":
		want = "true or false"
	case match[2] == "string" || strings.HasSuffix(match[2], ".Secret"):
		want = "a string"
	}
	got := map[string]string{"str": "a string", "int": "an integer", "float": "a number", "bool": "a boolean",
		"seq": "a list", "map": "a mapping"}[match[1]]
	return "want " + want + ", got " + cmp.Or(got, "another type")
}

// failMasked records values that /config shows instead of secrets.
func (s *section) failMasked() bool {
	found := false
	var visit func(key string, node *yaml.Node)
	visit = func(key string, node *yaml.Node) {
		if strings.Contains(node.Value, secret) {
			s.fail(node.Line, s.keyPath(key), "is the text that /config shows instead of a secret; write the secret itself")
			found = true
		}
		for _, child := range node.Content {
			visit(key, child)
		}
	}
	for _, f := range s.fields {
		visit(f.key, f.node)
	}
	return found
}
