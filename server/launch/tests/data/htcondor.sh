#!/bin/bash
exec 2>&1

almagest_job=${ALMAGEST_JOB:?is not set: this script is a job of htcondor}
almagest_job=${almagest_job%%.*}
PATH=$PATH:/usr/sbin:/sbin

# --prologue
module load almagest
export A="$HOME/x"

# what this machine must have
name=htcondor-$almagest_job
scratch='/local/my scratch'
program='/opt/almagest 1/bin/almagest'
if ! command -v "$program" >/dev/null; then
    echo "almagest: $(hostname) has no $program; install it where every machine sees it" >&2
    exit 1
fi
if ! mkdir -p -- "$scratch" || ! work_dir=$(mktemp -d -- "$scratch/almagest-$name-XXXXXXXX"); then
    echo "almagest: $(hostname) cannot make a folder in $scratch; name another one with --scratch" >&2
    exit 1
fi

# where others find this executor
interface=ib0
address=$(ip -4 -o addr show dev "$interface" 2>/dev/null | awk '{ sub("/.*", "", $4); print $4; exit }')
if [ -z "$address" ]; then
    echo "almagest: $(hostname) has no IPv4 address at the interface '$interface'; it has these:" >&2
    ip -4 -o addr show 2>&1 | awk '{ print "    " $2, $4 }' >&2
    echo "almagest: name one of them with --interface" >&2
    exit 1
fi

command=("$program" executor \
    --scheduler http://10.1.2.3:50050 \
    --name "$name" \
    --bind "$address" \
    --cores 8 \
    --memory-limit 25600000000 \
    --work-dir "$work_dir" \
    --drain-after 14100 \
    --connect-timeout 120 \
    --insecure \
    --heartbeat \
    5 \
    'it'\''s $(reboot)')
trap '' USR1
(
    trap '' USR2
    exec "${command[@]}"
) &
executor=$!
trap 'kill -TERM "$executor" 2>/dev/null' TERM INT USR2
wait "$executor"
status=$?
while kill -0 "$executor" 2>/dev/null; do
    wait "$executor"
    status=$?
done
rm -rf -- "$work_dir"
exit "$status"
