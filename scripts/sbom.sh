#!/bin/sh
# The image's software bill of materials, as CycloneDX 1.6 in JSON: Debian's packages, those whose headers were compiled
# in, and the files that are ours. Runs inside the image, which has no other language than this one.
# Usage: scripts/sbom.sh built-with                        prints the packages that a build compiles in, a line each
#        scripts/sbom.sh image VERSION SECONDS LIST FOLDER…  prints the bill: LIST is what built-with printed, SECONDS
#                                                            the time that it bears, since 1970; FOLDERs hold our files
set -eu
fields='${Package}\t${Version}\t${Architecture}\n'

built_with() {
  dpkg-query --show --showformat "$fields" g++-12 libabsl-dev libcli11-dev libcpp-httplib-dev libgrpc++-dev libhwy-dev \
    libmsgpack-cxx-dev libpcre2-dev libprotobuf-dev libsimdjson-dev libspdlog-dev libtomlplusplus-dev libxxhash-dev \
    libzmq3-dev nlohmann-json3-dev prometheus-cpp-dev
}

# Lines of three fields → components. $1 is where they are: installed, or compiled in.
packages() {
  awk -F '\t' -v where="$1" '
    {
      version = $2
      gsub(/%/, "%25", version); gsub(/\+/, "%2B", version); gsub(/:/, "%3A", version)
      printf ",\n  {\"type\": \"library\", \"bom-ref\": \"%s:%s:%s\", \"name\": \"%s\", \"version\": \"%s\", ", \
        where, $1, $3, $1, $2
      printf "\"purl\": \"pkg:deb/debian/%s@%s?arch=%s&distro=debian-12\", ", $1, version, $3
      printf "\"properties\": [{\"name\": \"latentd:%s\", \"value\": \"true\"}]}", where
    }'
}

files() {
  find "$@" -type f -exec sha256sum {} + | LC_ALL=C sort -k 2 | awk '
    {
      printf "%s\n  {\"type\": \"file\", \"bom-ref\": \"file:%s\", \"name\": \"%s\", ", (NR > 1 ? "," : ""), $2, $2
      printf "\"hashes\": [{\"alg\": \"SHA-256\", \"content\": \"%s\"}]}", $1
    }'
}

image() {
  version=$1 seconds=$2 list=$3
  shift 3
  cat <<HEAD
{
 "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
 "metadata": {
  "timestamp": "$(date --utc --date "@$seconds" +%Y-%m-%dT%H:%M:%SZ)",
  "component": {"type": "application", "bom-ref": "latentd", "name": "latentd", "version": "$version"}
 },
 "components": [
HEAD
  files "$@"
  dpkg-query --show --showformat "$fields" | LC_ALL=C sort | packages installed
  packages compiled-in <"$list"
  printf '\n ]\n}\n'
}

case ${1:-} in
  built-with) built_with ;;
  image)
    shift
    image "$@"
    ;;
  *)
    echo "sbom: expected built-with or image, found ${1:-nothing}" >&2
    exit 1
    ;;
esac
