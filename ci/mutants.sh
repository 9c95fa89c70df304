#!/usr/bin/env bash
# cargo-mutants over the core (.cargo/mutants.toml): every sixth mutant from number SEED (0 to 5) on, some 300; needs cargo-mutants.
# Words choose parts of the sample: `ci/mutants.sh 3/30` is its fourth thirtieth. What was missed is printed.
source "$(dirname "$0")/common.sh"
if ! command -v cargo-mutants >/dev/null; then
    echo "skipped: cargo-mutants is not installed (cargo install --locked cargo-mutants)"
    exit 0
fi
export CARGO_TARGET_DIR="$CARGO_TARGET_DIR/cargo-mutants" CARGO_PROFILE_TEST_OPT_LEVEL=1 CARGO_PROFILE_TEST_DEBUG=0
tree="$CARGO_TARGET_DIR/tree"
[ $# -gt 0 ] || set -- 0/1
for part in "$@"; do
    rm -rf "$tree" && mkdir -p "$tree"
    git ls-files --cached Cargo.toml Cargo.lock rust benches .cargo | tar c -T - | tar x -C "$tree"
    out="$CARGO_TARGET_DIR/seed${SEED:-4}.${part%/*}of${part#*/}"
    mkdir -p "$out"
    cargo mutants --in-place --dir "$tree" -p kcompressd-core --sharding round-robin \
        --shard "$((${SEED:-4} + 6 * ${part%/*}))/$((6 * ${part#*/}))" --timeout 60 --cap-lints=true --colors never \
        --output "$out" || [ $? = 2 ] # 2: some were missed
    sed 's/^/missed: /' "$out/mutants.out/missed.txt"
done
