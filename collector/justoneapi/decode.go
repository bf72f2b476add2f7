package justoneapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
)

// Stat is a user's relation statistics.
type Stat struct {
	Followers int64 // number of users who follow this user; 0 to 2^53
	Following int64 // number of users that this user follows; 0 to 2^53
}

// maxCount is the largest count up to which a float64, and therefore a sample, holds every integer exactly.
const maxCount = 1 << 53

// decode decodes the response to a request for the user wmid.
//
// An envelope is valid at any HTTP status; the status matters only if there is none. Keys are case-sensitive and must
// be unique, and numbers must be plain integers, so that a doubtful number is an error and never a value.
func decode(status int, body []byte, wmid int64) (Stat, *Error) {
	if len(body) > maxBody {
		return Stat{}, noEnvelope(status, fmt.Errorf("longer than %d bytes", maxBody))
	}
	envelope, err := object(body)
	if err != nil {
		return Stat{}, noEnvelope(status, err)
	}
	code, err := integer(envelope, "code")
	if err != nil {
		return Stat{}, noEnvelope(status, err)
	}
	fail := func(kind Kind, message string, detail error) (Stat, *Error) {
		e := &Error{Kind: kind, Message: message, RequestID: text(envelope, "requestId")}
		if detail != nil {
			e.Detail = detail.Error()
		}
		return Stat{}, e
	}
	if code != 0 {
		return fail(apiKind(code), text(envelope, "message"), nil)
	}

	malformed := kindMalformed
	malformed.Billing = Billed // because the code is 0
	response, err := object(envelope["data"])
	if err != nil {
		return fail(malformed, "", fmt.Errorf("data: %w", err))
	}
	switch code, err := integer(response, "code"); {
	case err != nil:
		return fail(malformed, "", fmt.Errorf("data: %w", err))
	case code != 0:
		return fail(bilibiliKind(code), text(response, "message"), nil)
	}
	data, err := object(response["data"])
	if err != nil {
		return fail(malformed, "", fmt.Errorf("data.data: %w", err))
	}
	switch mid, err := integer(data, "mid"); {
	case err != nil:
		return fail(malformed, "", fmt.Errorf("data.data: %w", err))
	case mid != wmid:
		return fail(kindMismatch, "", fmt.Errorf("requested %d, got %d", wmid, mid))
	}
	followers, err := count(data, "follower")
	if err != nil {
		return fail(malformed, "", fmt.Errorf("data.data: %w", err))
	}
	following, err := count(data, "following")
	if err != nil {
		return fail(malformed, "", fmt.Errorf("data.data: %w", err))
	}
	return Stat{Followers: followers, Following: following}, nil
}

// noEnvelope returns the error for a response without an envelope.
func noEnvelope(status int, err error) *Error {
	if status != http.StatusOK {
		return &Error{Kind: httpKind(status)}
	}
	kind := kindMalformed
	kind.NoResponse = true
	return &Error{Kind: kind, Detail: err.Error()}
}

// object returns the members of a JSON object. Unlike [json.Unmarshal], it refuses a repeated key.
func object(data []byte) (map[string]json.RawMessage, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return nil, errors.New("want a JSON object")
	}
	members := make(map[string]json.RawMessage)
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return nil, fmt.Errorf("reading JSON: %w", err)
		}
		key, ok := token.(string)
		if !ok {
			return nil, errors.New("want a JSON object")
		}
		if _, repeated := members[key]; repeated {
			return nil, fmt.Errorf("key %q is repeated", key)
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, fmt.Errorf("reading JSON: %w", err)
		}
		members[key] = value
	}
	if _, err := dec.Token(); err != nil {
		return nil, fmt.Errorf("reading JSON: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("text after the JSON object")
	}
	return members, nil
}

// integer returns the value of a member, which must be a plain JSON integer of 64 bits.
func integer(members map[string]json.RawMessage, key string) (int64, error) {
	raw, ok := members[key]
	if !ok {
		return 0, fmt.Errorf("%s is missing", key)
	}
	n, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s is not an integer but %s", key, describe(raw))
	}
	return n, nil
}

// describe returns a number or literal as it is, and only the type of anything else, which could contain anything.
func describe(raw json.RawMessage) string {
	switch raw[0] {
	case '"':
		return "text"
	case '{':
		return "an object"
	case '[':
		return "an array"
	default:
		return string(raw)
	}
}

// count returns the value of a member, which must be an integer from 0 to maxCount.
func count(members map[string]json.RawMessage, key string) (int64, error) {
	n, err := integer(members, key)
	if err != nil {
		return 0, err
	}
	if n < 0 || n > maxCount {
		return 0, fmt.Errorf("%s is out of range: %d", key, n)
	}
	return n, nil
}

// text returns the value of a member if it is a string, else "".
func text(members map[string]json.RawMessage, key string) string {
	var s string
	if json.Unmarshal(members[key], &s) != nil {
		return ""
	}
	return s
}
