#!/usr/bin/env bash
# Every benchmark of docs/benchmarks.md; RECORD=1 writes what they print into that page. Words: only commands that have one.
source "$(dirname "$0")/common.sh"
"$VENV/bin/pip" install --quiet 'lz4>=4.3' 'blosc2>=2.7'
"$PY" benches/record.py ${RECORD:+--write} "$@"
