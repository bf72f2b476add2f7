package config

import (
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // time zones for machines and images without them

	promconfig "github.com/prometheus/common/config"
	"gopkg.in/yaml.v3"
)

// Parse reads a configuration from r, and the user files that it names. The name is the file's. Errors start with it,
// and relative paths are relative to its directory. Files that are read later, such as the token file, are not checked.
// Otherwise it is like [Load].
func Parse(name string, r io.Reader) (*Config, error) {
	content, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	p := parseConfig(name, content, io.Discard)
	if err := p.err(); err != nil {
		return nil, err
	}
	return p.config, nil
}

// parser decodes a configuration.
type parser struct {
	*decoder // of the configuration file
	roster
	config    *Config // nil if the file is not YAML
	patterns  []pattern
	api       *section
	usersLine int // of the key users, or 1
}

func newParser(name string) *parser {
	return &parser{decoder: &decoder{problems: &problems{}, file: name}, config: defaults(), usersLine: 1}
}

// parseConfig decodes a configuration and its user files. It writes what it reads from user files to read, too.
func parseConfig(name string, content []byte, read io.Writer) *parser {
	p := newParser(name)
	text, ok := p.decodeText(content)
	if !ok {
		p.config = nil
		return p
	}
	if rest, users, ok := cutUsers(text); !ok || !p.decodeParts(rest, users) {
		p = newParser(name)
		p.decodeWhole(text)
	}
	if p.config == nil {
		return p
	}
	dir := filepath.Dir(name)
	p.addUserFiles(dir, read)
	if len(p.users) == 0 && !slices.ContainsFunc(p.found, problem.isAboutUsers) {
		p.fail(p.usersLine, "users", "want at least one user, here or in user_files; %s", wantWMID)
	}
	p.checkDuplicates()
	p.config.Users = p.users
	p.config.setDirectory(dir)
	return p
}

// decodeParts decodes a configuration whose users are separate. It reports whether they can be.
func (p *parser) decodeParts(rest []byte, users block) bool {
	root, err := parseYAML(rest)
	if err != nil || !users.isCut(root) {
		return false
	}
	p.decode(p.section(root, 1, ""))
	return p.addPart(p.decoder, users) == nil
}

// decodeWhole decodes a configuration.
func (p *parser) decodeWhole(text []byte) {
	root := p.document(text, "at least the field users")
	if root != nil && root.Kind != yaml.MappingNode && root.Tag != "!!null" {
		p.fail(root.Line, "", "want a mapping with at least the field users, got %s", describe(root, false))
		root = nil
	}
	if root == nil {
		p.config = nil
		return
	}
	s := p.section(root, 1, "")
	p.decode(s)
	p.addAll(p.decoder, s.list("users", exampleUser))
}

// decode decodes all but the users.
func (p *parser) decode(s *section) {
	c := p.config
	s.fields = slices.DeleteFunc(s.fields, func(f field) bool { return strings.HasPrefix(f.key, "x-") })
	s.checkFields("api", "quota", "max_age", "users", "user_files")
	before := len(p.found)
	p.api = s.sub("api")
	if len(p.found) == before {
		c.API.decode(p.api)
	}
	c.Quota.decode(s.sub("quota"))
	s.duration("max_age", &c.MaxAge)
	p.patterns = patterns(s)
	for _, pattern := range p.patterns {
		c.UserFiles = append(c.UserFiles, pattern.glob)
	}
	p.minInterval, p.usersLine = c.Quota.MinInterval, s.keyLine("users")
}

func (a *API) decode(s *section) {
	s.checkFields("environment", "base_url", "token", "token_file", "timeout", "max_concurrency",
		"max_requests_per_second", "balance_interval", "http_client")
	s.str("environment", &a.Environment)
	if _, ok := environments[a.Environment]; !ok {
		valid := strings.Join(slices.Sorted(maps.Keys(environments)), " or ")
		s.invalid("environment", "want %s, got %q", valid, shorten(a.Environment))
	}
	a.decodeBaseURL(s)
	a.decodeToken(s)
	s.duration("timeout", &a.Timeout)
	s.integer("max_concurrency", 1, &a.MaxConcurrency)
	s.positive("max_requests_per_second", &a.MaxRequestsPerSecond)
	s.durationOrZero("balance_interval", &a.BalanceInterval)
	decodeHTTPClient(s.sub("http_client"), &a.HTTPClient)
}

func (a *API) decodeBaseURL(s *section) {
	s.str("base_url", &a.BaseURL)
	if a.BaseURL == "" {
		return
	}
	if s.has("environment") {
		s.invalid("base_url", "mutually exclusive with environment (line %d)", s.keyLine("environment"))
	}
	if err := checkBaseURL(a.BaseURL); err != nil {
		s.invalid("base_url", "%v", err)
	}
	a.Environment = ""
}

func (a *API) decodeToken(s *section) {
	var token string
	before := len(s.found)
	s.str("token", &token)
	s.str("token_file", &a.TokenFile)
	switch {
	case len(s.found) > before:
	case token != "" && a.TokenFile != "":
		s.invalid("token_file", "mutually exclusive with token (line %d)", s.keyLine("token"))
		a.TokenFile = ""
	case token != "":
		if err := checkToken(token); err != nil {
			s.invalid("token", "%v", err)
		}
		a.Token, a.tokenInFile = promconfig.Secret(token), true
	case a.TokenFile == "":
		var err error
		if a.Token, err = environmentToken(); err != nil {
			s.invalid("token", "neither token nor token_file is set, and %v", err)
		}
	}
}

func (q *Quota) decode(s *section) {
	s.checkFields("min_interval", "retry_interval", "daily_limit", "time_zone")
	s.duration("min_interval", &q.MinInterval)
	s.duration("retry_interval", &q.RetryInterval)
	s.integer("daily_limit", 0, &q.DailyLimit)
	s.str("time_zone", &q.TimeZone)
	if _, err := q.Location(); err != nil {
		s.invalid("time_zone", "want the name of a time zone such as Asia/Shanghai or UTC, got %q", shorten(q.TimeZone))
	}
}

// Location returns the time zone of the quota day.
func (q *Quota) Location() (*time.Location, error) {
	if q.TimeZone == "" || q.TimeZone == "Local" {
		return nil, fmt.Errorf("time zone %q depends on the machine", q.TimeZone)
	}
	return time.LoadLocation(q.TimeZone)
}
