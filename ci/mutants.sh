#!/usr/bin/env bash
# A sample of the core's mutants against its tests (tools/mutants.py): SEED and COUNT choose it, SECONDS_EACH ends a call that the next
# one goes on with; other words go to the tool. Needs cargo-mutants, which lists them, and Python 3.11.
source "$(dirname "$0")/common.sh"
if ! command -v cargo-mutants >/dev/null; then
    echo "skipped: cargo-mutants is not installed (cargo install --locked cargo-mutants)"
    exit 0
fi
python3 tools/mutants.py --seed "${SEED:-1}" --count "${COUNT:-320}" --seconds "${SECONDS_EACH:-inf}" "$@"
