#!/usr/bin/env bash
# Instructions a page that the stores take beyond the codec, counted by callgrind on the package's sample (lz4).
source "$(dirname "$0")/common.sh"
if ! command -v valgrind >/dev/null; then
    echo "skipped: valgrind is not installed"
    exit 0
fi
bench=$(cargo bench -p kcompressd-benches --bench store --no-run 2>&1 | sed -n 's/.*Executable.*(\(.*\))/\1/p')
sample=python/kcompressd/data/sample.pages.zst
for function in count_zswap_store count_zram_write; do
    out="$CARGO_TARGET_DIR/callgrind.$function"
    pages=$(valgrind --tool=callgrind --callgrind-out-file="$out" --toggle-collect="*$function*" \
        "$bench" --count "$sample" 2>"$out.log")
    total=$(sed -n 's/^summary: *//p; s/^totals: *//p' "$out" | head -n 1)
    echo "$function: $((total / pages)) instructions a page ($pages pages)"
done
