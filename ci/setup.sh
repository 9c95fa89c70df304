#!/usr/bin/env bash
# A virtual environment with the package built from this tree and everything its tests need.
source "$(dirname "$0")/common.sh"
PYTHON="${PYTHON:-python3}"
"$PYTHON" - <<'PY'
import sys
if sys.version_info < (3, 11):
    sys.exit(f"kcompressd needs Python 3.11 or newer, this is {sys.version.split()[0]} (set PYTHON=)")
PY
command -v cargo >/dev/null || { echo "kcompressd is built with a Rust toolchain: cargo was not found (https://rustup.rs)" >&2; exit 1; }
if [ ! -x "$PY" ]; then
    echo "building the package and its Rust core into $(basename "$VENV"): two or three minutes the first time"
    "$PYTHON" -m venv "$VENV"
fi
"$VENV/bin/pip" install --quiet '.[test]'
"$VENV/bin/kcompressd" --version
