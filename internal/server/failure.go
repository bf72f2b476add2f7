package server

import "sync/atomic"

// failure is why something that is tried again and again failed the latest
// time. It is safe for concurrent use.
type failure struct{ text atomic.Pointer[string] }

// set sets the reason, empty for a success, and returns the one before.
func (f *failure) set(reason string) (before string) {
	if p := f.text.Swap(&reason); p != nil {
		before = *p
	}
	return before
}

// reason returns the reason, empty for a success.
func (f *failure) reason() string {
	if p := f.text.Load(); p != nil {
		return *p
	}
	return ""
}
