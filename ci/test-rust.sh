#!/usr/bin/env bash
# The core's unit, property and whole-run tests; arguments are those of cargo test.
source "$(dirname "$0")/common.sh"
cargo test --quiet -p kcompressd-core "$@"
