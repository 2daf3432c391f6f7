#!/bin/sh
# What takes too long for every change: long loads, and the whole daemon under AddressSanitizer and UBSan.
# Usage: scripts/test-slow.sh, after scripts/test.sh; LATENTD_WERROR=ON makes warnings errors.
set -eu
cd "$(dirname "$0")/.."
werror=${LATENTD_WERROR:-OFF}
jobs=$(nproc)

stage() { echo "== $1 ($(date +%H:%M:%S))"; }

stage "release build"
cmake --preset release -DLATENTD_WERROR="$werror" >/dev/null
ninja -C build/release

stage "slow tests"
ctest --test-dir build/release --output-on-failure -L slow

stage "the daemon under asan-ubsan: build"
cmake --preset asan-ubsan -DLATENTD_WERROR="$werror" -DLATENTD_SERVER=ON >/dev/null
ninja -C build/asan-ubsan latentd latentctl
stage "the daemon under asan-ubsan: tests"
ctest --test-dir build/asan-ubsan --output-on-failure -j "$jobs" -L sanitized_system
stage "all slow tests passed"
