#!/usr/bin/env bash
# ThreadSanitizer over the tests with threads, the standard library built with it too: no report, and a planted race
# (tests/mutants/core-02: a folio published without Release) is found. Needs a nightly toolchain (TSAN_TOOLCHAIN=) with rust-src,
# or with TSAN_RUST_SRC=DIR the directory `library` of the same version's sources, such as Debian's rust-src has.
source "$(dirname "$0")/common.sh"
toolchain="${TSAN_TOOLCHAIN:-nightly}"
sysroot=$(rustc "+$toolchain" --print sysroot 2>/dev/null) || sysroot=""
library="${TSAN_RUST_SRC:-$sysroot/lib/rustlib/src/rust/library}"
if [ -z "$sysroot" ] || ! [ -f "$library/Cargo.lock" ]; then
    echo "skipped: no toolchain $toolchain with rust-src (rustup toolchain install nightly -c rust-src, or TSAN_RUST_SRC=)"
    exit 0
fi
__CARGO_TESTS_ONLY_SRC_ROOT=$(realpath "$library") # where Cargo's -Zbuild-std looks
export __CARGO_TESTS_ONLY_SRC_ROOT
host=$(rustc -vV | sed -n 's/^host: //p')
export CARGO_TARGET_DIR="$CARGO_TARGET_DIR/tsan" RUSTFLAGS="-Zsanitizer=thread" TSAN_OPTIONS="halt_on_error=1"
tests() { # of the sources in $1, the rest: which
    local tree=$1
    shift
    (cd "$tree" && cargo "+$toolchain" test --quiet -Zbuild-std --target "$host" -p kcompressd-core "$@")
}
# One of these measures what a page costs, which the sanitizer's own memory changes.
tests . --test queue_threads --test zsmalloc_threads --test wait --test live --test live_memory -- --skip resident_size
planted="$CARGO_TARGET_DIR/planted"
mkdir -p "$planted"
git ls-files Cargo.toml Cargo.lock rust benches | tar c -T - | tar x -C "$planted"
GIT_CEILING_DIRECTORIES="$CARGO_TARGET_DIR" git -C "$planted" apply "$PWD/tests/mutants/core-02-queue-relaxed-publish.patch"
if tests "$planted" --test queue_threads >"$planted/log" 2>&1 || ! grep -q "data race" "$planted/log"; then
    echo "the planted race was not found: $planted/log"
    exit 1
fi
echo "no report; the planted race is found: $(grep -m 1 -o 'data race.*' "$planted/log")"
