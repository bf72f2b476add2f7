//go:build replicas

package e2e

import (
	"flag"
)

var events = flag.Int("events", 25, "number of faults in each test of replicas")
