#!/bin/sh
# Starts the daemon with the bundled model on free loopback ports, streams a story and a chat, stops it. Prints the
# seconds of each stage.
# Usage: scripts/demo.sh [build]
#   build  installs what is missing and builds the two programs first
set -eu
cd "$(dirname "$0")/.."
. scripts/stages.sh
bin=${LATENTD_BIN:-build/release/bin}
work=$(mktemp -d)
daemon=

cleanup() {
  if [ -n "$daemon" ]; then kill -KILL "$daemon" 2>/dev/null || true; fi
  rm -rf "$work"
  report_stages
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The port file appears once the daemon serves; a start that goes wrong ends the process instead.
wait_until_serving() {
  tries=0
  until [ -s "$work/ports.json" ]; do
    kill -0 "$daemon" 2>/dev/null || { cat "$work/log" >&2; exit 1; }
    tries=$((tries + 1))
    [ "$tries" -lt 600 ] || { echo "demo: the daemon did not start serving within 60 s" >&2; exit 1; }
    sleep 0.1
  done
}

address_of() { sed -n "s/.*\"$1\": \"\([^\"]*\)\".*/\1/p" "$work/ports.json"; }

if [ "${1:-}" = build ]; then
  stage "packages"
  scripts/install-packages.sh build
  stage "build"
  scripts/configure.sh release
  ninja -C build/release latentd latentctl
fi

stage "demo"
"$bin/latentd" --model models/tiny-tales --listen 127.0.0.1:0 --metrics-listen 127.0.0.1:0 \
  --port-file "$work/ports.json" 2>"$work/log" &
daemon=$!
wait_until_serving
server=$(address_of grpc)
metrics=$(address_of metrics)
echo "latentd serves models/tiny-tales on $server"

echo
echo "--- latentctl generate \"Once upon a time\""
printf 'Once upon a time'
"$bin/latentctl" generate --server "$server" --timeout 120 --seed 7 --max-tokens 160 --stats "Once upon a time"

echo
echo "--- latentctl chat: \"Tell me a story about a fox.\""
echo "Tell me a story about a fox." |
  "$bin/latentctl" chat --server "$server" --timeout 120 --seed 7 --max-tokens 96 --stats 2>"$work/chat"
grep tokens "$work/chat" | sed 's/^> *//'

echo
echo "--- metrics: curl http://$metrics/metrics"
if command -v curl >/dev/null; then
  curl -s "http://$metrics/metrics" | grep '^latentd_generated_tokens_total'
fi

kill -TERM "$daemon"
code=0
wait "$daemon" || code=$?
daemon=
if [ "$code" -ne 0 ]; then
  echo "demo: the daemon was stopped with SIGTERM and exited $code instead of 0" >&2
  exit 1
fi
echo
echo "SIGTERM: the daemon drained and exited 0"
