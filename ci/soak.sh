#!/usr/bin/env bash
# Ten million page lives with faults, kills, resizes and knobs turned at random, a million a seed: SEEDS="1 2 …" LIVES=…
source "$(dirname "$0")/common.sh"
# The swap file of each round: in memory where the system has a place for that.
[ -w /dev/shm ] && export TMPDIR=/dev/shm
cargo build --quiet --release -p kcompressd-core --example soak
for seed in ${SEEDS:-1 2 3 4 5 6 7 8 9 10}; do
  "$CARGO_TARGET_DIR/release/examples/soak" "${LIVES:-1000000}" "$seed"
done
