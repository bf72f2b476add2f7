package config

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/prometheus/common/model"
	"gopkg.in/yaml.v3"
)

// exampleUser is the value of a list of users in messages.
const exampleUser = "[472747194]"

// roster is a list of users from several files.
type roster struct {
	users       []User
	places      []place // of each user
	minInterval model.Duration
}

// place is where a user is listed.
type place struct {
	*decoder
	line, index int
}

func (p place) path() string { return itemPath(p.decoder, p.index) }

// itemPath returns the path of an item of the list of users, which is all of a user file.
func itemPath(d *decoder, index int) string {
	if d.order == 0 {
		return fmt.Sprintf("users[%d]", index)
	}
	return fmt.Sprintf("[%d]", index)
}

// add decodes the next user of a file.
func (r *roster) add(d *decoder, node *yaml.Node, index int) {
	user := User{MinInterval: r.minInterval}
	user.decode(d, node, itemPath(d, index))
	r.users = append(r.users, user)
	r.places = append(r.places, place{d, node.Line, index})
}

// addPart decodes the users of a block. If it cannot be decoded in parts, it changes nothing and returns an error.
func (r *roster) addPart(d *decoder, list block) error {
	users, recorded := len(r.users), len(d.found)
	err := list.each(func(item *yaml.Node) { r.add(d, item, len(r.users)-users) })
	if err != nil {
		r.users, r.places, d.found = r.users[:users], r.places[:users], d.found[:recorded]
	}
	return err
}

// addAll decodes the users that are the items of a list.
func (r *roster) addAll(d *decoder, items []*yaml.Node) {
	for i, item := range items {
		r.add(d, item, i)
	}
}

// checkDuplicates records users that are listed twice.
func (r *roster) checkDuplicates() {
	first := make(map[int64]int, len(r.users))
	for i, user := range r.users {
		j, duplicate := first[user.WMID]
		switch here := r.places[i]; {
		case user.WMID == 0: // invalid
		case !duplicate:
			first[user.WMID] = i
		case r.places[j].decoder == here.decoder:
			here.fail(here.line, here.path(), "duplicate user %d, first listed on line %d", user.WMID, r.places[j].line)
		default:
			there := r.places[j]
			here.fail(here.line, here.path(), "duplicate user %d, first listed in %s:%d", user.WMID, there.file, there.line)
		}
	}
}

// decode reads a user in the short form, a WMID alone, or in the long form.
func (u *User) decode(d *decoder, node *yaml.Node, path string) {
	s := &section{decoder: d, path: path, line: node.Line}
	if resolved := resolve(node); resolved.Kind == yaml.ScalarNode {
		s.fields = []field{{"wmid", node.Line, resolved}}
	} else {
		s = d.section(node, node.Line, path)
		if resolved.Kind != yaml.MappingNode {
			return
		}
	}
	s.checkFields("wmid", "name", "labels", "min_interval")
	u.decodeWMID(s)
	if s.has("name") {
		s.str("name", &u.Name)
		if err := checkName(u.Name); err != nil {
			s.invalid("name", "%v", err)
		}
	}
	s.duration("min_interval", &u.MinInterval)
	if s.has("labels") {
		u.decodeLabels(s.sub("labels"))
	}
}

// decodeWMID reads the WMID, which can be in quotes, and sets the name to it.
func (u *User) decodeWMID(s *section) {
	if !s.has("wmid") {
		s.invalid("wmid", "missing, %s", wantWMID)
		return
	}
	value, ok := s.scalar("wmid", "a WMID (an integer)", "!!int", "!!float", "!!str")
	if !ok {
		return
	}
	var err error
	if u.WMID, err = parseWMID(value); err != nil {
		s.invalid("wmid", "%v", err)
	}
	u.Name = value
}

// parseWMID parses a WMID as the vendor writes it, in decimal digits only.
func parseWMID(s string) (int64, error) {
	wmid, err := strconv.ParseInt(s, 10, 64)
	if err == nil && wmid > 0 && strconv.FormatInt(wmid, 10) == s {
		return wmid, nil
	}
	return 0, fmt.Errorf("invalid WMID %q, %s", shorten(s), wmidHint(s))
}

const wantWMID = "want the number in https://space.bilibili.com/<wmid>"

var (
	floatNumber = regexp.MustCompile(`^[+-]?(\d+\.\d*|\d*\.?\d+[eE][+-]?\d+)$`)
	spaceURL    = regexp.MustCompile(`space\.bilibili\.com/(\d+)`)
)

// wmidHint returns what to write instead of an invalid WMID.
func wmidHint(s string) string {
	url := spaceURL.FindStringSubmatch(s)
	switch {
	case url != nil:
		return "want only the number: " + url[1]
	case floatNumber.MatchString(s):
		return wantWMID + ", with all its digits; spreadsheets, jq, Helm and others print large integers as floats, " +
			"so put it in quotes before it passes through them"
	default:
		return wantWMID + hint(s)
	}
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

// reservedLabels are the labels that the exporter or Prometheus sets.
var reservedLabels = []string{"wmid", "name", "job", "instance"}

func (u *User) decodeLabels(s *section) {
	for _, f := range s.fields {
		switch {
		case !labelName.MatchString(f.key):
			s.invalid(f.key, "invalid label name, want letters, digits and underscores, not starting with a digit")
		case slices.Contains(reservedLabels, f.key) || strings.HasPrefix(f.key, "__"):
			s.invalid(f.key, "reserved label name, used by the exporter or by Prometheus; choose another one")
		}
		var value string
		s.str(f.key, &value)
		if u.Labels == nil {
			u.Labels = make(map[string]string, len(s.fields))
		}
		u.Labels[f.key] = value
	}
}
