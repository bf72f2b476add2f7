package server

import (
	"maps"
	"slices"
)

// Patterns returns the patterns of all pages.
func (e *Exporter) Patterns() []string { return slices.Sorted(maps.Keys(e.routes())) }
