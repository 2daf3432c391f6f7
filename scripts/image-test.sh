#!/bin/sh
# Builds the image with buildah and tests it with podman and runc; needs root on Debian and leaves nothing running.
# Usage: scripts/image-test.sh [source|prebuilt|build]
#   source    compiles the programs in the image's build stage, as users do; the default
#   prebuilt  takes them from build/release, which was built on the base's own Debian
#   build     from source, only what the test will need, so that it can be made ahead of time
# Exit code 77 after a line "SKIPPED …" where a container can't be built or started.
set -eu
cd "$(dirname "$0")/.."
base=${BASE:-docker.io/library/debian:bookworm-slim}
cgroup=latentd-image-test
log=build/container/check.log

skip() {
  echo "SKIPPED image test: $1"
  exit 77
}

cleanup() {
  podman rm --all --force --time 0 >/dev/null 2>&1 || true
  buildah rm --all >/dev/null 2>&1 || true
  # podman removes a container's control group and leaves the parent that it was told to use.
  find /sys/fs/cgroup -depth -type d -path "*/$cgroup*" -exec rmdir {} + 2>/dev/null || true
}

# A failure here is the machine's fault; a later one is not.
check_machine() {
  scripts/install-packages.sh container >"$log" 2>&1 || skip "packages can't be installed: $(tail -n 1 "$log")"
  scripts/image.sh base 2>"$log" || skip "there is no base to build on: $(tail -n 1 "$log")"
  unshare --net ip link add one type veth peer name other >"$log" 2>&1 ||
    skip "a network can't be made: $(tail -n 1 "$log")"
  podman run --rm --network none --memory 512m --read-only --cap-drop ALL --cgroup-parent "/$cgroup" "$base" true \
    >"$log" 2>&1 || skip "a container of the base alone does not run: $(tail -n 1 "$log")"
}

make_stubs() {
  [ -d build/release/tests/system/stubs ] && return
  cmake --preset release -DLATENTD_TESTS=ON >/dev/null
  ctest --test-dir build/release -R python_stubs >/dev/null
}

# The same programs on the same base give the same layers, whatever the time. Compiling twice would take too long.
check_repeats() {
  if [ -z "${PROGRAMS:-}" ]; then
    PROGRAMS=$PWD/build/container/programs
    rm -rf "$PROGRAMS" && mkdir -p "$PROGRAMS"
    id=$(podman create "$1")
    podman cp "$id:/usr/local/bin/." "$PROGRAMS"
    podman rm "$id" >/dev/null
  fi
  export PROGRAMS
  REPEAT=1 scripts/image.sh store
  first=$(podman image inspect --format '{{.RootFS.Layers}}' "$1")
  REPEAT=1 scripts/image.sh store
  second=$(podman image inspect --format '{{.RootFS.Layers}}' "$1")
  [ "$first" = "$second" ] || {
    printf 'image: expected the same layers of two builds, found\n%s\n%s\n' "$first" "$second" >&2
    exit 1
  }
  echo "image: two builds gave the same $(echo "$first" | wc -w) layers"
}

[ "$(id -u)" -eq 0 ] || skip "expected root, which mounts and network namespaces need, found uid $(id -u)"
. scripts/container-store.sh
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
cleanup
check_machine
if [ "${1:-}" = prebuilt ]; then
  cmake --preset release >/dev/null
  ninja -C build/release latentd latentctl latentctl-load latentctl-doctor
  export PROGRAMS="$PWD/build/release/bin"
fi
scripts/image.sh store
MODEL=models/tiny-tales scripts/image.sh store
[ "${1:-}" != build ] || exit 0
make_stubs
LATENTD_VERSION=$(scripts/image.sh version)
check_repeats "latentd:$LATENTD_VERSION"
if [ -f "$PROGRAMS/liblatentd_cuda.so" ]; then
  CUDA=on scripts/image.sh store
  export LATENTD_CUDA_IMAGE=1
fi
started=$(date +%s)
export LATENTD_VERSION LATENTD_CGROUP="/$cgroup"
unshare --net /usr/bin/python3 -B tests/container/image_test.py
/usr/bin/python3 -B tests/container/systemd_test.py
echo "image: tested in $(($(date +%s) - started)) s"
