#!/bin/sh
# Installs the Debian packages that a group of tasks needs; does nothing when all of them are there.
# Usage: scripts/install-packages.sh [build|bench|test|sanitize|container|browser]…; default: build and test.
set -eu
build="g++ cmake ninja-build ccache pkg-config
  protobuf-compiler protobuf-compiler-grpc libprotobuf-dev libgrpc++-dev zlib1g-dev libabsl-dev libssl-dev
  prometheus-cpp-dev libhwy-dev nlohmann-json3-dev libsimdjson-dev libpcre2-dev libspdlog-dev libcli11-dev
  libtomlplusplus-dev libcpp-httplib-dev libxxhash-dev libzmq3-dev libmsgpack-cxx-dev"
bench="libgtest-dev libgmock-dev libbenchmark-dev"  # without them the tree is configured without tests and benches
test="$bench binutils clang-format xz-utils python3 python3-grpcio python3-jsonschema python3-msgpack python3-protobuf
  python3-seccomp python3-venv python3-yaml python3-zmq openssl prometheus systemd"
sanitize="clang-14 libclang-rt-14-dev"  # and libFuzzer
container="buildah podman runc mmdebstrap iproute2"
browser="chromium"  # what looks at pages, in make test-slow

[ $# -gt 0 ] || set -- build test
packages=
for group in "$@"; do
  case $group in
    build) packages="$packages $build" ;;
    bench) packages="$packages $bench" ;;
    test) packages="$packages $test" ;;
    sanitize) packages="$packages $sanitize" ;;
    container) packages="$packages $container" ;;
    browser) packages="$packages $browser" ;;
    *)
      echo "install-packages: expected build, bench, test, sanitize, container or browser, found $group" >&2
      exit 1
      ;;
  esac
done

missing=
for package in $packages; do
  dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null; then
  echo "install-packages: this is not a Debian system; install the equivalents of:$missing" >&2
  exit 1
fi
sudo=
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "install-packages: run as root (or install sudo): apt-get install$missing" >&2
    exit 1
  fi
  sudo=sudo
fi
echo "install-packages: installing$missing"
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get -o DPkg::Lock::Timeout=300 -qq update
$sudo apt-get -o DPkg::Lock::Timeout=300 -qq install -y --no-install-recommends $missing >/dev/null
