//go:build bench

package justoneapi

// Decode lets a benchmark at the reading of an answer.
func Decode(status int, body []byte, wmid int64) (Stat, *Error) { return decode(status, body, wmid) }
