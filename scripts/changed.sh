#!/bin/sh
# Exit code 0 where something under the paths (git's pathspecs) is not committed or differs from the branch main, else
# 1. On main itself: where it differs from the commit before. CI that tests several commits at a time names the last one
# that it tested in LATENTD_CHANGED_SINCE. Where the history does not reach that far (a shallow clone, an archive),
# everything counts as changed.
# Usage: scripts/changed.sh PATH…
set -eu
cd "$(dirname "$0")/.."

# The commit to compare with.
since() {
  if [ -n "${LATENTD_CHANGED_SINCE:-}" ]; then
    echo "$LATENTD_CHANGED_SINCE"
    return
  fi
  if git rev-parse --quiet --verify origin/main >/dev/null; then
    fork=$(git merge-base HEAD origin/main) || return
    [ "$fork" = "$(git rev-parse HEAD)" ] || {
      echo "$fork"
      return
    }
  fi
  git rev-parse --quiet --verify HEAD^
}

commit=$(since 2>/dev/null) || exit 0
git diff --quiet "$commit" -- "$@" 2>/dev/null || exit 0
[ -z "$(git ls-files --others --exclude-standard -- "$@")" ] || exit 0
exit 1
