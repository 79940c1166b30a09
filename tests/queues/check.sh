#!/bin/bash
# Tries `cluster` on a real queue with a stand-in for the executor: tests/queues.sh slurm|sge|local
#
# In: the command (LAUNCH, default target/debug/almagest-launch), a queue that runs (see
# tools/queues), with room for 4 jobs of 2 cores. Out: a line a check; status 1 at the first that
# fails. SGE: run as a user that may have jobs, not as root.
set -u
queue=$1
launch=${LAUNCH:-$(dirname "$0")/../target/debug/almagest-launch}
folder=$(mktemp -d "${TMPDIR:-/tmp}/almagest-queues-XXXXXX")
export XDG_STATE_HOME=$folder/state XDG_CONFIG_HOME=$folder/config ALMAGEST_SITE_CONFIG=$folder/none
export LAUNCH_STUB=$folder/stub LAUNCH_EXECUTOR=$folder/almagest
mkdir -p "$LAUNCH_STUB" "$folder/scratch"
keeper=
trap 'if [ -n "$keeper" ]; then kill "$keeper"; wait "$keeper"; fi 2>/dev/null' EXIT

cat >"$LAUNCH_EXECUTOR" <<EOF
#!/bin/bash
# stands in for \`almagest executor\`: joins by a file, and leaves it at SIGTERM
echo "\$@"
while [ \$# -gt 0 ]; do case \$1 in --name) name=\$2 ;; --work-dir) work=\$2 ;; esac; shift; done
touch "\$work/spilled"
echo 0 >"$LAUNCH_STUB/\$name"
trap 'rm -f "$LAUNCH_STUB/\$name"; echo told to end; exit 0' TERM
while :; do sleep 0.2; done
EOF
chmod +x "$LAUNCH_EXECUTOR"

pass() { echo "ok    $*"; }
fail() {
    echo "FAIL  $*"
    for file in "$folder"/out "$folder"/state/almagest/clusters/*/logs/*; do
        echo "--- $file"
        tail -n 15 "$file"
    done
    exit 1
}
# within SECONDS WHAT COMMAND...: the command holds before the time is up
within() {
    local left=$(($1 * 3)) what=$2
    shift 2
    until "$@"; do
        left=$((left - 1))
        [ $left -gt 0 ] || fail "$what"
        sleep 0.3
    done
    pass "$what"
}
says() { grep -qE -- "$1" "$folder/out"; }
status() { "$launch" status >"$folder/status" 2>&1; }
shows() { status && [ "$(grep -cE -- "$2" "$folder/status")" -ge "$1" ]; }
# the ids that the queue itself has
ids() {
    case $queue in
        slurm) squeue -h -n almagest-main -t PENDING,RUNNING -o %i ;;
        sge) qstat | awk '/almagest/ && $5 !~ /d/ { print $1 }' ;;
        local) pgrep -f "^bash $folder/state" ;;
    esac
}
has() { [ "$(ids | wc -l)" -eq "$1" ]; }
end_job() {
    case $queue in
        slurm) scancel "$1" ;;
        sge) qdel "$1" >/dev/null ;;
        local) kill "$1" ;;
    esac
}
start() {
    "$launch" "$queue" --scratch "$folder/scratch" $insecure "$@" >"$folder/out" 2>&1 &
    keeper=$!
}
insecure=--insecure
[ "$queue" = local ] && insecure=

"$launch" "$queue" $insecure --workers 3 --cores 2 --dry-run >"$folder/out" || fail "dry run"
says 'executor' && [ ! -e "$XDG_STATE_HOME" ] && pass "a dry run prints a script and leaves nothing" || fail "dry run"

start --workers 3 --cores 2 --memory 64MB --walltime 2h --prologue 'echo "prologue on $(hostname)"'
within 60 "3 workers join" says '\(3 of 3\)'
status; cat "$folder/status"
log=$(ls "$folder"/state/almagest/clusters/main/logs/*.log | head -1)
within 5 "the executor gets its words" grep -q -- '--cores 2 --memory-limit 51200000 --work-dir .* --drain-after 6900 --connect-timeout 120' "$log"
within 5 "the prologue ran first" grep -q "^prologue on" "$log"
"$launch" "$queue" $insecure --workers 1 >"$folder/second" 2>&1
[ $? -eq 1 ] && grep -q 'choose another --name' "$folder/second" && pass "a second one of the same name is refused" || fail "second: $(cat "$folder/second")"

"$launch" scale 6
if [ "$queue" = local ]; then
    within 30 "6 workers join" says '\(6 of 6\)'
else
    within 60 "4 workers join" says '\(4 of 6\)'
    case $queue in
        slurm) within 60 "2 wait, with a reason" shows 2 'PENDING .* (Resources|Priority)$' ;;
        sge) within 60 "2 wait, with a reason" shows 2 'qw .* (offers 0 slots|because it is full)' ;;
    esac
    cat "$folder/status"
fi
"$launch" scale 3
within 30 "3 jobs stay" has 3
if [ "$queue" != local ]; then
    says '^cancelled 3 jobs' && pass "in one go" || fail "in one go"
fi
victim=$(ids | head -1)
end_job "$victim"
within 90 "a job that was killed is told" says "^job $victim.* ended"
grep -A9 "^job $victim.* ended" "$folder/out"
within 60 "and replaced" shows 3 'joined +0 of'
ids | grep -qx "$victim" && fail "the same job"

kill -9 "$keeper"; wait "$keeper" 2>/dev/null; keeper=
within 5 "after kill -9, status says so" shows 1 'was killed, and left over 3 jobs'
cat "$folder/status"
has 3 && pass "the jobs go on" || fail "the jobs are gone"
"$launch" scale 1 2>&1 | grep -q 'start the cluster again' && pass "scale refuses" || fail "scale"
"$launch" stop || fail "stop"
within 30 "stop cancels them" has 0
"$launch" list

start --workers 2 --cores 1
within 60 "it starts again" says '\(2 of 2\)'
kill -9 "$keeper"; wait "$keeper" 2>/dev/null
start --workers 1 --cores 1
within 60 "a start cancels what was left over" says 'cancelled 2 jobs: .*left over'
within 60 "and goes on" says '\(1 of 1\)'
"$launch" stop; wait "$keeper"; code=$?; keeper=
[ $code -eq 0 ] && pass "stop ends the process" || fail "status $code"
within 30 "and its jobs" has 0

start --workers 2 --cores 1
within 60 "it starts again" says '\(2 of 2\)'
kill -INT "$keeper"; wait "$keeper"; code=$?; keeper=
[ $code -eq 0 ] && pass "Ctrl-C ends the process" || fail "status $code: $(cat "$folder/out")"
within 30 "and its jobs" has 0
within 70 "each executor was told to end" bash -c "! ls '$LAUNCH_STUB' | grep ."
within 70 "and its scratch folder is gone" bash -c "! ls '$folder/scratch' | grep ."

# as a terminal does: to the whole group of processes
timeout -s INT 8 "$launch" "$queue" --scratch "$folder/scratch" $insecure --workers 3 --cores 1 >"$folder/out" 2>&1
says '^cancelled 3 jobs' && pass "Ctrl-C to the whole group cancels too" || fail "Ctrl-C to the group"
within 30 "and its jobs" has 0

start --workers 2 --cores 1 --prologue 'echo no such module >&2; exit 3'
wait "$keeper"; code=$?; keeper=
[ $code -eq 1 ] && says 'failed 5 times in a row' && says '^  no such module' && pass "jobs that end at once are given up" || fail "status $code"
tail -n 4 "$folder/out"
has 0 && pass "and nothing is left" || fail "jobs are left"

LAUNCH_QUIET=3 start --min 0 --max 3 --cores 1 --workers 0
echo 9 >"$LAUNCH_STUB/pending"
within 60 "work brings workers, up to --max" says '\(3 of 3\)'
needed=$(ls "$LAUNCH_STUB" | grep -v pending | head -1)
echo '0 holds' >"$LAUNCH_STUB/$needed"; echo 0 >"$LAUNCH_STUB/pending"
within 60 "without work they go, but not the one whose data is needed" has 1
sleep 3; has 1 && shows 1 "0 of 1 \+ data" && pass "it stays" || fail "it is gone"
echo 0 >"$LAUNCH_STUB/$needed"
within 60 "until its data is not" has 0
"$launch" stop; wait "$keeper"; keeper=

if [ "$queue" != local ]; then
    "$launch" "$queue" $insecure --queue nosuch >"$folder/out" 2>&1
    [ $? -eq 1 ] && pass "a refused submission: $(cat "$folder/out")" || fail "refused"
fi
"$launch" status 2>&1 | grep 'no cluster main' || fail "left a state"
rm -rf "$folder"
echo "all checks passed on $queue"
