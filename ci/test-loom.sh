#!/usr/bin/env bash
# loom models of the queue and the wake-up protocol; bound 2 unless LOOM_MAX_PREEMPTIONS says otherwise. "none": every schedule, but of the
# models that do not end so (`bounded` in the sources), which have three preemptions then.
source "$(dirname "$0")/common.sh"
export LOOM_MAX_PREEMPTIONS="${LOOM_MAX_PREEMPTIONS-2}"
[ "$LOOM_MAX_PREEMPTIONS" != none ] || unset LOOM_MAX_PREEMPTIONS
for model in rust/core/tests/loom_*.rs; do
  name="$(basename "$model" .rs)"
  RUSTFLAGS="--cfg kcompressd_loom" cargo test --quiet --release -p kcompressd-core --test "$name"
done
