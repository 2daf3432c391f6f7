#!/bin/sh
# Configures build/PRESET; says nothing unless it goes wrong. A tree that another compiler than the preset's configured
# is removed first: CMake would start its cache again without the preset's other variables.
# Usage: scripts/configure.sh PRESET [-DVARIABLE=VALUE]…; LATENTD_WERROR=ON makes warnings errors.
set -eu
cd "$(dirname "$0")/.."
preset=$1
shift
cache=build/$preset/CMakeCache.txt
wanted=$(cmake -N --preset "$preset" | sed -n 's/^ *CMAKE_CXX_COMPILER="\(.*\)"$/\1/p')
found=
[ ! -f "$cache" ] || found=$(sed -n 's/^CMAKE_CXX_COMPILER:[^=]*=//p' "$cache")
if [ -n "$wanted" ] && [ -n "$found" ] && [ "$(basename "$found")" != "$(basename "$wanted")" ]; then
  echo "configure: removing build/$preset, which $found configured; its preset's compiler is $wanted"
  rm -rf "build/$preset"
fi
cmake --preset "$preset" -DLATENTD_WERROR="${LATENTD_WERROR:-OFF}" "$@" >/dev/null
