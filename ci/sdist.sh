#!/usr/bin/env bash
# The source distribution holds what a build of it needs: its metadata can be made (make wheels builds it).
source "$(dirname "$0")/common.sh"
DIST="$CARGO_TARGET_DIR/dist"
rm -rf "$DIST"
"$VENV/bin/pip" install --quiet 'maturin>=1.9,<2'
"$VENV/bin/maturin" sdist --out "$DIST"
"$VENV/bin/pip" install --quiet --dry-run --no-deps --ignore-installed "$DIST"/*.tar.gz
