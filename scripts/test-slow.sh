#!/bin/sh
# What takes too long for every change: long loads, the emulator's opcodes, shadow memory and seeded mistakes, headers
# alone, the engine's tests and the whole daemon under AddressSanitizer and UBSan, the engine's under ThreadSanitizer,
# some fuzzing of each target, the container image. Builds the benches, too. Prints the seconds of each stage.
# Usage: scripts/test-slow.sh, after scripts/test.sh; LATENTD_WERROR=ON makes warnings errors.
set -eu
cd "$(dirname "$0")/.."
. scripts/stages.sh
trap report_stages EXIT
jobs=$(($(nproc) * 2))  # most tests wait more than they compute

# Its tests print why where there is none.
timeout 300 scripts/install-packages.sh browser || echo "test-slow: SKIPPED pages: no Chromium could be installed"

stage "release: build"
scripts/configure.sh release -DLATENTD_TESTS=ON
ninja -C build/release all slow_tests

stage "release: slow tests"
ctest --test-dir build/release --output-on-failure -j "$jobs" -L slow

stage "release: headers alone"
python3 tests/tidy.py --headers

# By clang, without precompiled headers: each source of the engine, the daemon and latentctl must include what it uses.
stage "asan-ubsan: build of the engine's tests, the daemon, its tools and the fuzzers"
scripts/configure.sh asan-ubsan -DLATENTD_TESTS=ON
ninja -C build/asan-ubsan engine_tests latentd latentctl latentctl-load latentctl-doctor slow_sanitized_tests fuzzers
stage "asan-ubsan: tests"
ctest --test-dir build/asan-ubsan --output-on-failure -j "$jobs" -L sanitized
stage "fuzzing: 20 s of each target"
tests/fuzz/run.py --seconds 20

stage "tsan: build of the engine's tests"
scripts/configure.sh tsan -DLATENTD_TESTS=ON
ninja -C build/tsan engine_tests
stage "tsan: tests"
ctest --test-dir build/tsan --output-on-failure -j "$jobs" -L '^sanitized$'

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
