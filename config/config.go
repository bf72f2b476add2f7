// Package config reads the exporter's configuration: a YAML file, decoded
// strictly, or a bare list of users. Every error names the file, the line and
// the key.
package config

import (
	"bytes"
	"cmp"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	promconfig "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"gopkg.in/yaml.v3"
)

// TokenVariable is the environment variable that holds the token when the
// configuration names none.
const TokenVariable = "JUSTONEAPI_TOKEN"

// VendorTimeout is the least timeout of a call that the vendor asks for: an
// answer that was not waited for can be billed all the same.
const VendorTimeout = time.Minute

// usualScrapeInterval is the scrape interval of a Prometheus server that is not
// told another.
const usualScrapeInterval = time.Minute

// Config is a valid configuration with its defaults filled in.
type Config struct {
	API    API            `yaml:"api"`
	Quota  Quota          `yaml:"quota"`
	MaxAge model.Duration `yaml:"max_age"` // a value older than this is not exposed; above 0
	Users  []User         `yaml:"users"`   // at least one, in the file's order, each WMID once

	exposed string // name of the file, if it holds a token and everybody may read it
}

// API says how Just One API is called.
type API struct {
	Environment          string                      `yaml:"environment,omitempty"` // prod-global or prod-cn; empty with a base URL
	BaseURL              string                      `yaml:"base_url,omitempty"`    // empty with an environment
	Token                promconfig.Secret           `yaml:"token,omitempty"`       // empty with a token file
	TokenFile            string                      `yaml:"token_file,omitempty"`
	Timeout              model.Duration              `yaml:"timeout"`                 // of one call; above 0
	MaxConcurrency       int                         `yaml:"max_concurrency"`         // calls at a time; at least 1
	MaxRequestsPerSecond float64                     `yaml:"max_requests_per_second"` // above 0
	HTTPClient           promconfig.HTTPClientConfig `yaml:"http_client"`

	tokenInFile bool // whether Token is written in the configuration file
}

// Quota says how often it may be called.
type Quota struct {
	MinInterval   model.Duration `yaml:"min_interval"`   // between two calls for one user; above 0
	RetryInterval model.Duration `yaml:"retry_interval"` // after a first failure that is not billed; above 0
	DailyLimit    int            `yaml:"daily_limit"`    // requests in a quota day; 0 = unknown
	TimeZone      string         `yaml:"time_zone"`      // IANA name of the zone whose midnight begins the quota day
}

// User is a Bilibili user to watch.
type User struct {
	WMID        int64             `yaml:"wmid"` // above 0
	Name        string            `yaml:"name"` // the WMID by default
	Labels      map[string]string `yaml:"labels,omitempty"`
	MinInterval model.Duration    `yaml:"min_interval"` // quota.min_interval by default
}

// environments are the base URLs of the vendor's environments. Source: the
// vendor's page of the endpoint.
var environments = map[string]string{
	"prod-global": "https://api.justoneapi.com",
	"prod-cn":     "http://47.117.133.51:30015",
}

// defaults returns the configuration that an empty file would mean.
func defaults() *Config {
	return &Config{
		API: API{
			Environment:          "prod-global",
			Timeout:              model.Duration(VendorTimeout),
			MaxConcurrency:       4,
			MaxRequestsPerSecond: 5,
			HTTPClient:           promconfig.HTTPClientConfig{ProxyConfig: promconfig.ProxyConfig{ProxyFromEnvironment: true}},
		},
		Quota: Quota{
			MinInterval:   model.Duration(15 * time.Minute),
			RetryInterval: model.Duration(time.Minute),
			TimeZone:      "Asia/Shanghai",
		},
		MaxAge: model.Duration(24 * time.Hour),
	}
}

// Load reads the configuration file at path. A token that the file does not
// name comes from the environment variable [TokenVariable].
func Load(path string) (*Config, error) {
	text, err := readSmallFile(path, maxFile)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	c, err := Parse(path, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(path); err == nil && c.API.tokenInFile && info.Mode().Perm()&0o004 != 0 {
		c.exposed = path
	}
	return c, nil
}

// FromWMIDs returns the default configuration for the given users. The token
// comes from the environment variable [TokenVariable].
func FromWMIDs(wmids []string) (*Config, error) {
	c := defaults()
	seen := make(map[int64]bool)
	for _, text := range wmids {
		wmid, err := parseWMID(text)
		if err == nil && seen[wmid] {
			err = fmt.Errorf("%d is given twice", wmid)
		}
		if err != nil {
			return nil, fmt.Errorf("--wmid: %w", err)
		}
		seen[wmid] = true
		c.Users = append(c.Users, User{WMID: wmid, Name: text, MinInterval: c.Quota.MinInterval})
	}
	var err error
	if c.API.Token, err = environmentToken(); err != nil {
		return nil, fmt.Errorf("--wmid: %w", err)
	}
	return c, nil
}

// environmentToken returns the token of the environment.
func environmentToken() (promconfig.Secret, error) {
	token := strings.TrimSpace(os.Getenv(TokenVariable))
	if token == "" {
		return "", fmt.Errorf("the environment variable %s is not set: it holds the token", TokenVariable)
	}
	if err := checkToken(token); err != nil {
		return "", fmt.Errorf("the environment variable %s %w", TokenVariable, err)
	}
	return promconfig.Secret(token), nil
}

// parseWMID accepts a WMID as the vendor writes it: decimal digits only.
func parseWMID(text string) (int64, error) {
	wmid, err := strconv.ParseInt(text, 10, 64)
	if err != nil || wmid <= 0 || strconv.FormatInt(wmid, 10) != text {
		return 0, fmt.Errorf("%q is not a WMID: want the number in https://space.bilibili.com/<wmid>", text)
	}
	return wmid, nil
}

// URL returns the base URL of the API.
func (a *API) URL() (*url.URL, error) {
	base := a.BaseURL
	if base == "" {
		base = environments[a.Environment]
	}
	return url.Parse(base)
}

// ReadToken returns the token, from the token file if there is one. It may be
// called again, to notice that the file has changed.
func (a *API) ReadToken() (promconfig.Secret, error) {
	if a.TokenFile == "" {
		return a.Token, nil
	}
	content, err := readSmallFile(a.TokenFile, maxTokenFile)
	if err != nil {
		return "", fmt.Errorf("api.token_file: %w", err)
	}
	token := strings.TrimSpace(string(content))
	if err := checkToken(token); err != nil {
		return "", fmt.Errorf("api.token_file: %s %w", a.TokenFile, err)
	}
	return promconfig.Secret(token), nil
}

// The sizes of files, in bytes, that are read at most.
const (
	maxFile      = 8 << 20 // the configuration: some 100,000 users
	maxTokenFile = 64 << 10
)

// readSmallFile reads a file that cannot keep its reader waiting or fill its
// memory: a regular one of at most so many bytes.
func readSmallFile(path string, most int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > most {
		return nil, fmt.Errorf("%s is not a regular file of at most %d bytes", path, most)
	}
	return os.ReadFile(path)
}

// checkToken refuses what cannot be a token, without showing it.
func checkToken(token string) error {
	switch {
	case token == "":
		return fmt.Errorf("is empty")
	case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return fmt.Errorf("holds a character that no token has: white space within it, say")
	}
	return nil
}

// Format implements [fmt.Formatter]: it writes the section as YAML, without
// secrets, whatever the verb.
func (a API) Format(f fmt.State, _ rune) {
	text, err := yaml.Marshal(a.masked())
	if err != nil {
		text = []byte(err.Error())
	}
	f.Write(text) //nolint:errcheck // fmt.State does not fail
}

// Text returns the configuration as YAML, without secrets.
func (c *Config) Text() ([]byte, error) {
	shown := *c
	shown.API = c.API.masked()
	var text bytes.Buffer
	encoder := yaml.NewEncoder(&text)
	encoder.SetIndent(2)
	err := encoder.Encode(&shown)
	return bytes.ReplaceAll(text.Bytes(), []byte(url.User(secret).String()), []byte(secret)), err
}

// secret stands in place of secrets.
const secret = "<secret>"

// masked returns the section without what a proxy's URL may hold: a user, a
// password, a query. The other secrets have types that mask themselves.
func (a API) masked() API {
	if proxy := a.HTTPClient.ProxyURL.URL; proxy != nil {
		shown := *proxy
		if shown.User != nil {
			shown.User = url.User(secret)
		}
		if shown.RawQuery != "" {
			shown.RawQuery = url.User(secret).String()
		}
		a.HTTPClient.ProxyURL.URL = &shown
	}
	return a
}

// RequestsPerDay returns how many calls a day the users' intervals make, without
// failures and limits.
func (c *Config) RequestsPerDay() float64 {
	var calls float64
	for _, user := range c.Users {
		calls += float64(24*time.Hour) / float64(user.MinInterval)
	}
	return calls
}

// Warnings returns what is allowed but unwise, a sentence each.
func (c *Config) Warnings() []string {
	var warnings []string
	if time.Duration(c.API.Timeout) < VendorTimeout {
		warnings = append(warnings, fmt.Sprintf("api.timeout is %s, less than the %s that the vendor asks for: an answer that was not waited for can be billed all the same.", c.API.Timeout, model.Duration(VendorTimeout)))
	}
	if base, err := c.API.URL(); err == nil && base.Scheme == "http" && !isLoopback(c.API.nextHop(base)) {
		warnings = append(warnings, fmt.Sprintf("the token crosses the network in clear: %s is plain HTTP. Use https (environment prod-global) where the network is not yours.", base))
	}
	if c.exposed != "" {
		warnings = append(warnings, fmt.Sprintf("%s holds the token, and every user of this machine may read it: chmod o-r, or use api.token_file or %s.", c.exposed, TokenVariable))
	}
	if shortest := slices.MinFunc(c.Users, func(a, b User) int { return cmp.Compare(a.MinInterval, b.MinInterval) }); time.Duration(shortest.MinInterval) < usualScrapeInterval {
		warnings = append(warnings, fmt.Sprintf("the min_interval of user %d is %s, less than the usual scrape interval of %s: users are asked about at scrapes only, and so at every one, which costs most.",
			shortest.WMID, shortest.MinInterval, model.Duration(usualScrapeInterval)))
	}
	if c.API.HTTPClient.TLSConfig.InsecureSkipVerify {
		warnings = append(warnings, "api.http_client.tls_config.insecure_skip_verify is set: whoever stands in for the API can read the token.")
	}
	return warnings
}

// nextHop returns the host that requests for base are sent to.
func (a *API) nextHop(base *url.URL) string {
	if proxy := a.HTTPClient.ProxyURL.URL; proxy != nil {
		return proxy.Hostname()
	}
	return base.Hostname()
}

func isLoopback(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

// setDirectory makes relative paths count from dir.
func (c *Config) setDirectory(dir string) {
	if c.API.TokenFile != "" && !filepath.IsAbs(c.API.TokenFile) {
		c.API.TokenFile = filepath.Join(dir, c.API.TokenFile)
	}
	c.API.HTTPClient.SetDirectory(dir)
}

// checkBaseURL refuses a base URL that no request can be built on.
func checkBaseURL(text string) error {
	base, err := url.Parse(text)
	switch {
	case err != nil:
		return fmt.Errorf("is not a URL")
	case base.Scheme != "http" && base.Scheme != "https":
		return fmt.Errorf("must begin with http:// or https://")
	case base.Hostname() == "":
		return fmt.Errorf("names no host")
	case base.User != nil:
		return fmt.Errorf("must not hold a user or password")
	case base.RawQuery != "" || base.Fragment != "":
		return fmt.Errorf("must not hold a query or fragment")
	}
	if port := base.Port(); port != "" {
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			return fmt.Errorf("has a bad port")
		}
	}
	return nil
}
