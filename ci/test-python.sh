#!/usr/bin/env bash
# The Python tests, against the installed package.
source "$(dirname "$0")/common.sh"
"$PY" -m pytest -q "$@"
