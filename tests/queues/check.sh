#!/usr/bin/env bash
# Tries `almagest cluster` on a real queue: tests/queues/check.sh slurm|sge|local
#
# In: a queue that runs, with room for two jobs of one core on this machine; ALMAGEST, the command
# (default target/debug/almagest). Grid Engine: run it as a user that may have jobs, not as root.
# Out: a line for each check; status 1 at the first that fails.
set -u
queue=$1
almagest=$(realpath "${ALMAGEST:-$(dirname "$0")/../../target/debug/almagest}")
folder=$(mktemp -d "${TMPDIR:-/tmp}/almagest-queues-XXXXXX")
export XDG_STATE_HOME=$folder/state XDG_CONFIG_HOME=$folder/config ALMAGEST_SITE_CONFIG=$folder/none
mkdir -p "$folder/scratch"
chmod -R a+rwX "$folder"
keeper=
finish() {
  [ -z "$keeper" ] || { kill "$keeper" && wait "$keeper"; } 2>/dev/null
  rm -rf "$folder"
}
trap finish EXIT

fail() {
  echo "FAIL  $*"
  tail -n 20 "$folder/out" "$folder/err" "$folder"/state/almagest/clusters/*/logs/* 2>/dev/null
  exit 1
}
# within SECONDS WHAT COMMAND...: the command holds before the time is up
within() {
  local left=$(($1 * 2)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    left=$((left - 1))
    [ $left -gt 0 ] || fail "$what"
    sleep 0.5
  done
  echo "ok    $what"
}
joined() { [ "$("$almagest" cluster status | grep -c '  joined  ')" -eq "$1" ]; }
answers() {
  local key=$folder/state/almagest/clusters/main/cluster.key
  [ "$queue" != local ] && key=(--cluster-key "$key") || key=()
  "$almagest" -q --format csv --cluster "$(head -1 "$folder/out")" "${key[@]}" \
    -c 'SELECT count(*), sum(i) FROM generate_series(1, 100000) t(i)' | grep -qx '100000,5000050000'
}
ended() { ! kill -0 "$keeper"; }

flags=(--workers 2 --cores 1 --memory 1GB --port 0 --scratch "$folder/scratch")
[ "$queue" = local ] || flags+=(--interface lo)
"$almagest" cluster "$queue" "${flags[@]}" >"$folder/out" 2>"$folder/err" &
keeper=$!
within 60 "two executors join" joined 2
within 20 "a query is answered by them" answers
"$almagest" cluster scale 1 || fail "scale"
within 30 "one is left" joined 1
within 20 "which answers too" answers
"$almagest" cluster stop || fail "stop"
within 30 "the scheduler ends" ended
within 60 "and nothing is left in the scratch folder" test -z "$(ls -A "$folder/scratch")"
keeper=
echo "all checks passed"
