#!/usr/bin/env bash
# What is generated from the definition is what stands in the tree; GENERATE=1 writes it instead.
source "$(dirname "$0")/common.sh"
files=(rust/core/src/lifecycle/generated.rs python/kcompressd/lifecycle_enums.py docs/lifecycle.md)
"$PY" -m kcompressd.lifecycle_code "${files[@]:0:2}"
rustfmt --edition 2024 --config-path rustfmt.toml "${files[0]}"
"$PY" -m kcompressd.lifecycle_docs "${files[2]}"
if [ "${GENERATE:-0}" = 1 ]; then # help texts differ between Pythons, so these are not compared: tests/test_reference.py looks for every option
  "$VENV/bin/pip" install --quiet 'argparse-manpage>=4.6'
  "$PY" tools/make_reference.py
fi
[ "${GENERATE:-0}" = 1 ] || git diff --exit-code --stat -- "${files[@]}"
