//go:build e2e || crash || soak || image || replicas

// Package e2e tests the exporter as a process, with real clients and under real faults. The build tags choose the
// tests, because each group needs other programs, privileges or time: e2e (Prometheus, Alertmanager, Chromium and
// curl), crash (strace and root), soak (time), image (buildah and root) and replicas (PostgreSQL and pgbouncer). The
// Makefile has a target for each.
package e2e

import (
	"os"
	"testing"

	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
)

func TestMain(m *testing.M) { os.Exit(exportertest.Main(m)) }
