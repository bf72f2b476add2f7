package server

import "context"

// rendering has room for what is being rendered that takes memory, and time from
// scrapes.
type rendering chan struct{}

// do calls f when there is room for it, and reports false if ctx ends before.
func (r rendering) do(ctx context.Context, f func()) bool {
	select {
	case r <- struct{}{}:
		defer func() { <-r }()
		f()
		return true
	case <-ctx.Done():
		return false
	}
}
