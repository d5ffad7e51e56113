# make demo   shows the main job        make test   runs every check       make bench   measures
# make e2e    the same in a real Kubernetes cluster
# make build  leaves dist/bulkhead and dist/backends/*.wasm          make image  packs them: dist/bulkhead-image.tar
# Each is enough on a fresh machine: what is missing is installed, or the line says what to install.

SHELL := /bin/bash
# Outside the clone, so that every clone on a machine shares what does not change.
export CARGO_TARGET_DIR ?= $(HOME)/.cache/bulkhead/target
export BULKHEAD_GUEST_DIR ?= $(HOME)/.cache/bulkhead/guests
BIN := $(CARGO_TARGET_DIR)/debug
# One selection of packages everywhere: features, and with them wasmtime, are then resolved and compiled once.
ALL := --workspace --locked

.PHONY: build host guests image manifests demo test test-vm bench e2e lint deny tests tier schema clean setup setup-test

build: host guests

setup:
	@scripts/setup.sh build

setup-test:
	@scripts/setup.sh test

host: setup
	@scripts/with-toolchain.sh cargo build $(ALL) --bins
	@mkdir -p dist && cp -f $(BIN)/bulkhead dist/bulkhead

guests: host
	@scripts/build-guests.sh

# An OCI archive, made without a container daemon: docs/image.md.
image: build
	@scripts/setup.sh image
	@scripts/image.sh

demo: build
	@scripts/setup.sh demo
	@scripts/demo.sh

test: setup-test build lint deny tests test-vm
	@echo "all checks passed"

# In an emulated machine with Debian's kernel: NFS, NVMe, SCSI, device mapper, which the kernel here may lack. tests/vm/README.md
test-vm:
	@scripts/setup.sh vm
	@scripts/with-toolchain.sh cargo build $(ALL) --bins
	@scripts/with-toolchain.sh $(BIN)/bulkhead-vm

# A real cluster from Go modules, two nodes and then one, with the manifests of deploy/ and our image: tests/e2e/run.sh. One flow, in a
# cluster that stays: KEEP=1 tests/e2e/run.sh up per-node, then KEEP=1 tests/e2e/run.sh flows per-node NAME.
e2e: image
	@scripts/setup.sh e2e
	@tests/e2e/run.sh all

lint:
	scripts/with-toolchain.sh cargo fmt --all --check
	scripts/with-toolchain.sh cargo clippy $(ALL) --all-targets -- -D warnings

# The advisory database is not part of this: it is fetched from the network, and run where that can be reached.
deny:
	scripts/with-toolchain.sh cargo deny --locked check bans licenses sources

# All tiers: units, walls, WIT, node engine, the host over its socket, the contract suite, the model, csi-sanity, the backend in C, moto as EC2, the chart, the image.
tests: build
	scripts/sandbox.sh scripts/with-toolchain.sh cargo test $(ALL) --no-fail-fast

# One tier, like `make tier NAME=api`, `make tier NAME=model` or `make tier NAME=sanity`.
tier: build
	scripts/sandbox.sh scripts/with-toolchain.sh cargo test $(ALL) --test $(NAME) -- --nocapture

bench: build
	@scripts/with-toolchain.sh cargo build $(ALL) --examples
	@scripts/sandbox.sh $(BIN)/bulkhead-bench
	@$(BIN)/examples/load dist/backends

schema: host
	dist/bulkhead schema > docs/config.schema.json

# deploy/manifests, from the chart.
manifests:
	scripts/render-manifests.sh

clean:
	rm -rf dist $(CARGO_TARGET_DIR) $(BULKHEAD_GUEST_DIR)
