GO       ?= go
GOLANGCI := $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
FUZZ     = $(GO) test -run '^$$' -fuzztime $(FUZZTIME) -fuzzminimizetime 1s
FUZZTIME  ?= 1m
ROUNDS    ?= 20
SOAK      ?= 3m
USERS     ?= 10,1000,10000
BENCHES   ?= 15

VERSION    ?= $(patsubst v%,%,$(shell git describe --tags --always --dirty 2>/dev/null))
LDFLAGS    := -s -w \
	-X github.com/prometheus/common/version.Version=$(VERSION) \
	-X github.com/prometheus/common/version.Revision=$(shell git rev-parse HEAD 2>/dev/null) \
	-X github.com/prometheus/common/version.Branch=$(shell git rev-parse --abbrev-ref HEAD 2>/dev/null) \
	-X github.com/prometheus/common/version.BuildUser=$(shell id -un)@$(shell hostname) \
	-X github.com/prometheus/common/version.BuildDate=$(shell date -u +%Y%m%d-%H:%M:%S)

PLATFORMS := linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64
SHIPPED   := LICENSE README.md CHANGELOG.md examples/bilibili_exporter.yml

.PHONY: all build release clean-release $(PLATFORMS) test race e2e crash soak image bench fuzz grafana lint prometheusrule fmt
all: build test lint

build: ## the static, stripped binary
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bilibili_exporter .

release: $(PLATFORMS) ## archives for all platforms in .tarballs, as promu names them
	cd .tarballs && sha256sum *.tar.gz >sha256sums.txt

$(PLATFORMS): NAME = bilibili_exporter-$(VERSION).$(subst /,-,$@)
$(PLATFORMS): clean-release
	install -D -t .build/$(NAME) -m 0644 $(SHIPPED)
	CGO_ENABLED=0 GOOS=$(@D) GOARCH=$(@F) $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o .build/$(NAME)/ .
	tar -C .build --owner=0 --group=0 --numeric-owner --sort=name -czf .tarballs/$(NAME).tar.gz $(NAME)

clean-release:
	rm -rf .build .tarballs
	mkdir -p .build .tarballs

test: ## all that needs nothing but Go
	$(GO) test ./...

race: ## a shorter season, for the race detector is slow
	$(GO) test -race -shuffle=on -short ./...

e2e: ## with a real Prometheus, browser and curl, installed from Debian's packages when missing
	.ci/install prometheus prometheus-alertmanager chromium curl
	$(GO) test -tags e2e -parallel 8 -count=1 -timeout 25m ./internal/e2e ./examples/prometheus

crash: ## kills, system calls and a full disk, with root; ROUNDS=1000 by hand
	.ci/install strace
	$(GO) test -tags crash -count=1 -v -timeout 40m ./internal/e2e -rounds=$(ROUNDS)

soak: ## bad scrapers and a bad API, and nothing may be left behind; SOAK=30m by hand
	$(GO) test -tags soak -count=1 -v -timeout 40m ./internal/e2e -soak=$(SOAK)

image: ## the Dockerfile, without a container engine, and what it gives, with root
	.ci/install buildah
	$(GO) test -tags image -count=1 -v -timeout 20m ./internal/e2e

bench: build ## a table of what the exporter takes, beside what it could
	$(GO) test -tags bench -count=1 -v -timeout 30m ./internal/bench -users=$(USERS) -rounds=$(BENCHES)

fuzz: ## the parsers of outside input; what is found stays in testdata/fuzz
	$(FUZZ) -fuzz FuzzDecode ./collector/justoneapi
	$(FUZZ) -fuzz FuzzQuery ./internal/server/status
	$(FUZZ) -fuzz FuzzParse ./config

grafana: ## the dashboards, decoded with Grafana's own types, which the exporter does not depend on
	cd examples/grafana/check && $(GO) test -count=1 ./...

lint:
	$(GO) mod tidy -diff
	$(GOLANGCI) run --build-tags e2e,crash,soak,image,bench

prometheusrule: ## examples/kubernetes/prometheusrule.yaml, from examples/prometheus/rules
	$(GO) test -run TestPrometheusRule ./examples -update

fmt:
	$(GOLANGCI) fmt
