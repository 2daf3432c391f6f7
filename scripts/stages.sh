# shellcheck shell=sh
# Sourced by scripts that work in stages: each one's name when it begins, and all with their seconds when the script
# ends.
stages_begun=$(date +%s)
stages=

end_stage() {
  [ -z "${stage_name:-}" ] || stages="$stages$(printf '%6d s  %s' $(($(date +%s) - stage_begun)) "$stage_name")
"
  stage_name=
}

stage() {
  end_stage
  stage_name=$1
  stage_begun=$(date +%s)
  echo "== $1 ($(date +%H:%M:%S))"
}

# The trap of EXIT, or called by it.
report_stages() {
  end_stage
  [ -z "$stages" ] || printf '\n== seconds of %s\n%s%6d s  in all\n' "$(basename "$0")" "$stages" \
    $(($(date +%s) - stages_begun))
  stages=
}
