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
	Followers int64  // number of users who follow this user; 0 to 2^53
	Following int64  // number of users that this user follows; 0 to 2^53
	RequestID string // the vendor's, if there is one
}

// maxCount is the largest count up to which a float64, and therefore a sample, holds every integer exactly.
const maxCount = 1 << 53

// decode decodes the response to a request for the user wmid.
//
// Keys are case-sensitive and must be unique, and numbers must be plain integers, so that a doubtful number is an error
// and never a value.
func decode(status int, body []byte, wmid int64) (Stat, *Error) {
	envelope, failure := openEnvelope(status, body)
	if failure != nil {
		return Stat{}, failure
	}
	response, err := object(envelope["data"])
	if err != nil {
		return Stat{}, malformed(envelope, "data: %w", err)
	}
	switch code, err := integer(response, "code"); {
	case err != nil:
		return Stat{}, malformed(envelope, "data: %w", err)
	case code != 0:
		return Stat{}, &Error{Kind: bilibiliKind(code), Message: text(response, "message"), RequestID: requestID(envelope)}
	}
	data, err := object(response["data"])
	if err != nil {
		return Stat{}, malformed(envelope, "data.data: %w", err)
	}
	stat, mid := Stat{RequestID: requestID(envelope)}, int64(0)
	for _, field := range []struct {
		key  string
		read func(map[string]json.RawMessage, string) (int64, error)
		to   *int64
	}{{"mid", integer, &mid}, {"follower", count, &stat.Followers}, {"following", count, &stat.Following}} {
		if *field.to, err = field.read(data, field.key); err != nil {
			return Stat{}, malformed(envelope, "data.data: %w", err)
		}
		if mid != wmid {
			detail := fmt.Sprintf("requested %d, got %d", wmid, mid)
			return Stat{}, &Error{Kind: kindMismatch, Detail: detail, RequestID: requestID(envelope)}
		}
	}
	return stat, nil
}

// openEnvelope returns the members of an envelope with code 0; another code is an error. An envelope is valid at any
// HTTP status; the status matters only if there is none.
func openEnvelope(status int, body []byte) (map[string]json.RawMessage, *Error) {
	if len(body) > maxBody {
		return nil, noEnvelope(status, fmt.Errorf("longer than %d bytes", maxBody))
	}
	envelope, err := object(body)
	if err != nil {
		return nil, noEnvelope(status, err)
	}
	switch code, err := integer(envelope, "code"); {
	case err != nil:
		return nil, noEnvelope(status, err)
	case code != 0:
		return nil, &Error{Kind: apiKind(code), Message: text(envelope, "message"), RequestID: requestID(envelope)}
	}
	return envelope, nil
}

// malformed returns the error for an envelope with code 0, which is billed, and data that is not as documented.
func malformed(envelope map[string]json.RawMessage, format string, err error) *Error {
	kind := kindMalformed
	kind.Billing = Billed
	return &Error{Kind: kind, Detail: fmt.Errorf(format, err).Error(), RequestID: requestID(envelope)}
}

func requestID(envelope map[string]json.RawMessage) string { return text(envelope, "requestId") }

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
