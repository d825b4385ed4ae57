# What the Makefile builds and with which flags, and how a release is made of it. Included by the Makefile.

# What makes the plugin load from glibc 2.17 on; .ci/glibc looks. By CPATH, because flags are part of what is built, and the
# same commit shall give the same bytes in any directory.
OLD := CPATH='$(CURDIR)/out_amberflo' CGO_CFLAGS='-O2 -g -include glibc.h'
# The host exports what a plugin looks up in Fluent Bit.
HOSTFLAGS := -ldl -pthread -Wl,--export-dynamic-symbol='flb_*'

out_amberflo.so: $(CODE)
	@$(ALIVE) "building $@" env CGO_ENABLED=1 $(OLD) $(GO) build $(TAGS) -trimpath -buildmode=c-shared -ldflags '$(LDFLAGS)' -o $@ ./out_amberflo

bin/meterctl: $(CODE) $(shell find cmd/meterctl -name "*.go")
	@$(ALIVE) "building $@" env CGO_ENABLED=0 $(GO) build $(TAGS) -trimpath -ldflags '$(LDFLAGS)' -o $@ ./cmd/meterctl

bin/amberflo-host: $(wildcard test/host/*.c test/host/*.h)
	@mkdir -p bin
	@$(ALIVE) "building $@" gcc -O2 -Wall -Wextra -Werror -o $@ $(wildcard test/host/*.c) $(HOSTFLAGS)

bin/versitygw: test/tools/versitygw/go.mod test/tools/versitygw/go.sum
	@$(ALIVE) "building $@, an S3 server to test against (first time: a minute or two)" \
		$(GO) build -C test/tools/versitygw -trimpath -ldflags '-s -w' -o $(CURDIR)/$@ github.com/versity/versitygw/cmd/versitygw

version: ## the version of this build
	@echo $(VERSION)

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
	@$(ALIVE) "building $@, which makes packages" $(GO) build -C test/tools/nfpm -trimpath -ldflags '-s -w' -o $(CURDIR)/$@ github.com/goreleaser/nfpm/v2/cmd/nfpm

# The architectures of a release: those for which there is a compiler.
RELEASED := $(foreach arch,amd64 arm64,$(if $(shell command -v $(firstword $(TOOLS_$(arch)))),$(arch)))

release: bin/nfpm ## an archive and packages for each architecture that has its tools, with checksums, in dist/
	@$(foreach arch,$(filter-out $(RELEASED),amd64 arm64),echo "left out: linux/$(arch): want $(firstword $(TOOLS_$(arch))): apt-get install $(wordlist 2,3,$(TOOLS_$(arch)))";)
	@test -n "$(RELEASED)" || { echo "want a compiler for amd64 or arm64, got none" >&2; exit 1; }
	@rm -rf $(addprefix build/,$(RELEASED))
	@$(MAKE) --no-print-directory $(foreach arch,$(RELEASED),build/$(arch)/THIRD-PARTY-LICENCES $(foreach file,out_amberflo.so meterctl,build/$(arch)/$(file) build/$(arch)/$(file).cdx.json))
	test/tools/release.sh $(VERSION) $(RELEASED)
