//! What the path costs beside the codec: `cargo bench -p kcompressd-benches --bench path [-- --quick] [PAGES[.zst] …]`; for a profiler
//! `-- --rounds=60 PAGES[.zst] …`, the path on lz4 and the bare loop so many times in turn.
//!
//! The path is the reclaim phase of `run --design split --store zswap --threads 2`: every page of the input goes from
//! kswapd through the queues to two kcompressd threads (or is finished by kswapd, when the queues are full) into the pool,
//! until all frames are free. The bare loop is the codec alone on two threads, which take 32 pages at a time and throw
//! the blocks away. Frames and the pool's memory are touched before the clock starts; "cold" leaves the pool's memory to
//! page faults in the timed phase.
//!
//! Both run in turn on the same pages; figures are medians, ratios medians of the pairs' ratios between their quartiles.
//! Three threads on two CPUs: a machine that is busy otherwise takes more from the path than from the loop.

mod tag;

use kcompressd_benches::pages::{Corpus, corpora};
use kcompressd_benches::path::{Path, bare};
use kcompressd_benches::ratio::{Pairs, alternate, show};
use kcompressd_core::design::{Design, Preset, StoreKind};

/// Threads of both sides; kswapd is one more.
const THREADS: u16 = 2;

/// Depths to compare; the designs have 256.
const DEPTHS: [u32; 4] = [32, 256, 1024, 4096];

fn main() {
    let pairs = if std::env::args().any(|arg| arg == "--quick") { 9 } else { 25 };
    let corpora = corpora();
    if let Some(rounds) = std::env::args().find_map(|arg| arg.strip_prefix("--rounds=")?.parse().ok()) {
        for corpus in &corpora {
            let path = Path::new(corpus, split());
            alternate(rounds, || path.reclaim(), || bare(corpus, path.codec, THREADS));
        }
        return;
    }
    against_the_codec(&corpora, pairs);
    by_depth(&corpora, pairs);
    tracing(&corpora, pairs);
    tag::compare(&corpora, pairs);
}

fn split() -> Design {
    Preset::Split.design(StoreKind::Zswap).with_threads(THREADS)
}

/// The medians of both sides as MB/s of page bytes.
fn rates(corpus: &Corpus, pairs: &Pairs) -> [f64; 2] {
    let (ours, theirs) = pairs.medians();
    [ours, theirs].map(|seconds| corpus.bytes().len() as f64 / seconds / 1e6)
}

fn against_the_codec(corpora: &[Corpus], pairs: usize) {
    println!(
        "\nsplit on zswap against the bare codec, 2 threads each; target 0.90 for lz4 on py; medians of {pairs} pairs"
    );
    let [path, bare_loop, ratio, cold_ratio] = ["path MB/s", "bare MB/s", "path / bare (quartiles)", "cold / bare"];
    println!("{:>8} {:>6} {path:>10} {bare_loop:>10} {ratio:>24} {cold_ratio:>24}", "pages", "codec");
    for corpus in corpora {
        for codec in ["lz4", "zstd"] {
            let warm = Path { codec: codec.parse().expect("a codec"), ..Path::new(corpus, split()) };
            let cold = Path { warm: false, ..warm };
            let run = |path: Path<'_>| alternate(pairs, || path.reclaim(), || bare(corpus, path.codec, THREADS));
            let (warm, cold) = (run(warm), run(cold));
            let [ours, bare] = rates(corpus, &warm);
            let (ratio, cold) = (show(warm.ratio()), show(cold.ratio()));
            println!("{:>8} {codec:>6} {ours:>10.0} {bare:>10.0} {ratio:>24} {cold:>24}", corpus.name);
        }
    }
}

fn by_depth(corpora: &[Corpus], pairs: usize) {
    println!("\nthe queues' depth: split on zswap, lz4, against the bare codec; medians of {pairs} pairs");
    println!("{:>8} {:>6} {:>24}", "pages", "depth", "path / bare (quartiles)");
    for corpus in corpora {
        for depth in DEPTHS {
            let path = Path::new(corpus, split().with_depth(depth));
            let times = alternate(pairs, || path.reclaim(), || bare(corpus, path.codec, THREADS));
            println!("{:>8} {depth:>6} {:>24}", corpus.name, show(times.ratio()));
        }
    }
}

fn tracing(corpora: &[Corpus], pairs: usize) {
    println!("\ntrace logging on against off, split on zswap, lz4; target 0.95 on py; medians of {pairs} pairs");
    println!("{:>8} {:>12} {:>12} {:>24}", "pages", "traced MB/s", "plain MB/s", "traced / plain");
    for corpus in corpora {
        let plain = Path::new(corpus, split());
        let traced = Path { trace: true, ..plain };
        let times = alternate(pairs, || traced.reclaim(), || plain.reclaim());
        let [on, off] = rates(corpus, &times);
        println!("{:>8} {on:>12.0} {off:>12.0} {:>24}", corpus.name, show(times.ratio()));
    }
}
