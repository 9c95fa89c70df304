#!/usr/bin/env bash
# Whole live runs under shuttle's schedules: KCOMPRESSD_SHUTTLE_RUNS (40) a test and design, half random, half by priority.
source "$(dirname "$0")/common.sh"
export KCOMPRESSD_SHUTTLE_RUNS="${KCOMPRESSD_SHUTTLE_RUNS:-40}"
RUSTFLAGS="--cfg kcompressd_shuttle" CARGO_TARGET_DIR="$CARGO_TARGET_DIR/shuttle" \
  cargo test --quiet --release -p kcompressd-core --test shuttle_live
