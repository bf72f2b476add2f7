package helm

import (
	"os"
	"testing"

	"github.com/bilibili-exporter/bilibili_exporter/internal/exportertest"
)

func TestMain(m *testing.M) { os.Exit(exportertest.Main(m)) }
