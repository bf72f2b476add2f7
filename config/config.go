// Package config reads the exporter's configuration, which is a YAML file, decoded strictly, or a plain list of
// users. Every error names the file, the line and the key.
package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	promconfig "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"gopkg.in/yaml.v3"
)

const (
	// minTimeout is the shortest request timeout without a warning. The vendor asks for at least 60 s, because a request
	// that is canceled earlier may still be billed, and now recommends 120 s.
	minTimeout = time.Minute
	// minBalanceInterval is the shortest interval of requests for the balance without a warning.
	minBalanceInterval = 10 * time.Minute
	// defaultScrapeInterval is Prometheus' default scrape interval.
	defaultScrapeInterval = time.Minute
)

// Config is a valid configuration with its defaults filled in.
type Config struct {
	API    API            `yaml:"api"`
	Quota  Quota          `yaml:"quota"`
	MaxAge model.Duration `yaml:"max_age"` // an older value is not exposed; above 0
	Users  []User         `yaml:"users"`   // at least one, in the order of the files, each WMID once

	UserFiles []string `yaml:"user_files,omitempty"` // patterns of further files with users, which Users includes

	warnings []string // about the files
}

// API configures requests to Just One API.
type API struct {
	Environment string            `yaml:"environment,omitempty"` // prod-global or prod-cn; empty if BaseURL is set
	BaseURL     string            `yaml:"base_url,omitempty"`    // empty if Environment is set
	Token       promconfig.Secret `yaml:"token,omitempty"`       // empty if TokenFile is set
	TokenFile   string            `yaml:"token_file,omitempty"`

	Timeout              model.Duration              `yaml:"timeout"`                 // of one request; above 0
	MaxConcurrency       int                         `yaml:"max_concurrency"`         // concurrent requests; at least 1
	MaxRequestsPerSecond float64                     `yaml:"max_requests_per_second"` // above 0
	BalanceInterval      model.Duration              `yaml:"balance_interval"`        // 0 = never
	HTTPClient           promconfig.HTTPClientConfig `yaml:"http_client"`

	tokenInFile bool // whether Token comes from the configuration file
}

// Quota limits how often requests are made.
type Quota struct {
	MinInterval   model.Duration `yaml:"min_interval"`   // between two requests for one user; above 0
	RetryInterval model.Duration `yaml:"retry_interval"` // after the first unbilled failure; above 0
	DailyLimit    int            `yaml:"daily_limit"`    // requests per quota day; 0 = unknown
	TimeZone      string         `yaml:"time_zone"`      // IANA name of the zone whose midnight starts the quota day
}

// User is a Bilibili user whose counts are requested.
type User struct {
	WMID        int64             `yaml:"wmid"` // above 0
	Name        string            `yaml:"name"` // the WMID by default
	Labels      map[string]string `yaml:"labels,omitempty"`
	MinInterval model.Duration    `yaml:"min_interval"` // quota.min_interval by default
}

// environments are the base URLs of the vendor's environments. Source: the vendor's page of the endpoint.
var environments = map[string]string{
	"prod-global": "https://api.justoneapi.com",
	"prod-cn":     "http://47.117.133.51:30015",
}

// defaults returns the defaults of a configuration without users.
func defaults() *Config {
	return &Config{
		API: API{
			Environment:          "prod-global",
			Timeout:              model.Duration(minTimeout),
			MaxConcurrency:       4,
			MaxRequestsPerSecond: 5,
			HTTPClient: promconfig.HTTPClientConfig{
				ProxyConfig: promconfig.ProxyConfig{ProxyFromEnvironment: true},
			},
		},
		Quota: Quota{
			MinInterval:   model.Duration(15 * time.Minute),
			RetryInterval: model.Duration(time.Minute),
			TimeZone:      "Asia/Shanghai",
		},
		MaxAge: model.Duration(24 * time.Hour),
	}
}

// FromWMIDs returns the default configuration for the given users. The token comes from the environment variable
// [TokenVariable].
func FromWMIDs(wmids []string) (*Config, error) {
	c := defaults()
	seen := make(map[int64]bool)
	for _, arg := range wmids {
		wmid, err := parseWMID(arg)
		if err == nil && seen[wmid] {
			err = fmt.Errorf("duplicate user %d", wmid)
		}
		if err != nil {
			return nil, fmt.Errorf("--wmid: %w", err)
		}
		seen[wmid] = true
		c.Users = append(c.Users, User{WMID: wmid, Name: arg, MinInterval: c.Quota.MinInterval})
	}
	var err error
	if c.API.Token, err = environmentToken(); err != nil {
		return nil, fmt.Errorf("--wmid: %w", err)
	}
	return c, nil
}

// URL returns the base URL of the API.
func (a *API) URL() (*url.URL, error) {
	base := a.BaseURL
	if base == "" {
		base = environments[a.Environment]
	}
	return url.Parse(base)
}

// Format implements [fmt.Formatter]. It prints the section as YAML, without secrets, whatever the verb.
func (a API) Format(f fmt.State, _ rune) {
	section, err := yaml.Marshal(a.masked())
	if err != nil {
		section = []byte(err.Error())
	}
	f.Write(section) //nolint:errcheck // fmt.State does not fail
}

// YAML returns the configuration as YAML, without secrets.
func (c *Config) YAML() ([]byte, error) {
	masked := *c
	masked.API = c.API.masked()
	masked.UserFiles = nil // the users include theirs
	var buf bytes.Buffer
	if len(c.UserFiles) > 0 {
		fmt.Fprintf(&buf, "# The users include those of user_files: %q\n", c.UserFiles)
	}
	encoder := yaml.NewEncoder(&buf)
	encoder.SetIndent(2)
	err := encoder.Encode(&masked)
	text := bytes.ReplaceAll(buf.Bytes(), []byte(url.User(secret).String()), []byte(secret))
	return quotedValue.ReplaceAllFunc(text, unescape), err
}

var (
	// quotedValue matches a line of YAML that ends with a value in double quotes.
	quotedValue = regexp.MustCompile(`(?m)^ *(- )*([\w.-]+: )?".*"$`)
	longEscape  = regexp.MustCompile(`\\\\|\\U[0-9A-F]{8}`)
)

// unescape replaces the escapes by which package yaml writes emoji in double quotes.
func unescape(line []byte) []byte {
	return longEscape.ReplaceAllFunc(line, func(escape []byte) []byte {
		if code, err := strconv.ParseInt(string(escape[2:]), 16, 32); err == nil && unicode.IsPrint(rune(code)) {
			return []byte(string(rune(code)))
		}
		return escape
	})
}

// secret is shown instead of secrets.
const secret = "<secret>"

// masked returns the section without user, password and query of the proxy's URL. Other secrets have types that mask
// themselves.
func (a API) masked() API {
	if proxy := a.HTTPClient.ProxyURL.URL; proxy != nil {
		masked := *proxy
		if masked.User != nil {
			masked.User = url.User(secret)
		}
		if masked.RawQuery != "" {
			masked.RawQuery = url.User(secret).String()
		}
		a.HTTPClient.ProxyURL.URL = &masked
	}
	return a
}

// RequestsPerDay returns how many requests a day the users' intervals require, without failures and limits.
func (c *Config) RequestsPerDay() float64 {
	var requests float64
	for _, user := range c.Users {
		requests += float64(24*time.Hour) / float64(user.MinInterval)
	}
	return requests
}

// Warnings returns warnings about valid but questionable settings.
func (c *Config) Warnings() []string {
	warnings := slices.Clone(c.warnings)
	warn := func(format string, args ...any) { warnings = append(warnings, fmt.Sprintf(format, args...)) }
	if time.Duration(c.API.Timeout) < minTimeout {
		warn("api.timeout is %s, less than the %s that the vendor asks for. "+
			"A request that is canceled early may still be billed.", c.API.Timeout, model.Duration(minTimeout))
	}
	if base, err := c.API.URL(); err == nil && base.Scheme == "http" && !c.API.staysOnMachine(base) {
		warn("%s is plain HTTP, so the token crosses the network in clear text. "+
			"Use https (environment prod-global) on networks that you do not trust.", base)
	}
	if interval := time.Duration(c.API.BalanceInterval); interval > 0 && interval < minBalanceInterval {
		warn("api.balance_interval is %s, shorter than %s. The vendor does not document whether these requests are free.",
			c.API.BalanceInterval, model.Duration(minBalanceInterval))
	}
	c.warnShortIntervals(warn)
	if zone, ok := strings.CutPrefix(c.Quota.TimeZone, "Etc/GMT"); ok && len(zone) > 1 && zone != "-0" && zone != "+0" {
		direction := map[byte]string{'+': "behind", '-': "ahead of"}[zone[0]]
		warn("quota.time_zone is %s, which is %s h %s UTC: the sign of these names is inverted. "+
			"Use a name such as Asia/Shanghai, which is 8 h ahead of UTC.", c.Quota.TimeZone, zone[1:], direction)
	}
	if c.API.HTTPClient.TLSConfig.InsecureSkipVerify {
		warn("api.http_client.tls_config.insecure_skip_verify is set, " +
			"so a server that impersonates the API can read the token.")
	}
	return warnings
}

// warnShortIntervals warns about intervals shorter than the default scrape interval.
func (c *Config) warnShortIntervals(warn func(string, ...any)) {
	const consequence = "shorter than the default scrape interval of %s. Requests are made only on scrapes, " +
		"so every scrape requests %s, which is billed each time."
	scrape := model.Duration(defaultScrapeInterval)
	shortest := slices.MinFunc(c.Users, func(a, b User) int { return cmp.Compare(a.MinInterval, b.MinInterval) })
	switch {
	case shortest.MinInterval >= scrape:
	case shortest.MinInterval == c.Quota.MinInterval:
		warn("quota.min_interval is %s, "+consequence, shortest.MinInterval, scrape, "all users without a min_interval")
	default:
		warn("the min_interval of user %d is %s, "+consequence, shortest.WMID, shortest.MinInterval, scrape, "this user")
	}
}

// warn adds a warning.
func (c *Config) warn(format string, args ...any) {
	c.warnings = append(c.warnings, fmt.Sprintf(format, args...))
}

// staysOnMachine reports whether requests for base surely do not leave the machine, because the API is on loopback, and
// so is the proxy, if one is configured.
func (a *API) staysOnMachine(base *url.URL) bool {
	proxy := a.HTTPClient.ProxyURL.URL
	return isLoopback(base.Hostname()) && (proxy == nil || isLoopback(proxy.Hostname()))
}

func isLoopback(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

// setDirectory makes relative paths relative to dir.
func (c *Config) setDirectory(dir string) {
	if c.API.TokenFile != "" && !filepath.IsAbs(c.API.TokenFile) {
		c.API.TokenFile = filepath.Join(dir, c.API.TokenFile)
	}
	c.API.HTTPClient.SetDirectory(dir)
}

// checkBaseURL reports why no request can be built on a base URL.
func checkBaseURL(rawURL string) error {
	base, err := url.Parse(rawURL)
	switch {
	case err != nil:
		return errors.New("invalid URL")
	case base.Scheme != "http" && base.Scheme != "https":
		return errors.New("must start with http:// or https://")
	case base.Hostname() == "":
		return errors.New("missing host")
	case base.User != nil:
		return errors.New("must not contain a user or password")
	case base.RawQuery != "" || base.Fragment != "":
		return errors.New("must not contain a query or fragment")
	}
	if port := base.Port(); port != "" {
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			return errors.New("invalid port")
		}
	}
	return nil
}
