# The commands that people type. Each does its own set-up.
#
#   make demo          offers this machine's devices to a simulated kubelet, and shows it
#   make test          the whole test suite
#   make check         format, lints, tests, documentation, licences
#   make build         the program, release profile
#   make test-kubelet  against the kubelet's own device manager (needs Go)
#   make test-cdi      the library of container runtimes, on the specs that Chandler writes (needs Go)
#   make lab           stories in a real kernel with real drivers, in a virtual machine (needs QEMU);
#                      ARCH=aarch64 on that architecture, STORIES="usb numa" some of them
#   make fuzz          what others write, changed at random, for SECONDS=60 each: configurations, uevents, the
#                      kernel's log, state files, CDI specs, requests, the status and who asks for it, trees of hardware
#   make soak          a million allocations, ten thousand hotplugs and more in one daemon: minutes; PERCENT=5
#                      of it; the program of dist/ if there is one
#   make bench         the figures of docs/performance.md, as root; ARGS="--runs 3 --against 'COMMAND'" (needs make sim static)
#   make test-cluster  stories in a real cluster of this one machine, from `make image` (needs Go and root)
#
# What is shipped, in dist/; ARCH=aarch64 for the other architecture:
#
#   make static        the static program, and a try in a root that holds nothing else
#   make sim           kubelet-sim, a kubelet to try any plugin against, as a static program
#   make image         an OCI archive of it, made without a container engine, and a try in a container
#   make deb           a Debian package of it
#   make test-manifests  the Helm chart and the kustomization, without a cluster (needs Go)

SHELL := /bin/bash
TARGET := $(shell cargo metadata --format-version 1 --no-deps 2>/dev/null | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')

# A compiler cache makes the second build of the gRPC core a matter of seconds.
ifneq ($(shell command -v ccache),)
export CMAKE_C_COMPILER_LAUNCHER ?= ccache
export CMAKE_CXX_COMPILER_LAUNCHER ?= ccache
export CCACHE_NOHASHDIR ?= 1
endif

.PHONY: demo test check build setup fmt clippy docs deny test-kubelet test-cdi lab fuzz soak test-cluster
.PHONY: static sim bench image deb test-manifests simulator

ARCH ?= $(shell uname -m)
CACHE = $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/chandler
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
IMAGE ?= registry.example/chandler:$(VERSION)
# What containers call the architecture.
OCI_ARCH = $(if $(filter aarch64,$(ARCH)),arm64,amd64)
# Where neither route to musl is open, the static program is linked with glibc.
PROGRAM = $(firstword $(wildcard dist/chandler-$(ARCH)-linux-musl dist/chandler-$(ARCH)-linux-gnu))

setup:
	@./tests/setup.sh

build: setup
	cargo build --release --locked

demo: setup
	cargo build --locked --bin chandler --example kubelet-sim
	@$(TARGET)/debug/examples/kubelet-sim demo $(ARGS) -- \
		$(TARGET)/debug/chandler run --config examples/this-machine.yaml --kubelet-dir {dir} \
		--state-dir {dir}/state --log warn

# The simulator's program first: tests run it, and Cargo builds examples only as tests here.
test: setup simulator
	cargo test --locked --all-targets

check: fmt clippy test docs deny

fmt:
	cargo fmt --check

clippy: setup
	cargo clippy --locked --all-targets -- -D warnings

docs: setup
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --lib

# cargo-deny comes from crates.io; where it cannot be had, the rest is checked all the same.
deny:
	@if ! cargo deny --version >/dev/null 2>&1; then \
		echo "cargo-deny is not installed: licences and advisories are not checked (cargo install cargo-deny)"; \
	elif ! cargo deny --log-level error check licenses bans sources; then exit 1; \
	fi

test-kubelet: setup
	@./tests/devicemanager/make.sh "$(KUBELETS)"

test-cdi: setup
	@mkdir -p $(CACHE) && cd tests/cdi-validator && go build -o $(CACHE)/cdi-validator .
	@CDI_VALIDATOR=$(CACHE)/cdi-validator cargo test --quiet --locked --test it the_library_of_runtimes

lab: setup
	@ARCH=$(ARCH) ./tests/lab/make.sh $(STORIES)

SECONDS ?= 60
fuzz: setup
	@FUZZ_SECONDS=$(SECONDS) cargo test --quiet --locked --test it fuzz:: -- --nocapture

PERCENT ?= 100
soak: setup
	@$(if $(PROGRAM),SOAK_PROGRAM=$(abspath $(PROGRAM))) SOAK_PERCENT=$(PERCENT) \
		cargo test --quiet --locked --test it a_storm_of_any_kind -- --nocapture

BENCH_OURS = $(abspath $(PROGRAM)) --config {config} --kubelet-dir {dir} --log warn run --state-dir {state}
bench: dist/chandler-$(ARCH).built dist/kubelet-sim-$(ARCH).built
	@taskset -c 0 "$$(ls dist/kubelet-sim-$(ARCH)-linux-* | tail -n 1)" bench $(ARGS) -- $(BENCH_OURS)

test-cluster:
	@./tests/cluster/make.sh $(STORIES)

simulator: setup
	@cargo build --quiet --locked --example kubelet-sim

static: setup simulator
	@deploy/static.sh $(ARCH)
	@tests/shipped.sh static "$$(ls dist/chandler-$(ARCH)-linux-* | tail -n 1)" $(TARGET)/debug/examples/kubelet-sim

sim: setup
	@deploy/static.sh --simulator $(ARCH)

dist/kubelet-sim-$(ARCH).built:
	@test -n "$(wildcard dist/kubelet-sim-$(ARCH)-linux-*)" || $(MAKE) --no-print-directory sim ARCH=$(ARCH)

dist/chandler-$(ARCH).built:
	@test -n "$(PROGRAM)" || $(MAKE) --no-print-directory static ARCH=$(ARCH)

# The same program gives the same bytes, so building it twice is the test of that.
image: dist/chandler-$(ARCH).built simulator
	@program=$$(ls dist/chandler-$(ARCH)-linux-* | tail -n 1); for out in again oci; do \
		deploy/image.py dist/chandler-$(ARCH).$$out.tar $(IMAGE) $$program $(OCI_ARCH); done
	@cmp dist/chandler-$(ARCH).again.tar dist/chandler-$(ARCH).oci.tar && rm dist/chandler-$(ARCH).again.tar
	@echo "image: dist/chandler-$(ARCH).oci.tar: $$(wc -c <dist/chandler-$(ARCH).oci.tar) bytes, $(IMAGE)"
	@[ $(ARCH) != "$$(uname -m)" ] || \
		tests/shipped.sh image dist/chandler-$(ARCH).oci.tar $(TARGET)/debug/examples/kubelet-sim

deb: dist/chandler-$(ARCH).built
	@deploy/deb.sh $(ARCH)

# Go takes no notice of files outside its module, and would not try again what has changed in deploy.
test-manifests:
	cd tests/manifests && go test -count=1 ./...
