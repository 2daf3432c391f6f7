#!/bin/sh
# Tests that take too long for every change: long loads, the emulator's opcodes and seeded mistakes, the whole daemon and the
# text's tests under AddressSanitizer and UBSan, a minute of fuzzing for each target, the container image.
# Usage: scripts/test-slow.sh, after scripts/test.sh; LATENTD_WERROR=ON makes warnings errors.
set -eu
cd "$(dirname "$0")/.."
werror=${LATENTD_WERROR:-OFF}
jobs=$(($(nproc) * 2))  # most tests wait more than they compute

stage() { echo "== $1 ($(date +%H:%M:%S))"; }

stage "release build"
cmake --preset release -DLATENTD_WERROR="$werror" >/dev/null
ninja -C build/release all slow_tests

stage "slow tests"
ctest --test-dir build/release --output-on-failure -j "$jobs" -L slow

# One build by clang for the daemon under sanitizers and for fuzzing. It precompiles no headers, so each source of the
# daemon and of latentctl must include what it uses.
stage "the daemon, text and fuzzers under asan-ubsan: build"
cmake --preset fuzz -DLATENTD_WERROR="$werror" >/dev/null
ninja -C build/fuzz latentd latentctl slow_sanitized_tests fuzzers
stage "the daemon and text under asan-ubsan: tests"
ctest --test-dir build/fuzz --output-on-failure -j "$jobs" -L "sanitized_(system|slow)"
stage "fuzzing: a minute of each target"
tests/fuzz/run.py --seconds 60

stage "container image"
code=0
scripts/image-test.sh || code=$?
[ "$code" -eq 0 ] || [ "$code" -eq 77 ] || exit "$code"  # 77: this machine runs no containers, and a line says why

stage "all slow tests passed"
