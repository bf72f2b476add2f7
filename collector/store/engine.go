package store

// Engine is a shared database that is made of functions, for tests of what uses a [Store].
type Engine struct {
	// Write commits changes, all or none; nil deletes. It fails with [ErrSuperseded] if the term is over.
	Write func(term int64, changes map[string][]byte) error
	// Acquire reads all records, and takes the lease if it is free.
	Acquire func() (Contents, Lease, error)
	// Release gives up the lease of a term, unless it is 0.
	Release func(term int64) error
}

// ErrSuperseded is the error of changes that are not written, because the term under which they were made is over.
var ErrSuperseded = errSuperseded

func (e Engine) write(term int64, changes map[string][]byte) error { return e.Write(term, changes) }

func (e Engine) acquire() (Contents, Lease, error) { return e.Acquire() }

func (e Engine) close(term int64) error { return e.Release(term) }

// OpenEngine opens a shared store on an engine, on standby.
func OpenEngine(engine Engine, config Config) *Store {
	config.URL = "engine:"
	return newStore(config, engine, 0, Lease{})
}
