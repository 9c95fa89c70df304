#!/usr/bin/env bash
# Formatting, clippy and the documentation's links.
source "$(dirname "$0")/common.sh"
cargo fmt --check
cargo clippy --quiet --workspace --all-targets -- -D warnings
RUSTDOCFLAGS="-D warnings" cargo doc --quiet --no-deps -p kcompressd-core
