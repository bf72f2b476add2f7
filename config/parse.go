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
	_ "time/tzdata" // zones for machines and images that have none
	"unicode"
	"unicode/utf8"

	promconfig "github.com/prometheus/common/config"
	"gopkg.in/yaml.v3"
)

// Parse reads a configuration from r. The name is the file's: errors begin
// with it, and relative paths count from its folder. The rest is as for [Load].
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

// syntaxError matches the errors of package yaml. Its first group is the line.
var syntaxError = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)`)

// document reads the only YAML document of r.
func (d *decoder) document(r io.Reader) *yaml.Node {
	dec := yaml.NewDecoder(r)
	var first, second yaml.Node
	err := dec.Decode(&first)
	if err == nil {
		if err := dec.Decode(&second); err == nil {
			d.fail(second.Line, "", "a second document begins: want only one")
		} else if !errors.Is(err, io.EOF) {
			d.syntax(err)
		}
		return first.Content[0]
	}
	if errors.Is(err, io.EOF) {
		d.fail(1, "", "the file is empty: want at least users")
	} else {
		d.syntax(err)
	}
	return nil
}

func (d *decoder) syntax(err error) {
	parts := syntaxError.FindStringSubmatch(err.Error())
	if parts == nil {
		d.fail(1, "", "reading the file: %v", err)
		return
	}
	if problem, ok := strings.CutPrefix(parts[2], "input error: "); ok {
		d.err = fmt.Errorf("reading the configuration: %s", problem)
		return
	}
	line, err := strconv.Atoi(parts[1])
	if err != nil {
		line = 1
	} else if strings.HasPrefix(parts[2], "did not find expected ") {
		line++ // package yaml counts from 0 in the errors of its parser, from 1 in those of its scanner
	}
	// An unquoted token that begins with * is an alias to YAML, and would be shown.
	if strings.HasPrefix(parts[2], "unknown anchor") {
		parts[2] = "a value that begins with * must stand in quotes"
	}
	d.fail(line, "", "this is not YAML: %s", parts[2])
}

func (c *Config) decode(s *section) {
	s.known("api", "quota", "max_age", "users")
	c.API.decode(s.sub("api"))
	c.Quota.decode(s.sub("quota"))
	s.duration("max_age", &c.MaxAge)
	c.decodeUsers(s)
}

func (a *API) decode(s *section) {
	s.known("environment", "base_url", "token", "token_file", "timeout", "max_concurrency", "max_requests_per_second", "http_client")
	s.text("environment", &a.Environment)
	if _, ok := environments[a.Environment]; !ok {
		s.bad("environment", "want %s, got %q", strings.Join(slices.Sorted(maps.Keys(environments)), " or "), a.Environment)
	}
	a.decodeBaseURL(s)
	a.decodeToken(s)
	s.duration("timeout", &a.Timeout)
	s.integer("max_concurrency", 1, &a.MaxConcurrency)
	s.positive("max_requests_per_second", &a.MaxRequestsPerSecond)
	decodeHTTPClient(s.sub("http_client"), &a.HTTPClient)
}

func (a *API) decodeBaseURL(s *section) {
	s.text("base_url", &a.BaseURL)
	if a.BaseURL == "" {
		return
	}
	if s.has("environment") {
		s.bad("base_url", "replaces environment (line %d): remove one of the two", s.lineOf("environment"))
	}
	if err := checkBaseURL(a.BaseURL); err != nil {
		s.bad("base_url", "%v", err)
	}
	a.Environment = ""
}

func (a *API) decodeToken(s *section) {
	var token string
	s.text("token", &token)
	s.text("token_file", &a.TokenFile)
	switch {
	case token != "" && a.TokenFile != "":
		s.bad("token_file", "replaces token (line %d): remove one of the two", s.lineOf("token"))
	case token != "":
		if err := checkToken(token); err != nil {
			s.bad("token", "%v", err)
		}
		a.Token, a.tokenInFile = promconfig.Secret(token), true
	case a.TokenFile == "":
		var err error
		if a.Token, err = environmentToken(); err != nil {
			s.bad("token", "is not set, nor is token_file: %v", err)
		}
	}
}

func (q *Quota) decode(s *section) {
	s.known("min_interval", "retry_interval", "daily_limit", "time_zone")
	s.duration("min_interval", &q.MinInterval)
	s.duration("retry_interval", &q.RetryInterval)
	s.integer("daily_limit", 0, &q.DailyLimit)
	s.text("time_zone", &q.TimeZone)
	if _, err := q.Location(); err != nil {
		s.bad("time_zone", "want the name of a time zone such as Asia/Shanghai or UTC, got %q", q.TimeZone)
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
		if first, repeated := lines[user.WMID]; repeated {
			s.fail(node.Line, path, "user %d is given twice, first in line %d", user.WMID, first)
		}
		lines[user.WMID] = node.Line
		c.Users = append(c.Users, user)
	}
	if len(c.Users) == 0 {
		s.bad("users", "want at least one user: the number in https://space.bilibili.com/<wmid>")
	}
}

// decode reads a user in the short form, a WMID alone, or in the long one.
func (u *User) decode(d *decoder, node *yaml.Node, path string) {
	if resolved := resolve(node); resolved.Kind == yaml.ScalarNode {
		node = &yaml.Node{Kind: yaml.MappingNode, Line: node.Line, Content: []*yaml.Node{
			{Kind: yaml.ScalarNode, Value: "wmid", Line: node.Line}, resolved,
		}}
	}
	s := d.section(node, node.Line, path)
	s.known("wmid", "name", "labels", "min_interval")
	if text, ok := s.scalar("wmid", "a WMID, a whole number", "!!int"); ok {
		var err error
		if u.WMID, err = parseWMID(text); err != nil {
			s.bad("wmid", "%v", err)
		}
	} else {
		s.bad("wmid", "is missing: want the number in https://space.bilibili.com/<wmid>")
	}
	u.Name = strconv.FormatInt(u.WMID, 10)
	s.text("name", &u.Name)
	if problem := checkName(u.Name); problem != "" {
		s.bad("name", "%s", problem)
	}
	s.duration("min_interval", &u.MinInterval)
	u.decodeLabels(s.sub("labels"))
}

// maxName is how many characters a name may have.
const maxName = 200

// checkName says what is wrong with a name, which stands in logs and on pages.
func checkName(name string) string {
	invisible := func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsGraphic(r) }
	switch {
	case strings.TrimFunc(name, invisible) == "":
		return "is empty: remove it to show the WMID"
	case utf8.RuneCountInString(name) > maxName:
		return fmt.Sprintf("is longer than %d characters", maxName)
	case strings.ContainsFunc(name, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }):
		return "holds a character that changes how lines are shown"
	}
	return ""
}

var labelName = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

func (u *User) decodeLabels(s *section) {
	for _, name := range slices.Sorted(maps.Keys(s.nodes)) {
		switch {
		case !labelName.MatchString(name):
			s.bad(name, "is not a label name: want letters, digits and _, not beginning with a digit")
		case name == "wmid" || name == "name" || strings.HasPrefix(name, "__"):
			s.bad(name, "is a label name of the exporter or of Prometheus: choose another")
		}
		var value string
		s.text(name, &value)
		if u.Labels == nil {
			u.Labels = make(map[string]string)
		}
		u.Labels[name] = value
	}
}
