//go:build bench

package justoneapi

// Decode exports decode for the benchmark.
func Decode(status int, body []byte, wmid int64) (Stat, *Error) { return decode(status, body, wmid) }
