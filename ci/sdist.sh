#!/usr/bin/env bash
# The source distribution holds what a build of it needs: its metadata can be made. PACKAGE=build: it and the wheel are built,
# installed into empty environments and run (some minutes).
source "$(dirname "$0")/common.sh"
DIST="$CARGO_TARGET_DIR/dist"
rm -rf "$DIST"
"$VENV/bin/pip" install --quiet 'maturin>=1.9,<2'
"$VENV/bin/maturin" sdist --out "$DIST"
"$VENV/bin/pip" install --quiet --dry-run --no-deps --ignore-installed "$DIST"/*.tar.gz
[ "${PACKAGE:-}" = build ] || exit 0
"$VENV/bin/maturin" build --quiet --release --out "$DIST"
for package in "$DIST"/*.tar.gz "$DIST"/*.whl; do
  "$PY" -m venv --clear "$DIST/venv"
  "$DIST/venv/bin/pip" install --quiet "$package"
  (cd / && "$DIST/venv/bin/kcompressd" run --sample --design split --store zswap)
done
