package store

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// problems collects what a store reports.
type problems struct {
	mu         sync.Mutex // protects the following fields
	list       []string
	recoveries int
}

func (p *problems) add(operation string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list = append(p.list, fmt.Sprintf("%s: %v", operation, err))
}

func (p *problems) recovered() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.recoveries++
}

func (p *problems) get() (list []string, recoveries int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.list), p.recoveries
}

// lost are the records of stores that replace a damaged one.
var lost = records("lost", "true")

func mustOpen(t *testing.T, config Config) (*Store, Contents, *problems) {
	t.Helper()
	reported := &problems{}
	config.OnError, config.OnRecovery, config.IfLost = reported.add, reported.recovered, lost
	s, contents, err := Open(config)
	if err != nil {
		t.Fatal(err)
	}
	return s, contents, reported
}

// mustPut stores records and waits for them.
func mustPut(t *testing.T, s *Store, changes map[string][]byte) {
	t.Helper()
	_, term, err := s.Lead(t.Context())
	if err == nil {
		err = s.Put(term, changes)(context.Background())
	}
	if err != nil {
		t.Fatal(err)
	}
}

func mustRead(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func records(pairs ...string) map[string][]byte {
	m := make(map[string][]byte)
	for pair := range slices.Chunk(pairs, 2) {
		m[pair[0]] = []byte(pair[1])
	}
	return m
}

func equal(a, b map[string][]byte) bool { return maps.EqualFunc(a, b, bytes.Equal) }

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
