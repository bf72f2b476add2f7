module github.com/bilibili-exporter/bilibili_exporter/examples/grafana/check

go 1.26.0

require github.com/grafana/grafana-foundation-sdk/go v0.0.0-20250310114924-e8eb8530bc7c
