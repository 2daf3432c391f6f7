#!/bin/sh
# Builds and runs every test that is not slow: the tree's own rules, then all of them in release. Prints the seconds of
# each stage.
# Usage: scripts/test.sh; LATENTD_WERROR=ON makes warnings errors.
set -eu
cd "$(dirname "$0")/.."
. scripts/stages.sh
trap report_stages EXIT
jobs=$(($(nproc) * 2))  # most tests wait more than they compute

stage "tidy"
# Shadow memory doubles the emulated kernels; a change elsewhere leaves it to make test-slow.
shadow=OFF
if scripts/changed.sh kernels tests/kernels tests/cuda_emulator; then shadow=ON; fi
scripts/configure.sh release -DLATENTD_TESTS=ON -DLATENTD_SHADOW="$shadow"
python3 tests/tidy.py

stage "release: build"
ninja -C build/release
stage "release: tests (shadow memory of the emulator: $shadow)"
ctest --test-dir build/release --output-on-failure -j "$jobs" -LE slow

report_stages
echo "== all tests passed"
