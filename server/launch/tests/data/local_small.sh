#!/bin/bash

almagest_job=${$:?is not set: this script is a job of local}
almagest_job=${almagest_job%%.*}
exec >/home/astro/.local/state/almagest/clusters/survey/logs/"$almagest_job.log" 2>&1
PATH=$PATH:/usr/sbin:/sbin

# what this machine must have
name=local-$almagest_job
scratch="${TMPDIR:-/tmp}"
program=/opt/almagest
if ! command -v "$program" >/dev/null; then
    echo "almagest: $(hostname) has no $program; install it where every machine sees it" >&2
    exit 1
fi
if ! mkdir -p -- "$scratch" || ! work_dir=$(mktemp -d -- "$scratch/almagest-$name-XXXXXXXX"); then
    echo "almagest: $(hostname) cannot make a folder in $scratch; name another one with --scratch" >&2
    exit 1
fi

# where others find this executor
host=10.1.2.3
scheduler=$(getent ahostsv4 "$host" | awk '{ print $1; exit }')
address=$(ip -4 -o route get "${scheduler:-none}" 2>/dev/null | sed -n 's/.* src \([0-9.]*\).*/\1/p')
[ -n "$address" ] || address=$(hostname -I 2>/dev/null | awk '{ print $1 }')
if [ -z "$address" ]; then
    echo "almagest: $(hostname) finds no address of its own on the way to $host; name its network with --interface" >&2
    exit 1
fi

command=("$program" executor \
    --scheduler http://10.1.2.3:50050 \
    --name "$name" \
    --bind "$address" \
    --cores 1 \
    --work-dir "$work_dir" \
    --connect-timeout 120)
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
