package config

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // time zones for machines and images without them
	"unicode"
	"unicode/utf8"

	promconfig "github.com/prometheus/common/config"
	"gopkg.in/yaml.v3"
)

// Parse reads a configuration from r. The name is the file's. Errors start with it, and relative paths are relative to
// its directory. Otherwise it is like [Load].
func Parse(name string, r io.Reader) (*Config, error) {
	d := &decoder{file: name}
	c := defaults()
	if root := d.document(r); d.err == nil {
		c.decode(d.section(root, 1, ""))
	}
	if d.err != nil {
		return nil, d.err
	}
	c.setDirectory(filepath.Dir(name))
	return c, nil
}

// document reads the only YAML document of r.
func (d *decoder) document(r io.Reader) *yaml.Node {
	dec := yaml.NewDecoder(r)
	var first, second yaml.Node
	err := dec.Decode(&first)
	if err == nil {
		if err := dec.Decode(&second); err == nil {
			d.fail(second.Line, "", "want a single YAML document, got a second one")
		} else if !errors.Is(err, io.EOF) {
			d.syntaxError(err)
		}
		return first.Content[0]
	}
	if errors.Is(err, io.EOF) {
		d.fail(1, "", "the file is empty, want at least the field users")
	} else {
		d.syntaxError(err)
	}
	return nil
}

// syntaxErrorPattern matches the errors of package yaml. Its first group is the line.
var syntaxErrorPattern = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)`)

// syntaxError records an error of package yaml.
func (d *decoder) syntaxError(err error) {
	match := syntaxErrorPattern.FindStringSubmatch(err.Error())
	if match == nil {
		d.fail(1, "", "reading the file: %v", err)
		return
	}
	message := match[2]
	if cause, ok := strings.CutPrefix(message, "input error: "); ok {
		d.err = fmt.Errorf("reading the configuration: %s", cause)
		return
	}
	line, err := strconv.Atoi(match[1])
	if err != nil {
		line = 1
	} else if strings.HasPrefix(message, "did not find expected ") {
		line++ // package yaml counts from 0 in the errors of its parser, from 1 in those of its scanner
	}
	// An unquoted token that starts with * is an alias in YAML, and the message would show it.
	if strings.HasPrefix(message, "unknown anchor") {
		message = "a value that starts with * must be quoted"
	}
	d.fail(line, "", "invalid YAML: %s", message)
}

func (c *Config) decode(s *section) {
	s.checkFields("api", "quota", "max_age", "users")
	c.API.decode(s.sub("api"))
	c.Quota.decode(s.sub("quota"))
	s.duration("max_age", &c.MaxAge)
	c.decodeUsers(s)
}

func (a *API) decode(s *section) {
	s.checkFields("environment", "base_url", "token", "token_file", "timeout", "max_concurrency",
		"max_requests_per_second", "balance_interval", "http_client")
	s.str("environment", &a.Environment)
	if _, ok := environments[a.Environment]; !ok {
		valid := strings.Join(slices.Sorted(maps.Keys(environments)), " or ")
		s.invalid("environment", "want %s, got %q", valid, a.Environment)
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
	s.str("token", &token)
	s.str("token_file", &a.TokenFile)
	switch {
	case token != "" && a.TokenFile != "":
		s.invalid("token_file", "mutually exclusive with token (line %d)", s.keyLine("token"))
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
		s.invalid("time_zone", "want the name of a time zone such as Asia/Shanghai or UTC, got %q", q.TimeZone)
	}
}

// Location returns the time zone of the quota day.
func (q *Quota) Location() (*time.Location, error) {
	if q.TimeZone == "" || q.TimeZone == "Local" {
		return nil, fmt.Errorf("time zone %q depends on the machine", q.TimeZone)
	}
	return time.LoadLocation(q.TimeZone)
}

func (c *Config) decodeUsers(s *section) {
	lines := make(map[int64]int)
	for i, node := range s.list("users") {
		user := User{MinInterval: c.Quota.MinInterval}
		path := fmt.Sprintf("users[%d]", i)
		user.decode(s.decoder, node, path)
		if first, duplicate := lines[user.WMID]; duplicate {
			s.fail(node.Line, path, "duplicate user %d, first listed on line %d", user.WMID, first)
		}
		lines[user.WMID] = node.Line
		c.Users = append(c.Users, user)
	}
	if len(c.Users) == 0 {
		s.invalid("users", "want at least one user, the number in https://space.bilibili.com/<wmid>")
	}
}

// decode reads a user in the short form, a WMID alone, or in the long form.
func (u *User) decode(d *decoder, node *yaml.Node, path string) {
	if resolved := resolve(node); resolved.Kind == yaml.ScalarNode {
		node = &yaml.Node{Kind: yaml.MappingNode, Line: node.Line, Content: []*yaml.Node{
			{Kind: yaml.ScalarNode, Value: "wmid", Line: node.Line}, resolved,
		}}
	}
	s := d.section(node, node.Line, path)
	s.checkFields("wmid", "name", "labels", "min_interval")
	if value, ok := s.scalar("wmid", "a WMID (an integer)", "!!int", "!!float"); ok {
		var err error
		if u.WMID, err = parseWMID(value); err != nil {
			s.invalid("wmid", "%v", err)
		}
	} else {
		s.invalid("wmid", "missing, want the number in https://space.bilibili.com/<wmid>")
	}
	u.Name = strconv.FormatInt(u.WMID, 10)
	s.str("name", &u.Name)
	if err := checkName(u.Name); err != nil {
		s.invalid("name", "%v", err)
	}
	s.duration("min_interval", &u.MinInterval)
	u.decodeLabels(s.sub("labels"))
}

// maxName is the maximum length of a name, in characters.
const maxName = 200

// checkName reports why a name cannot be shown in logs and on pages.
func checkName(name string) error {
	invisible := func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsGraphic(r) }
	control := func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }
	switch {
	case strings.TrimFunc(name, invisible) == "":
		return errors.New("must not be empty; without the field the WMID is shown")
	case utf8.RuneCountInString(name) > maxName:
		return fmt.Errorf("must not be longer than %d characters", maxName)
	case strings.ContainsFunc(name, control):
		return errors.New("must not contain control or text direction characters")
	}
	return nil
}

var labelName = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

func (u *User) decodeLabels(s *section) {
	for _, name := range slices.Sorted(maps.Keys(s.nodes)) {
		switch {
		case !labelName.MatchString(name):
			s.invalid(name, "invalid label name, want letters, digits and underscores, not starting with a digit")
		case name == "wmid" || name == "name" || strings.HasPrefix(name, "__"):
			s.invalid(name, "reserved label name, used by the exporter or by Prometheus")
		}
		var value string
		s.str(name, &value)
		if u.Labels == nil {
			u.Labels = make(map[string]string)
		}
		u.Labels[name] = value
	}
}
