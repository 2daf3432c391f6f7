#!/bin/sh
# What takes too long for every change: long loads, the emulator's opcodes, shadow memory and seeded mistakes, the whole
# daemon and the text's tests under AddressSanitizer and UBSan, a minute of fuzzing for each target, the container
# image. Builds the benches, too. Prints the seconds of each stage.
# Usage: scripts/test-slow.sh, after scripts/test.sh; LATENTD_WERROR=ON makes warnings errors.
set -eu
cd "$(dirname "$0")/.."
. scripts/stages.sh
trap report_stages EXIT
jobs=$(($(nproc) * 2))  # most tests wait more than they compute

stage "release: build"
scripts/configure.sh release -DLATENTD_TESTS=ON
ninja -C build/release all slow_tests

stage "release: slow tests"
ctest --test-dir build/release --output-on-failure -j "$jobs" -L slow

# What make test began by clang goes on: the daemon under sanitizers and the fuzzers. It precompiles no headers, so each
# source of the daemon and of latentctl must include what it uses.
stage "asan-ubsan: build of the daemon, its tools, the text's tests and the fuzzers"
scripts/configure.sh asan-ubsan -DLATENTD_TESTS=ON
ninja -C build/asan-ubsan latentd latentctl latentctl-load slow_sanitized_tests fuzzers
stage "asan-ubsan: tests"
ctest --test-dir build/asan-ubsan --output-on-failure -j "$jobs" -L "sanitized_(system|slow)"
stage "fuzzing: a minute of each target"
tests/fuzz/run.py --seconds 60

# From the programs that were built above, unless what makes an image of the sources changed.
programs=prebuilt
if scripts/changed.sh Dockerfile .dockerignore scripts/image.sh scripts/image-test.sh scripts/install-packages.sh \
  CMakePresets.json cmake ':(glob)**/CMakeLists.txt' ':(exclude)tests'; then
  programs=source
fi
stage "container image: $programs"
code=0
scripts/image-test.sh "$programs" || code=$?
[ "$code" -eq 0 ] || [ "$code" -eq 77 ] || exit "$code"  # 77: this machine runs no containers, and a line says why

report_stages
echo "== all slow tests passed"
