//! The store path on one thread, each actor until it waits: what it costs a page without threads and clocks.
//!
//! `cargo bench -p kcompressd-benches --bench store_path [-- --quick] [PAGES[.zst] …]` prints nanoseconds a page beside
//! the codec's own. `-- --once DESIGN FILE` runs `store_path` once, for callgrind to count (`ci/instructions.sh`).

use kcompressd_benches::pages::{Corpus, corpora};
use kcompressd_benches::path::{Path, bare};
use kcompressd_benches::ratio::{alternate, show};
use kcompressd_core::design::{Preset, StoreKind};
use kcompressd_core::driver::Crew;
use kcompressd_core::system::{Outcome, System};
use std::time::{Duration, Instant};

/// Swaps every page of `sys` out, in batches of steps as the live driver's threads take them.
#[inline(never)]
fn store_path(sys: &System, crew: &mut Crew) {
    let mut seat = crew.seats.len() - 1;
    while let Some(next) = crew.next_after(sys, seat) {
        seat = next;
        while let Outcome::Ran(_) = crew.batch(sys, seat).expect("a lawful step") {}
    }
    assert!(crew.is_done());
}

fn time(path: &Path<'_>) -> Duration {
    let sys = path.system();
    sys.current_pool().prefault(path.corpus.bytes().len()).expect("memory");
    let mut crew = Crew::reclaim(&sys, false);
    let start = Instant::now();
    store_path(&sys, &mut crew);
    start.elapsed()
}

fn compare(corpus: &Corpus, pairs: usize) {
    for preset in [Preset::Sync, Preset::Split] {
        let path = Path::new(corpus, preset.design(StoreKind::Zswap));
        let times = alternate(pairs, || time(&path), || bare(corpus, path.codec, 1));
        let (ours, codec) = times.medians();
        let [ours, codec] = [ours, codec].map(|seconds| seconds * 1e9 / corpus.len() as f64);
        println!("{:>8} {:>8} {ours:>10.0} {codec:>10.0} {:>24}", corpus.name, preset.name(), show(times.ratio()));
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let Some(once) = args.iter().position(|arg| arg == "--once") {
        let preset = Preset::from_name(&args[once + 1]).expect("--once is followed by a preset's name");
        let _ = time(&Path::new(&Corpus::read(args[once + 2].as_ref()), preset.design(StoreKind::Zswap)));
        return;
    }
    let pairs = if args.iter().any(|arg| arg == "--quick") { 9 } else { 25 };
    println!("\nthe store path on one thread, zswap, lz4, ns a page; medians of {pairs} pairs");
    println!("{:>8} {:>8} {:>10} {:>10} {:>24}", "pages", "design", "path", "codec", "codec / path");
    corpora().iter().for_each(|corpus| compare(corpus, pairs));
}
