//! Bit 0 of the queued pointer against a look-up of the zswap entry: how a worker knows that the first half was done.

use crate::{rates, split};
use kcompressd_benches::pages::Corpus;
use kcompressd_benches::path::Path;
use kcompressd_benches::ratio::{alternate, show};
use kcompressd_core::design::{Design, Tag};
use kcompressd_core::swapout::was_begun;
use kcompressd_core::system::System;
use kcompressd_core::tagged::TaggedFolio;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Prints the question alone, and the whole path, each way.
pub fn compare(corpora: &[Corpus], pairs: usize) {
    println!("\ntag bit 0 against entry look-up, split on zswap, lz4; medians of {pairs} pairs");
    println!("{:>8} {:>18} {:>8} {:>8} {:>24}", "pages", "what", "bit 0", "look-up", "look-up time / bit 0's");
    for corpus in corpora {
        let [bit, entry] = [Tag::Bit0, Tag::EntryLookup].map(|tag| Path::new(corpus, Design { tag, ..split() }));
        let path = alternate(pairs, || bit.reclaim(), || entry.reclaim());
        let [rate, entry_rate] = rates(corpus, &path);
        let row = |what: &str, bit: f64, entry: f64, ratio| {
            println!("{:>8} {what:>18} {bit:>8.1} {entry:>8.1} {:>24}", corpus.name, show(ratio));
        };
        row("path, MB/s", rate, entry_rate, path.ratio());
        let [bit, entry] = [bit, entry].map(|path| Queued::new(path.system()));
        let asked = alternate(pairs, || bit.ask(), || entry.ask());
        let (bit, entry) = asked.medians();
        let per_folio = |seconds: f64| seconds * 1e9 / corpus.len() as f64;
        row("question, ns", per_folio(bit), per_folio(entry), asked.ratio());
    }
}

/// Every folio of a system as it would stand in a queue, in an order in which none is beside the one before.
struct Queued {
    sys: System,
    entries: Vec<TaggedFolio>,
}

impl Queued {
    fn new(sys: System) -> Self {
        let pages = sys.folios.len() as u32;
        let entries = (0..pages).map(|i| sys.entry(sys.folio(i * 61 % pages))).collect();
        for page in 0..pages {
            let slot = sys.slots.alloc().expect("more slots than pages");
            sys.folio(page).set_slot(slot);
            sys.zswap().expect("zswap").expect(slot, true);
        }
        Self { sys, entries }
    }

    fn ask(&self) -> Duration {
        let start = Instant::now();
        let begun = self.entries.iter().filter(|entry| was_begun(&self.sys, **entry)).count();
        let elapsed = start.elapsed();
        assert_eq!(black_box(begun), self.entries.len());
        elapsed
    }
}
