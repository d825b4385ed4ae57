# make help lists the targets. Only Go, gcc and make are needed; what else is used is built from pinned modules.
SHELL   := /bin/bash
GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X out_amberflo/plugin.Version=$(VERSION)
# ugorji/go comes without its code for each pair of common types, which is of use on a hot path and takes 6 MB: see
# go run ./test/bench/size. netgo: Go's own resolver, since glibc's needs a newer glibc. The tests are built the same way.
TAGS    := -tags codec.notfastpath,netgo
ALIVE   := test/tools/alive.sh
GOTEST  := set -o pipefail; $(GO) test -json $(TAGS)
CODE    := $(shell find out_amberflo plugin -name '*.go' -o -name '*.[ch]') go.mod go.sum Makefile test/tools/build.mk

# A recipe that failed leaves nothing that looks made.
.DELETE_ON_ERROR:
.PHONY: all help version demo quick test soak check lint bench sbom arm64 release clean

all: out_amberflo.so bin/meterctl ## build the plugin and meterctl (the default)

help: ## this list
	@sed -n 's/^\([a-z0-9_./-]*\):.*## \(.*\)/\1\t\2/p' Makefile test/tools/build.mk | expand -t 20

demo: all bin/amberflo-host bin/versitygw ## the main job: an access log becomes a bill, on this machine; ARGS=-v shows all, -keep keeps the spool
	@$(ALIVE) "building the demo" $(GO) build -o bin/demo ./test/demo
	@bin/demo $(ARGS)

quick: ## the tests of plugin/ and of what meterctl is made of: under a minute on 2 cores
	@$(GOTEST) -p 4 ./plugin/... ./cmd/meterctl/*/ | $(GO) run ./test/tools/summary

test: all bin/amberflo-host bin/versitygw ## every test: packages with the race detector, the plugin end to end
	@$(ALIVE) "building the tests" $(GO) build $(TAGS) ./...
	@$(GOTEST) -race -timeout 20m ./plugin/... ./cmd/... ./out_amberflo/... ./test/... | $(GO) run ./test/tools/summary

check: lint test ## before a commit: format, vet, linter, every test

soak: all bin/amberflo-host bin/versitygw ## longer proofs, with their figures: kills, power cuts, memory with a backlog
	$(GO) test $(TAGS) ./test/e2e -count 1 -timeout 40m -v -run 'Killed|MemoryStays|Stop' -e2e.kills 200 -e2e.fluent-bit-kills 50
	$(GO) test $(TAGS) ./plugin/spool -count 1 -timeout 40m -v -run Model -spool.for 2m

lint: ## format, vet and the pinned linter
	@test -z "$$(gofmt -l . | tee /dev/stderr)"
	$(GO) vet ./...
	$(GO) vet -tags crashpoints ./plugin/...
	@$(ALIVE) "building the linter" $(GO) build -C test/tools/lint -o $(CURDIR)/bin/ honnef.co/go/tools/cmd/staticcheck
	bin/staticcheck ./...

bench: all bin/amberflo-host bin/versitygw ## what it costs: benchmarks per package, then null, s3 and amberflo in turn
	$(GO) test -run '^$$' -bench . ./plugin/...
	$(GO) run ./test/bench -plot docs/cpu.svg

clean: ## remove what was built
	rm -rf out_amberflo.so out_amberflo.so.cdx.json out_amberflo.h bin build dist

include test/tools/build.mk
