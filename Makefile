# One profile, one feature set, the whole workspace: nothing is compiled twice.
CARGO ?= cargo
PREFIX ?= /usr/local
# Where Traffic Server looks for plugins.
MODULES ?= /usr/lib/trafficserver/modules
DESTDIR ?=
export PATH := $(PATH):$(HOME)/.cargo/bin

BUILD = $(CARGO) build --workspace --release --locked
TARGET = $(or $(CARGO_TARGET_DIR),target)/release

.DEFAULT_GOAL := help
.PHONY: help demo test test-vscode test-flame-graph test-ats10 faults soak bench filters vsix install build setup

help: ## this list
	@echo "wasmdbg: a debugger for Proxy-Wasm filters inside Apache Traffic Server"
	@echo
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

demo: setup ## see it work: install what is missing, build, stop a live request (TOKEN=number)
	@tests/setup/install.sh ats
	$(BUILD)
	@$(TARGET)/demo

# Many tests wait for a parked request and need no processor meanwhile: more threads than cores.
test: setup ## all tests, with a real Traffic Server
	@tests/setup/install.sh ats test npm
	$(BUILD)
	RUST_TEST_THREADS=4 $(CARGO) test --workspace --release --locked --no-fail-fast
	@$(TARGET)/soak --seconds 60
	@$(MAKE) --no-print-directory test-vscode test-flame-graph

# Alone: a browser and an editor take both processors.
test-vscode: setup ## the extension in a real VS Code (Chromium, and a gigabyte in ~/.cache)
	@tests/setup/install.sh ats vscode
	@dap/vscode/e2e/install.sh >/dev/null
	$(BUILD)
	$(CARGO) test --release --locked -p wasmdbg-tests --test it -- --ignored vscode

test-flame-graph: setup ## a recording's flame graph in a real Chromium
	@tests/setup/install.sh ats vscode
	@dap/vscode/e2e/install.sh >/dev/null
	$(BUILD)
	$(CARGO) test --workspace --release --locked --test it -- --ignored in_a_browser

# Debian has no 10: build one (upstream's cmake; the targets traffic_server and generator) and install it.
test-ats10: setup ## the tests with a real server in the Traffic Server 10 of WASMDBG_ATS=PREFIX
	@[ -n "$(WASMDBG_ATS)" ] || { echo 'test-ats10: set WASMDBG_ATS to the prefix of a Traffic Server 10' >&2; exit 1; }
	@"$(WASMDBG_ATS)/bin/traffic_server" -V | grep -q 'Traffic Server 1[0-9]' || \
		{ echo 'test-ats10: $(WASMDBG_ATS)/bin/traffic_server is not a Traffic Server 10' >&2; exit 1; }
	@tests/setup/install.sh test npm
	$(BUILD)
	WASMDBG_ATS='$(WASMDBG_ATS)' RUST_TEST_THREADS=4 \
		$(CARGO) test --release --locked --no-fail-fast -p wasmdbg-tests --test it
	WASMDBG_ATS='$(WASMDBG_ATS)' $(CARGO) test --workspace --release --locked --no-fail-fast --test it -- \
		traffic_server permissions

# Takes an hour, a third of it for the first build of the copy; FAULTS names some of the list.
faults: setup ## which one-line faults the tests notice, in a copy of the tree (FAULTS=TEXT)
	$(CARGO) run --release --locked -p wasmdbg-tests --bin faults -- $(FAULTS)

soak: setup ## ten minutes under everything at once: nothing is lost, nothing grows
	@tests/setup/install.sh ats test
	$(BUILD)
	@$(TARGET)/soak

bench: setup ## the benchmark table
	@tests/setup/install.sh ats bench
	$(BUILD)
	@$(TARGET)/bench

filters: setup ## build the example filters anew (installs the Wasm compilers)
	examples/build-filters.sh --install

vsix: ## package the VS Code extension into target/
	@tests/setup/install.sh npm
	@dap/vscode/package.sh target/wasmdbg.vsix

build: setup ## the plugin and the tools
	$(BUILD)

install: build ## copy wasmdbg to PREFIX/bin and the plugin to MODULES
	install -D -m 755 $(TARGET)/wasmdbg $(DESTDIR)$(PREFIX)/bin/wasmdbg
	install -D -m 755 $(TARGET)/wasmprof $(DESTDIR)$(PREFIX)/bin/wasmprof
	install -D -m 755 $(TARGET)/libwasmdbg_ats.so $(DESTDIR)$(MODULES)/wasmdbg.so
	@for example in rust-token cpp-headers; do \
		for file in filter.yaml README.md $$example.debug.wasm $$example.release.wasm; do \
			install -D -m 644 examples/$$example/$$file \
				$(DESTDIR)$(PREFIX)/share/wasmdbg/examples/$$example/$$file; \
		done; \
	done

setup:
	@tests/setup/check-rust.sh
