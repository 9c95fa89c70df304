#!/usr/bin/env bash
# Coverage-guided fuzzing: `ci/fuzz.sh [TARGET…]` runs each target for FUZZ_SECONDS (default 60).
#
# The stable compiler instruments for libFuzzer, so neither nightly nor cargo-fuzz is needed, but a C++ compiler is. What a
# target learns stays in target/fuzz/corpus; an input that it fails on lies in fuzz/artifacts, and FUZZ_INPUT=FILE runs that alone.
# FUZZ_SANITIZER=address also watches every access to memory.
source "$(dirname "$0")/common.sh"
export CARGO_TARGET_DIR="$CARGO_TARGET_DIR/fuzz"
coverage="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4"
coverage+=" -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table"
coverage+=" -Cllvm-args=-sanitizer-coverage-trace-compares"
if [ "${FUZZ_SANITIZER:-}" = address ]; then
    # An unstable flag; its runtime is part of the stable toolchain.
    export RUSTC_BOOTSTRAP=1 ASAN_OPTIONS=detect_leaks=0
    coverage+=" -Zsanitizer=address"
fi
host=$(rustc -vV | sed -n 's/^host: //p')
# With --target the flags leave build scripts alone.
RUSTFLAGS="$coverage" cargo build --quiet --release --manifest-path fuzz/Cargo.toml --target "$host"
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(decode round_trip zsmalloc judge)
for target in "${targets[@]}"; do
    corpus="$CARGO_TARGET_DIR/corpus/$target" artifacts="fuzz/artifacts/$target" log="$CARGO_TARGET_DIR/$target.log"
    mkdir -p "$corpus" "$artifacts"
    if ! "$CARGO_TARGET_DIR/$host/release/$target" "${FUZZ_INPUT:-$corpus}" -artifact_prefix="$artifacts/" \
        -max_total_time="${FUZZ_SECONDS:-60}" -max_len=8192 -timeout=20 -print_final_stats=1 >"$log" 2>&1; then
        tail -n 40 "$log"
        echo "$target: FAILED; the input is in $artifacts"
        exit 1
    fi
    echo "$target: nothing found; $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs," \
        "$(ls "$corpus" | wc -l) worth keeping"
done
