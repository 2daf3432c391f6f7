#!/bin/sh
# Builds the image latentd:VERSION, and with MODEL=DIRECTORY (inside the tree) latentd:VERSION-NAME with that model in
# it.
# Usage: scripts/image.sh [build|archive|store|base|version]
#   build    with docker where its engine answers, else archive; the default
#   archive  with buildah, as root, into an archive under build/container that every engine can load
#   store    with buildah, as root, into the store under build/container only
#   base     makes only the base ready in that store
#   version  prints VERSION
# CUDA=on builds latentd:VERSION-cuda, with the backend for NVIDIA GPUs.
# BASE=IMAGE[@sha256:DIGEST] replaces the base. The default one is made from the Debian mirror where it can't be pulled.
# PROGRAMS=DIRECTORY, with store: the programs come from there and take the place of the build stage, of which nothing
# runs. Only where they were built on the base's Debian.
# REPEAT=1, with store: takes no layer from an earlier build, so that two builds can be compared.
# SOURCE_DATE_EPOCH is the time of all files and of the image; by default the commit's.
set -eu
cd "$(dirname "$0")/.."
default_base=docker.io/library/debian:bookworm-slim
base=${BASE:-$default_base}
model=${MODEL:-}
model=${model%/}
programs=${PROGRAMS:-}
version=$(sed -n 's/^project(.* VERSION \([0-9.]*\).*/\1/p' CMakeLists.txt)
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
export SOURCE_DATE_EPOCH
cuda=${CUDA:-off}
tag=latentd:$version${model:+-$(basename "$model")}
[ "$cuda" = off ] || tag=$tag-cuda

# build COMMAND…: with the arguments that docker and buildah share. What changes with each commit is a label here and
# not there: buildah takes a layer with an older argument's value for the same.
build() {
  labels=org.opencontainers.image
  set -- "$@" --tag "$tag" --build-arg "BASE=$base" --build-arg "VERSION=$version" --build-arg "CUDA=$cuda" \
    --build-arg "SOURCE_DATE_EPOCH=$SOURCE_DATE_EPOCH" \
    --label "$labels.version=$version" --label "$labels.revision=$revision" \
    --label "$labels.created=$(date --utc --date "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)"
  if [ "$cuda" = on ]; then set -- "$@" --target with-cuda; fi
  if [ -n "$model" ]; then set -- "$@" --target with-model --build-arg "MODEL=$model"; fi
  if [ -n "$programs" ]; then set -- "$@" --build-context "build=$container_folder/build-stage"; fi
  "$@" .
}

# What the build stage leaves, from programs that are built already.
replace_build_stage() {
  folder=$container_folder/build-stage
  rm -rf "$folder" && mkdir -p "$folder/programs" "$folder/cuda/bin" "$folder/cuda/lib" || return
  for program in latentd latentctl latentctl-load latentctl-doctor; do
    strip -o "$folder/programs/$program" "$programs/$program" || return
  done
  scripts/sbom.sh built-with >"$folder/built-with.tsv" || return
  [ "$cuda" = on ] || return 0
  strip -o "$folder/cuda/bin/liblatentd_cuda.so" "$programs/liblatentd_cuda.so" || return
  cp -L "$(ldd "$programs/liblatentd_cuda.so" | sed -n 's/^.*libcudart.* => \([^ ]*\) .*/\1/p')" "$folder/cuda/lib"
}

require_root() {
  [ "$(id -u)" -eq 0 ] && return
  echo "image: buildah needs root to mount; run as root, or start docker and run: scripts/image.sh build" >&2
  exit 1
}

# Like Debian's own slim image: the required packages, without documentation and locales. The merged /usr comes
# from the start, since a package that merges it later needs all of perl.
bootstrap_base() {
  mmdebstrap --quiet --variant=minbase --mode=root \
    --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr --include=usr-is-merged \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/info/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' bookworm "$TMPDIR/base.tar" >"$TMPDIR/bootstrap" 2>&1 || {
    tail -n 20 "$TMPDIR/bootstrap" >&2
    exit 1
  }
  podman import --quiet "$TMPDIR/base.tar" "$base" >/dev/null
  rm "$TMPDIR/base.tar"
}

obtain_base() {
  if timeout 300 buildah pull --quiet "$base" >"$TMPDIR/pull" 2>&1; then
    echo "image: pulled $base"
  elif [ "$base" = "$default_base" ]; then
    echo "image: $base can't be pulled ($(tail -n 1 "$TMPDIR/pull")); making it from the Debian mirror"
    bootstrap_base
  else
    cat "$TMPDIR/pull" >&2
    exit 1
  fi
}

ensure_base() {
  if buildah inspect --type image "$base" >/dev/null 2>&1; then return; fi
  started=$(date +%s)
  obtain_base
  echo "image: base ready after $(($(date +%s) - started)) s"
}

# Chroot isolation, since apt and compilers need no more. The docker format, since OCI's has no HEALTHCHECK.
build_in_store() {
  started=$(date +%s)
  : >"$container_folder/build.log"
  { [ -z "$programs" ] || replace_build_stage; } &&
    build buildah bud --isolation chroot --network host --pull-never --layers --jobs 2 --format docker \
      --timestamp "$SOURCE_DATE_EPOCH" ${REPEAT:+--no-cache} \
      >>"$container_folder/build.log" 2>&1 || {
    tail -n 60 "$container_folder/build.log" >&2
    exit 1
  }
  buildah rm --all >/dev/null  # one stays behind for each stage without instructions
  echo "image: $tag built after $(($(date +%s) - started)) s"
}

write_archive() {
  archive=build/container/$(echo "$tag" | tr : -).tar
  rm -f "$archive"
  buildah push --quiet "$tag" "docker-archive:$archive:$tag"
  echo "image: wrote $archive; load it with: docker load -i FILE, or: podman load -i FILE"
}

command=${1:-build}
if [ "$command" = build ] && ! docker info >/dev/null 2>&1; then command=archive; fi
case $command in
  version) echo "$version" ;;
  build)
    DOCKER_BUILDKIT=1 build docker build
    echo "image: docker has $tag"
    ;;
  base | store | archive)
    require_root
    scripts/install-packages.sh container
    . scripts/container-store.sh
    ensure_base
    [ "$command" = base ] || build_in_store
    [ "$command" != archive ] || write_archive
    ;;
  *)
    echo "image: expected build, archive, store, base or version, found $command" >&2
    exit 1
    ;;
esac
