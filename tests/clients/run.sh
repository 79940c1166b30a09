#!/usr/bin/env bash
# Runs check.py with its packages in a virtual environment of its own.
#   run.sh PATH/TO/almagest [arguments of check.py]
# ALMAGEST_CLIENTS_VENV says where the environment is kept; else it is temporary.
set -euo pipefail

if [ $# -lt 1 ]; then
    echo "usage: $0 PATH/TO/almagest [arguments of check.py]" >&2
    exit 2
fi
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
binary=$(realpath -- "$1")
shift
if [ ! -x "$binary" ]; then
    echo "$binary is no program" >&2
    exit 2
fi

venv=${ALMAGEST_CLIENTS_VENV:-}
if [ -z "$venv" ]; then
    venv=$(mktemp -d)
    trap 'rm -rf -- "$venv"' EXIT
fi
if [ ! -x "$venv/bin/python" ]; then
    python3 -m venv "$venv"
fi
# Installed again only if the list has changed.
if ! cmp -s "$here/requirements.txt" "$venv/installed.txt"; then
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/requirements.txt"
    cp "$here/requirements.txt" "$venv/installed.txt"
fi
"$venv/bin/python" "$here/check.py" "$binary" "$@"
