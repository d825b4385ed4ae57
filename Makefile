# make help lists the targets. Only Go, gcc and make are needed; what else is used is built from pinned modules.
SHELL   := /bin/bash
GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X out_amberflo/plugin.Version=$(VERSION)
ALIVE   := test/tools/alive.sh
CODE    := $(shell find out_amberflo plugin -name '*.go' -o -name '*.c') go.mod go.sum

.PHONY: all help demo test soak check lint bench clean

all: out_amberflo.so bin/meterctl ## build the plugin (the default)

help: ## this list
	@sed -n 's/^\([a-z0-9_./-]*\):.*## \(.*\)/\1\t\2/p' Makefile | expand -t 20

out_amberflo.so: $(CODE)
	@$(ALIVE) "building $@" env CGO_ENABLED=1 $(GO) build -trimpath -buildmode=c-shared -ldflags '$(LDFLAGS)' -o $@ ./out_amberflo

bin/meterctl: $(CODE) $(wildcard cmd/meterctl/*.go)
	@$(ALIVE) "building $@" env CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $@ ./cmd/meterctl

bin/amberflo-host: $(wildcard test/host/*.c test/host/*.h)
	@mkdir -p bin
	@$(ALIVE) "building $@" gcc -O2 -Wall -Wextra -Werror -o $@ $(wildcard test/host/*.c) -ldl -pthread

bin/versitygw: test/tools/versitygw/go.mod test/tools/versitygw/go.sum
	@mkdir -p bin
	@$(ALIVE) "building $@, an S3 server to test against (first time: a minute or two)" \
		$(GO) build -C test/tools/versitygw -trimpath -ldflags '-s -w' -o $(CURDIR)/$@ github.com/versity/versitygw/cmd/versitygw

demo: all bin/amberflo-host bin/versitygw ## the main job: an access log becomes a bill, on this machine
	@$(GO) run ./test/demo

test: all bin/amberflo-host bin/versitygw ## every test: rooms with the race detector, the plugin end to end
	@$(ALIVE) "building the tests" $(GO) build ./...
	$(GO) test -race -timeout 20m ./plugin/... ./cmd/... ./out_amberflo/... ./test/...

check: lint test ## what CI runs

soak: all bin/amberflo-host bin/versitygw ## longer proofs, with their figures: kills, power cuts, memory with a backlog
	$(GO) test ./test/e2e -count 1 -timeout 40m -v -run 'Killed|MemoryStays' -e2e.kills 200 -e2e.fluent-bit-kills 50
	$(GO) test ./plugin/spool -count 1 -timeout 40m -v -run Model -spool.for 2m

lint: ## format, vet and the pinned linter
	@test -z "$$(gofmt -l . | tee /dev/stderr)"
	$(GO) vet ./...
	$(GO) vet -tags crashpoints ./plugin/...
	@mkdir -p bin
	@$(ALIVE) "building the linter" $(GO) build -C test/tools/lint -o $(CURDIR)/bin/staticcheck honnef.co/go/tools/cmd/staticcheck
	bin/staticcheck ./...

bench: all bin/amberflo-host bin/versitygw ## what it costs: benchmarks per room, then null, s3 and amberflo in turn
	$(GO) test -run '^$$' -bench . ./plugin/...
	$(GO) run ./test/bench -plot docs/cpu.svg

clean: ## remove what was built
	rm -rf out_amberflo.so out_amberflo.h bin build
