# `make demo` and `make test` do all their own set-up on a fresh Debian 12; every target builds what it needs.
.PHONY: build demo test test-slow simulate bench image image-test format packages clean
.DEFAULT_GOAL := build

LATENTD_WERROR ?= OFF
RELEASE := build/release

# configure NAME OPTIONS: quiet unless it goes wrong.
configure = LATENTD_WERROR=$(LATENTD_WERROR) scripts/configure.sh $(1) $(2)

packages:
	@scripts/install-packages.sh

build:
	@scripts/install-packages.sh build
	@$(call configure,release)
	@ninja -C $(RELEASE) latentd latentctl latentctl-load latentctl-doctor latent-convert

# Builds the two programs that it runs.
demo:
	@scripts/demo.sh build

test: packages
	@scripts/test.sh

test-slow: packages
	@scripts/install-packages.sh sanitize
	@scripts/test-slow.sh

# Worlds by their seeds: make simulate SEEDS=10000 SEED=1.
SEEDS ?= 10000
SEED ?= 1
simulate:
	@scripts/install-packages.sh build bench
	@$(call configure,release,-DLATENTD_TESTS=ON)
	@ninja -C $(RELEASE) simulate
	@$(RELEASE)/bin/simulate --seed=$(SEED) --seeds=$(SEEDS) --processes=$$(nproc)

# Figures go to a file, too: make bench JSON=before.json, then build/release/bin/bench compare before.json after.json.
JSON ?= build/bench.json
bench:
	@scripts/install-packages.sh build bench
	@$(call configure,release,-DLATENTD_TESTS=ON)
	@ninja -C $(RELEASE) bench egress_bench
	@$(RELEASE)/bin/bench all --json=$(JSON) --commit="$$(git describe --always --dirty 2>/dev/null)"
	@$(RELEASE)/bin/bench model --model=models/tiny-tales
	@$(RELEASE)/bin/bench speculation --model=models/tiny-tales
	@$(RELEASE)/bin/egress_bench

# MODEL=models/tiny-tales puts that model into the image, CUDA=on the backend for GPUs, BASE=IMAGE@sha256:DIGEST pins
# the base.
image:
	@scripts/image.sh

image-test: packages
	@scripts/image-test.sh source

format:
	@git ls-files '*.h' '*.cc' | xargs clang-format -i

clean:
	@rm -rf build
