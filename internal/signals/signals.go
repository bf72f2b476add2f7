// Package signals receives the signals that stop and reload the process, from before the slower packages are
// initialized, because the default action of each would kill the process. It imports little, so that Go initializes
// it early.
package signals

import (
	"os"
	"os/signal"
	"syscall"
)

var (
	// Stop receives SIGINT and SIGTERM.
	Stop = notify(os.Interrupt, syscall.SIGTERM)
	// Reload receives SIGHUP.
	Reload = notify(syscall.SIGHUP)
)

func notify(signals ...os.Signal) <-chan os.Signal {
	c := make(chan os.Signal, 2)
	signal.Notify(c, signals...)
	return c
}
