GO         ?= go
GOLANGCI   := $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
ACTIONLINT := $(GO) run github.com/rhysd/actionlint/cmd/actionlint@v1.7.12
COMPOSE    := GOFLAGS=-mod=mod $(GO) run github.com/compose-spec/compose-go/v2/cmd@v2.16.2
VALE       := $(GO) run github.com/vale-cli/vale/v3/cmd/vale@v3.22.0
FUZZ        = $(GO) test -run '^$$' -fuzztime $(FUZZTIME) -fuzzminimizetime 100x

# The defaults suit CI; set larger values by hand, such as "make crash ROUNDS=1000".
# A duration for FUZZTIME can end in a failure that is none: https://go.dev/issue/75804, fixed in Go 1.27.
FUZZTIME ?= 10000x
ROUNDS   ?= 20
EVENTS   ?= 25
SOAK     ?= 3m
HISTORIES ?= 1
USERS    ?= 10,1000,10000
BENCHES  ?= 15

VERSION ?= $(patsubst v%,%,$(shell git describe --tags --always --dirty 2>/dev/null))
LDFLAGS := -s -w \
	-X github.com/prometheus/common/version.Version=$(VERSION) \
	-X github.com/prometheus/common/version.Revision=$(shell git rev-parse HEAD 2>/dev/null) \
	-X github.com/prometheus/common/version.Branch=$(shell git rev-parse --abbrev-ref HEAD 2>/dev/null) \
	-X github.com/prometheus/common/version.BuildUser=$(shell id -un)@$(shell hostname) \
	-X github.com/prometheus/common/version.BuildDate=$(shell date -u +%Y%m%d-%H:%M:%S)
GOBUILD = CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)'

PLATFORMS := linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64
PACKAGED  := linux/amd64 linux/arm64
SHIPPED   := LICENSE README.md README.zh-CN.md CHANGELOG.md \
	examples/bilibili_exporter.yml examples/bilibili_exporter.zh-CN.yml

.PHONY: all help build release packages chart clean-release $(PLATFORMS) test race rules e2e alerts crash damage \
	replicas soak image testpackages bench queries fuzz examples scrapers alloy lint prose fmt dashboards kubernetes
all: build test lint

help: ## list the targets
	@sed -n 's/^\([a-z0-9]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

# Builds

build: ## build a static, stripped binary
	$(GOBUILD) -o bilibili_exporter .

release: $(PLATFORMS) packages ## build archives of all platforms, and packages, in .tarballs
	cd .tarballs && sha256sum * >sha256sums.txt

packages: $(PACKAGED) ## build .deb and .rpm packages in .tarballs
	internal/packaging/build $(VERSION) $(notdir $(PACKAGED))

$(PLATFORMS): NAME = bilibili_exporter-$(VERSION).$(subst /,-,$@)
$(PLATFORMS): clean-release
	install -D -t .build/$(NAME) -m 0644 $(SHIPPED)
	GOOS=$(@D) GOARCH=$(@F) $(GOBUILD) -o .build/$(NAME)/ .
	tar -C .build --owner=0 --group=0 --numeric-owner --sort=name -czf .tarballs/$(NAME).tar.gz $(NAME)

clean-release:
	rm -rf .build .tarballs
	mkdir -p .build .tarballs

chart: ## package the Helm chart in .tarballs, for a VERSION such as 1.2.3
	cd examples/helm/check && $(GO) tool helm.sh/helm/v4/cmd/helm package ../bilibili-exporter \
		--version $(VERSION) --app-version $(VERSION) --destination $(CURDIR)/.tarballs
	cd .tarballs && sha256sum *.tgz >>sha256sums.txt

# Tests

test: ## run the tests that need only Go
	$(GO) test ./...

race: ## run the same tests with the race detector, and shorter simulations
	$(GO) test -race -shuffle=on -short -timeout 20m ./...

rules: ## test the rules with several versions of Prometheus and with vmalert; builds missing programs
	.ci/install prometheus
	.ci/tools
	$(GO) test -tags rules -count=1 -timeout 25m ./examples/prometheus -histories=$(HISTORIES)

e2e: ## test with Prometheus, VictoriaMetrics, Alertmanager, Chromium and curl; installs and builds what is missing
	.ci/install prometheus prometheus-alertmanager chromium curl
	.ci/tools
	$(GO) test -tags e2e -count=1 -timeout 25m ./examples/...
	$(GO) test -tags e2e -parallel 8 -skip '^TestAlerts' -count=1 -timeout 25m ./internal/e2e

alerts: ## test alerts from the API to a webhook with the same servers; waits for six minutes
	.ci/install prometheus prometheus-alertmanager
	.ci/tools
	$(GO) test -tags e2e -run '^TestAlerts' -parallel 8 -count=1 -timeout 25m ./internal/e2e

crash: ## test with SIGKILL, failing system calls and a full disk; needs root
	.ci/install strace
	$(GO) test -tags crash -count=1 -v -timeout 40m ./internal/e2e -rounds=$(ROUNDS)
	$(GO) test -tags crash -count=1 -v -run 'TestFullDisk|TestNoPermission|TestReadOnly' ./collector/store

damage: ## open stores with every bit flipped, and cut at every byte
	$(GO) test -tags damage -count=1 -v -timeout 2h -run '^TestDamage$$' ./collector/store

replicas: ## test replicas with PostgreSQL and pgbouncer; needs root
	.ci/install initdb=postgresql pgbouncer
	$(GO) test -tags replicas -count=1 -v -timeout 40m ./collector/store
	$(GO) test -tags replicas -parallel 8 -count=1 -v -timeout 40m ./internal/e2e -events=$(EVENTS)

soak: ## test for leaks with misbehaving scrapers and a failing API
	$(GO) test -tags soak -count=1 -v -timeout 40m ./internal/e2e -soak=$(SOAK)

image: ## build the images of the Dockerfile without a container engine and test them; needs root
	.ci/install buildah
	$(GO) test -tags image -count=1 -v -timeout 20m ./internal/e2e

testpackages: ## test the packages with systemd and lintian in a copy of this machine; needs root
	.ci/install systemd-nspawn=systemd-container lintian rpm
	$(GO) test -tags packages -count=1 -v -timeout 20m ./internal/packaging

bench: build ## measure the exporter and compare it with the least that the same work can cost
	.ci/install initdb=postgresql
	$(GO) test -tags bench -count=1 -v -timeout 30m ./internal/bench -users=$(USERS) -rounds=$(BENCHES)
	$(GO) test -run '^$$' -bench Decode ./collector/justoneapi

queries: ## measure the queries of the dashboards with 1,000 creators and a week of history
	.ci/install prometheus
	$(GO) test -tags dashboards -count=1 -v -timeout 1h -run TestBench ./examples/grafana

fuzz: ## fuzz the parsers of external input; new failures are stored in testdata/fuzz
	$(FUZZ) -fuzz FuzzDecode ./collector/justoneapi
	$(FUZZ) -fuzz FuzzQuery ./internal/server/status
	$(FUZZ) -fuzz 'FuzzParse$$' ./config
	$(FUZZ) -fuzz FuzzParts ./config
	$(FUZZ) -fuzz FuzzUserFile ./config

examples: ## check the examples with the code of Helm, Grafana, Kubernetes and Compose, and with systemd
	set -e; for mod in examples/*/check/go.mod; do (cd $$(dirname $$mod) && $(GO) test -count=1 ./...); done
	set -e; for p in live demo; do COMPOSE_PROFILES=$$p $(COMPOSE) examples/docker-compose.yml >/dev/null; done
	cd examples && $(COMPOSE) -no-interpolation docker-compose.yml compose/postgres.yml >/dev/null
	! command -v systemd-analyze >/dev/null || \
		systemd-analyze security --offline=true --threshold=12 examples/systemd/*.service >/dev/null

scrapers: ## check the examples with the code of Telegraf, OpenTelemetry and Alloy, which takes minutes to compile
	set -e; for mod in examples/scrapers/check/*/go.mod; do \
		(cd $$(dirname $$mod) && $(GO) test -vet=off -tags remove_all_sd -count=1 ./...); done

alloy: ## run the example for Grafana Alloy with its components, which take minutes to compile
	cd examples/scrapers/check/alloy && $(GO) test -tags alloy -count=1 -v -timeout 1h -run TestRun .

# Style

lint: prose ## run all linters
	$(GO) mod tidy -diff
	$(GOLANGCI) run
	$(ACTIONLINT)

prose: ## check the vocabulary of documents, comments and messages
	$(VALE) --output=line $$(git ls-files '*.md' '*.go' '*.y*ml' '*.json' Makefile Dockerfile .ci ':!*zh-CN*' ':!.vale')

fmt: ## format the Go code
	$(GOLANGCI) fmt

# Generated files

dashboards: ## generate the Chinese dashboards from the English ones
	$(GO) test -run TestChineseDashboards ./examples/grafana -update

kubernetes: ## generate the manifests in examples/kubernetes and examples/kubernetes-replicas from the Helm chart
	cd examples/helm/check && $(GO) test -count=1 -run 'TestManifests|TestGolden' . -update
