#!/bin/sh
# Builds and runs every test that is not slow: the tree's own rules, all of them in release, the engine's under the
# sanitizers.
# Usage: scripts/test.sh; LATENTD_WERROR=ON makes warnings errors.
set -eu
cd "$(dirname "$0")/.."
werror=${LATENTD_WERROR:-OFF}
jobs=$(($(nproc) * 2))  # most tests wait more than they compute

stage() { echo "== $1 ($(date +%H:%M:%S))"; }

stage "tidy"
cmake --preset release -DLATENTD_WERROR="$werror" >/dev/null
python3 tests/tidy.py

stage "release build"
ninja -C build/release
python3 tests/tidy.py --headers

stage "release tests"
ctest --test-dir build/release --output-on-failure -j "$jobs" -LE slow

for sanitizer in asan-ubsan tsan; do
  stage "$sanitizer build and engine tests"
  cmake --preset "$sanitizer" -DLATENTD_WERROR="$werror" -DLATENTD_SERVER=OFF >/dev/null
  ninja -C "build/$sanitizer" engine_tests
  ctest --test-dir "build/$sanitizer" --output-on-failure -j "$jobs" -L '^sanitized$'
done

stage "all tests passed"
