#!/usr/bin/env bash
# What is generated from the definition is what stands in the tree; GENERATE=1 writes it instead.
source "$(dirname "$0")/common.sh"
write() {
  "$PY" -c 'from kcompressd import table; print(table.rust_source(), end="")' >rust/core/src/lifecycle/generated.rs
  rustfmt --edition 2024 --config-path rustfmt.toml rust/core/src/lifecycle/generated.rs
  "$PY" -m kcompressd.lifecycle_docs
}
write
[ "${GENERATE:-0}" = 1 ] || git diff --exit-code --stat -- rust/core/src/lifecycle/generated.rs docs/lifecycle.md
