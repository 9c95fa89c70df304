//! Our encoders and decoders beside other libraries' on real pages, on one core.
//!
//! `cargo bench -p kcompressd-benches --bench codec [-- --quick] [PAGES[.zst] …]` prints medians of ratios over
//! alternating pairs, then the absolute speed of every compressor. Without files: the package's sample, and the
//! corpora beside the repository where they are.
//!
//! A pair runs over 256 pages at a time, ours and the rival's in turn and each first every other time, so that both
//! meet the same machine; a round is all pages. Times are the thread's CPU time. Same-filled pages are left out: no store compresses them. The blocks
//! decoded are each codec's own. liblz4 encodes twice: with its state cleared for each page, as the kernel does, and
//! with its quick reset. liblzo2 is loaded where the machine has it, and skipped by name where not.

mod rivals;

use kcompressd_benches::pages::corpora;
use kcompressd_benches::ratio::{Pairs, quartiles};
use kcompressd_core::codec::{CodecName, CodecSpec, Compressor};
use kcompressd_core::driver::live::cpu_ns;
use kcompressd_core::units::PAGE_SIZE;
use rivals::{LibLz4, LibLzo2};
use std::hint::black_box;

const RUN_PAGES: usize = 256;
const BLOCK_BYTES: usize = 2 * PAGE_SIZE;

/// A codec with its own blocks of all pages.
struct Lane {
    codec: Box<dyn Compressor>,
    blocks: Vec<Vec<u8>>,
}

#[derive(Clone, Copy)]
enum Way {
    Compress,
    Decompress,
}

impl Lane {
    fn new(mut codec: Box<dyn Compressor>, pages: &[&[u8]]) -> Self {
        let mut block = [0; BLOCK_BYTES];
        let mut pack = |page: &&[u8]| {
            let bytes = codec.compress(page, &mut block).expect("two pages hold any block");
            block[..bytes].to_vec()
        };
        let blocks = pages.iter().map(&mut pack).collect();
        Self { codec, blocks }
    }

    fn ours(name: CodecName, pages: &[&[u8]]) -> Self {
        Self::new(CodecSpec::new(name, None).expect("a default level").open(), pages)
    }

    /// Seconds of CPU time for one run of pages.
    fn time(&mut self, way: Way, run: usize, pages: &[&[u8]]) -> f64 {
        let mut buffer = [0; BLOCK_BYTES];
        let start = cpu_ns();
        match way {
            Way::Compress => pages.iter().for_each(|page| {
                black_box(self.codec.compress(page, &mut buffer));
            }),
            Way::Decompress => {
                for block in &self.blocks[run * RUN_PAGES..][..pages.len()] {
                    self.codec.decompress(block, &mut buffer[..PAGE_SIZE]).expect("its own block");
                    black_box(&buffer);
                }
            }
        }
        (cpu_ns() - start) as f64 / 1e9
    }
}

/// Runs both over all pages `rounds` times and prints a row.
fn compare(what: &str, way: Way, ours: &mut Lane, theirs: &mut Lane, pages: &[&[u8]], rounds: usize) {
    let mut pairs = Pairs::default();
    for turn in 0..rounds {
        let (mut our_time, mut their_time) = (0.0, 0.0);
        for (run, run_pages) in pages.chunks(RUN_PAGES).enumerate() {
            if (run + turn) % 2 == 0 {
                our_time += ours.time(way, run, run_pages);
                their_time += theirs.time(way, run, run_pages);
            } else {
                their_time += theirs.time(way, run, run_pages);
                our_time += ours.time(way, run, run_pages);
            }
        }
        pairs.push(our_time, their_time);
    }
    let (our_time, their_time) = pairs.medians();
    let rate = |seconds: f64| (pages.len() * PAGE_SIZE) as f64 / seconds / 1e6;
    let [low, ratio, high] = pairs.ratio();
    println!("| {what} | {:.0} | {:.0} | {ratio:.2} ({low:.2} to {high:.2}) |", rate(our_time), rate(their_time));
}

/// Compares `name` with `theirs` both ways.
fn both_ways(corpus: &str, name: CodecName, rival: &str, theirs: Box<dyn Compressor>, pages: &[&[u8]], rounds: usize) {
    let (mut ours, mut theirs) = (Lane::ours(name, pages), Lane::new(theirs, pages));
    let mut row = |verb: &str, way| {
        compare(&format!("{corpus} | {name} {verb} | {rival}"), way, &mut ours, &mut theirs, pages, rounds);
    };
    row("compress", Way::Compress);
    row("decompress", Way::Decompress);
}

/// Every compressor's own speed, the median of `rounds`.
fn absolute(corpus: &str, pages: &[&[u8]], rounds: usize) {
    for name in CodecName::ALL {
        let mut lane = Lane::ours(name, pages);
        let mut median = |way| {
            let times =
                (0..rounds).map(|_| pages.chunks(RUN_PAGES).enumerate().map(|(i, run)| lane.time(way, i, run)).sum());
            let [_, seconds, _] = quartiles(times);
            (pages.len() * PAGE_SIZE) as f64 / seconds / 1e6
        };
        println!("| {corpus} | {name} | {:.0} | {:.0} |", median(Way::Compress), median(Way::Decompress));
    }
}

fn main() {
    let quick = std::env::args().any(|arg| arg == "--quick");
    let rounds = if quick { 3 } else { 15 };
    let corpora = corpora();
    if LibLzo2::open().is_none() {
        println!("liblzo2.so.2 is not on this machine: lzo and lzo-rle are compared with nothing (Debian: liblzo2-2)");
    }
    println!(
        "| corpus | ours | rival | ours MB/s | rival MB/s | ratio (quartiles of {rounds}) |\n|---|---|---|---|---|---|"
    );
    for corpus in &corpora {
        let (name, pages) = (corpus.name.as_str(), corpus.pages());
        both_ways(name, CodecName::Lz4, "liblz4", Box::new(LibLz4::clearing()), &pages, rounds);
        both_ways(name, CodecName::Lz4, "liblz4, quick reset", Box::new(LibLz4::quick_reset()), &pages, rounds);
        for lzo in [CodecName::Lzo, CodecName::LzoRle] {
            if let Some(rival) = LibLzo2::open() {
                both_ways(name, lzo, "liblzo2 lzo1x_1", Box::new(rival), &pages, rounds);
            }
        }
    }
    println!("\n| corpus | compressor | compress MB/s | decompress MB/s |\n|---|---|---|---|");
    for corpus in &corpora {
        absolute(&corpus.name, &corpus.pages(), if quick { 1 } else { 3 });
    }
}
