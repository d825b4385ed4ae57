# make help lists the targets. Only Go, gcc and make are needed; what else is used is built from pinned modules.
SHELL   := /bin/bash
GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X out_amberflo/plugin.Version=$(VERSION)
# ugorji/go comes without its code for each pair of common types, which is of use on a hot path and takes 6 MB: see
# go run ./test/bench/size. netgo: Go's own resolver, since glibc's needs a newer glibc. The tests are built the same way.
TAGS    := -tags codec.notfastpath,netgo
# What makes the plugin load from glibc 2.17 on; .ci/glibc looks. By CPATH, because flags are part of what is built, and the
# same commit shall give the same bytes in any directory.
OLD     := CPATH='$(CURDIR)/out_amberflo' CGO_CFLAGS='-O2 -g -include glibc.h'
ALIVE   := test/tools/alive.sh
# The host exports what a plugin looks up in Fluent Bit.
HOSTFLAGS := -ldl -pthread -Wl,--export-dynamic-symbol='flb_*'
CODE    := $(shell find out_amberflo plugin -name '*.go' -o -name '*.[ch]') go.mod go.sum Makefile

# A recipe that failed leaves nothing that looks made.
.DELETE_ON_ERROR:
.PHONY: all help version demo test soak check lint bench sbom arm64 release clean

all: out_amberflo.so bin/meterctl ## build the plugin (the default)

version: ## the version of this build
	@echo $(VERSION)

help: ## this list
	@sed -n 's/^\([a-z0-9_./-]*\):.*## \(.*\)/\1\t\2/p' Makefile | expand -t 20

out_amberflo.so: $(CODE)
	@$(ALIVE) "building $@" env CGO_ENABLED=1 $(OLD) $(GO) build $(TAGS) -trimpath -buildmode=c-shared -ldflags '$(LDFLAGS)' -o $@ ./out_amberflo

bin/meterctl: $(CODE) $(shell find cmd/meterctl -name "*.go")
	@$(ALIVE) "building $@" env CGO_ENABLED=0 $(GO) build $(TAGS) -trimpath -ldflags '$(LDFLAGS)' -o $@ ./cmd/meterctl

bin/amberflo-host: $(wildcard test/host/*.c test/host/*.h)
	@mkdir -p bin
	@$(ALIVE) "building $@" gcc -O2 -Wall -Wextra -Werror -o $@ $(wildcard test/host/*.c) $(HOSTFLAGS)

bin/versitygw: test/tools/versitygw/go.mod test/tools/versitygw/go.sum
	@mkdir -p bin
	@$(ALIVE) "building $@, an S3 server to test against (first time: a minute or two)" \
		$(GO) build -C test/tools/versitygw -trimpath -ldflags '-s -w' -o $(CURDIR)/$@ github.com/versity/versitygw/cmd/versitygw

demo: all bin/amberflo-host bin/versitygw ## the main job: an access log becomes a bill, on this machine
	@$(GO) run ./test/demo

test: all bin/amberflo-host bin/versitygw ## every test: rooms with the race detector, the plugin end to end
	@$(ALIVE) "building the tests" $(GO) build $(TAGS) ./...
	$(GO) test $(TAGS) -race -timeout 20m ./plugin/... ./cmd/... ./out_amberflo/... ./test/...

check: lint test ## what CI runs

soak: all bin/amberflo-host bin/versitygw ## longer proofs, with their figures: kills, power cuts, memory with a backlog
	$(GO) test $(TAGS) ./test/e2e -count 1 -timeout 40m -v -run 'Killed|MemoryStays|Stop' -e2e.kills 200 -e2e.fluent-bit-kills 50
	$(GO) test $(TAGS) ./plugin/spool -count 1 -timeout 40m -v -run Model -spool.for 2m

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

sbom: out_amberflo.so.cdx.json bin/meterctl.cdx.json ## what is inside the plugin and meterctl, as CycloneDX

%.cdx.json: % $(wildcard test/tools/sbom/*.go)
	$(GO) run -C test/tools/sbom . $(CURDIR) $(VERSION) $(CURDIR)/$* >$@

TOOLS_amd64 := x86_64-linux-gnu-gcc gcc-x86-64-linux-gnu libc6-dev-amd64-cross
TOOLS_arm64 := aarch64-linux-gnu-gcc gcc-aarch64-linux-gnu libc6-dev-arm64-cross
# Beyond Debian, the machine's own compiler has another name.
ifneq ($(shell command -v $(firstword $(TOOLS_$(shell $(GO) env GOHOSTARCH)))),)
else ifneq ($(shell command -v gcc),)
TOOLS_$(shell $(GO) env GOHOSTARCH) := gcc
endif

build/%/out_amberflo.so: $(CODE)
	@command -v $(firstword $(TOOLS_$*)) >/dev/null || { echo "want $(firstword $(TOOLS_$*)): apt-get install $(wordlist 2,3,$(TOOLS_$*))" >&2; exit 1; }
	@$(ALIVE) "building $@" env CGO_ENABLED=1 $(OLD) GOARCH=$* CC=$(firstword $(TOOLS_$*)) $(GO) build $(TAGS) -trimpath -buildmode=c-shared -ldflags '$(LDFLAGS)' -o $@ ./out_amberflo

build/%/meterctl: $(CODE) $(shell find cmd/meterctl -name "*.go")
	@$(ALIVE) "building $@" env CGO_ENABLED=0 GOARCH=$* $(GO) build $(TAGS) -trimpath -ldflags '$(LDFLAGS)' -o $@ ./cmd/meterctl

build/arm64/amberflo-host: $(wildcard test/host/*.c test/host/*.h)
	@mkdir -p build/arm64
	@$(ALIVE) "building $@" $(firstword $(TOOLS_arm64)) -O2 -Wall -Wextra -Werror -o $@ $(wildcard test/host/*.c) $(HOSTFLAGS)

arm64: build/arm64/out_amberflo.so build/arm64/meterctl ## cross-compile; .ci/arm64 also runs the result under emulation

build/%/THIRD-PARTY-LICENCES: build/%/out_amberflo.so build/%/meterctl $(wildcard test/tools/sbom/*.go)
	$(GO) run -C test/tools/sbom . -licences $(CURDIR) $(CURDIR)/build/$*/out_amberflo.so $(CURDIR)/build/$*/meterctl >$@

bin/nfpm: test/tools/nfpm/go.mod test/tools/nfpm/go.sum
	@mkdir -p bin
	@$(ALIVE) "building $@, which makes packages" $(GO) build -C test/tools/nfpm -trimpath -ldflags '-s -w' -o $(CURDIR)/$@ github.com/goreleaser/nfpm/v2/cmd/nfpm

# The architectures of a release: those for which there is a compiler.
RELEASED := $(foreach arch,amd64 arm64,$(if $(shell command -v $(firstword $(TOOLS_$(arch)))),$(arch)))

release: bin/nfpm ## an archive and packages for each architecture that has its tools, with checksums, in dist/
	@$(foreach arch,$(filter-out $(RELEASED),amd64 arm64),echo "left out: linux/$(arch): want $(firstword $(TOOLS_$(arch))): apt-get install $(wordlist 2,3,$(TOOLS_$(arch)))";)
	@test -n "$(RELEASED)" || { echo "want a compiler for amd64 or arm64, got none" >&2; exit 1; }
	@rm -rf $(addprefix build/,$(RELEASED))
	@$(MAKE) --no-print-directory $(foreach arch,$(RELEASED),build/$(arch)/THIRD-PARTY-LICENCES $(foreach file,out_amberflo.so meterctl,build/$(arch)/$(file) build/$(arch)/$(file).cdx.json))
	test/tools/release.sh $(VERSION) $(RELEASED)

clean: ## remove what was built
	rm -rf out_amberflo.so out_amberflo.so.cdx.json out_amberflo.h bin build dist
