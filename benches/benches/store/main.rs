//! What the stores cost beyond the codec, on one thread with memory touched.
//!
//! `cargo bench -p kcompressd-benches --bench store [-- --quick] [PAGES[.zst] …]`: nanoseconds a page of storing blocks that
//! are compressed already (limits, allocation, copy, entry, LRU, charge, counters), and loading beside the bare decoder
//! on the same blocks, in alternating pairs of 64 pages.
//!
//! Stored once and emptied before the first measurement, so that neither the arena nor the tables meet a page fault.
//! The blocks come from memory that is colder than a codec's own output would be. `--count` runs one round of stores
//! alone, for `ci/callgrind.sh`, which counts the instructions of [`count_zswap_store`] and [`count_zram_write`].

use kcompressd_benches::pages::corpora;
use kcompressd_benches::ratio::{Pairs, quartiles};
use kcompressd_core::codec::{CodecName, CodecSpec, Codecs};
use kcompressd_core::memcg::Memcgs;
use kcompressd_core::units::PAGE_SIZE;
use kcompressd_core::zram::{Data, Zram};
use kcompressd_core::zsmalloc::{Pool, PoolConfig, Unlimited};
use kcompressd_core::zswap::{Block, Form, Zswap, ZswapConfig};
use std::hint::black_box;
use std::time::Instant;

/// Pages timed at once: long enough that reading the clock does not count.
const BATCH: usize = 64;
const COMPRESSORS: [CodecName; 3] = [CodecName::Lz4, CodecName::LzoRle, CodecName::Zstd];

/// One corpus, compressed.
struct Blocks<'a> {
    spec: CodecSpec,
    pages: Vec<&'a [u8]>,
    /// `None`: not smaller than the page.
    blocks: Vec<Option<Vec<u8>>>,
}

impl<'a> Blocks<'a> {
    fn new(name: CodecName, pages: Vec<&'a [u8]>) -> Self {
        let spec = CodecSpec::new(name, None).expect("a default level");
        let (mut codec, mut buffer) = (spec.open(), [0; 2 * PAGE_SIZE]);
        let mut pack = |page: &&[u8]| codec.compress(page, &mut buffer).map(|len| buffer[..len].to_vec());
        let blocks = pages.iter().map(&mut pack).map(|block| block.filter(|block| block.len() < PAGE_SIZE)).collect();
        Self { spec, pages, blocks }
    }

    fn slots(&self) -> std::ops::Range<usize> {
        0..self.pages.len()
    }
}

/// A zswap with room for everything.
struct Swap {
    zswap: Zswap,
    memcgs: Memcgs,
}

impl Swap {
    fn new(blocks: &Blocks<'_>) -> Self {
        let pages = blocks.pages.len();
        let config = ZswapConfig {
            total_ram_pages: 4 * pages as u64,
            max_pool_percent: 100,
            accept_threshold_percent: 90,
            shrinker_enabled: false,
            kernel: (6, 18),
            codec: blocks.spec,
            pool: PoolConfig::default(),
            slots: pages as u32,
            nodes: 1,
        };
        let zswap = Zswap::new(config, 1).expect("valid");
        zswap.current_pool().prefault(pages * PAGE_SIZE + (16 << 20)).expect("memory");
        Self { zswap, memcgs: Memcgs::new(PAGE_SIZE) }
    }

    /// Everything that a store of one page does after its compression.
    #[inline(always)]
    fn store(&self, slot: usize, blocks: &Blocks<'_>) {
        let (zswap, memcgs, block) = (&self.zswap, &self.memcgs, &blocks.blocks[slot]);
        let pool = zswap.store_begin(memcgs, 0).expect("room");
        let contents = match zswap.form(block.as_ref().map(|block| block.len() as u32), true) {
            Form::Block(len) => Block { len, bytes: block.as_deref(), raw: false },
            Form::Raw => Block { len: PAGE_SIZE, bytes: Some(blocks.pages[slot]), raw: true },
            Form::Refused => unreachable!("6.18 keeps what does not compress"),
        };
        zswap.store_page(slot as u32, pool, contents, memcgs, &Unlimited).expect("memory");
        zswap.store_publish(slot as u32, slot as u32, memcgs, 0, 0);
        zswap.store_end(pool);
    }

    fn empty(&self, blocks: &Blocks<'_>) {
        blocks.slots().for_each(|slot| self.zswap.invalidate(slot as u32, &self.memcgs, &Unlimited));
    }
}

fn zram(blocks: &Blocks<'_>) -> Zram {
    let pool = Pool::new(PoolConfig::default()).expect("valid");
    pool.prefault(blocks.pages.len() * PAGE_SIZE + (16 << 20)).expect("memory");
    Zram::new(pool, blocks.pages.len() as u32, 0)
}

#[inline(always)]
fn write(zram: &Zram, slot: usize, blocks: &Blocks<'_>) {
    let block = blocks.blocks[slot].as_deref();
    let data = Data::Block { len: block.map(<[u8]>::len), bytes: block, page: Some(blocks.pages[slot]) };
    black_box(zram.write(slot as u32, data, &Unlimited).expect("memory"));
}

/// Nanoseconds a page of `work`, for each batch of slots.
fn batches(blocks: &Blocks<'_>, mut work: impl FnMut(usize)) -> Vec<f64> {
    let slots: Vec<usize> = blocks.slots().collect();
    let time = |batch: &[usize]| {
        let start = Instant::now();
        batch.iter().for_each(|&slot| work(slot));
        start.elapsed().as_secs_f64() * 1e9 / batch.len() as f64
    };
    slots.chunks(BATCH).map(time).collect()
}

/// Stores everything `rounds` times, emptying in between; prints a row.
fn stores(corpus: &str, blocks: &Blocks<'_>, rounds: usize) {
    let row = |store: &str, work: &mut dyn FnMut(usize), empty: &mut dyn FnMut()| {
        let mut times = Vec::new();
        for round in 0..=rounds {
            let these = batches(blocks, &mut *work);
            if round > 0 {
                times.extend(these);
            }
            empty();
        }
        let [low, median, high] = quartiles(times.into_iter());
        println!("| {corpus} | {} | {store} | {median:.0} | {low:.0} to {high:.0} |", blocks.spec.name());
    };
    let (swap, zram) = (Swap::new(blocks), zram(blocks));
    row("zswap", &mut |slot| swap.store(slot, blocks), &mut || swap.empty(blocks));
    let free = &mut || blocks.slots().for_each(|slot| zram.free(slot as u32, &Unlimited));
    row("zram", &mut |slot| write(&zram, slot, blocks), free);
}

/// Loads everything from zswap beside decoding the same blocks from a vector; prints a row.
fn loads(corpus: &str, blocks: &Blocks<'_>, rounds: usize) {
    let swap = Swap::new(blocks);
    blocks.slots().for_each(|slot| swap.store(slot, blocks));
    let (mut codec, mut codecs) = (blocks.spec.open(), Codecs::default());
    let (mut buffer, mut page) = ([0; 2 * PAGE_SIZE], [0; PAGE_SIZE]);
    let mut load = |slot: usize| {
        swap.zswap.load(slot as u32, &mut codecs, &mut buffer, &mut page).expect("its own block");
        black_box(&page);
    };
    let mut bare_page = [0; PAGE_SIZE];
    let mut bare = |slot: usize| {
        match &blocks.blocks[slot] {
            Some(block) => codec.decompress(block, &mut bare_page).expect("its own block"),
            None => bare_page.copy_from_slice(blocks.pages[slot]),
        }
        black_box(&bare_page);
    };
    let mut pairs = Pairs::default();
    for round in 0..2 * rounds {
        let (ours, theirs) = if round % 2 == 0 {
            (batches(blocks, &mut load), batches(blocks, &mut bare))
        } else {
            let theirs = batches(blocks, &mut bare);
            (batches(blocks, &mut load), theirs)
        };
        ours.into_iter().zip(theirs).for_each(|(ours, theirs)| pairs.push(ours, theirs));
    }
    let ((ours, theirs), [low, ratio, high]) = (pairs.medians(), pairs.ratio());
    println!("| {corpus} | {} | {ours:.0} | {theirs:.0} | {ratio:.2} ({low:.2} to {high:.2}) |", blocks.spec.name());
}

/// One round of zswap stores, for callgrind.
#[inline(never)]
fn count_zswap_store(swap: &Swap, blocks: &Blocks<'_>) {
    blocks.slots().for_each(|slot| swap.store(slot, blocks));
}

/// One round of zram writes, for callgrind.
#[inline(never)]
fn count_zram_write(zram: &Zram, blocks: &Blocks<'_>) {
    blocks.slots().for_each(|slot| write(zram, slot, blocks));
}

/// A round of each, after one that touches the memory; prints how many pages each had.
fn count(blocks: &Blocks<'_>) {
    let (swap, zram) = (Swap::new(blocks), zram(blocks));
    for slot in blocks.slots() {
        swap.store(slot, blocks);
        write(&zram, slot, blocks);
    }
    swap.empty(blocks);
    blocks.slots().for_each(|slot| zram.free(slot as u32, &Unlimited));
    count_zswap_store(&swap, blocks);
    count_zram_write(&zram, blocks);
    println!("{}", blocks.pages.len());
}

fn main() {
    let has = |flag: &str| std::env::args().any(|arg| arg == flag);
    let corpora = corpora();
    if has("--count") {
        return count(&Blocks::new(CodecName::Lz4, corpora[0].pages()));
    }
    let rounds = if has("--quick") { 2 } else { 10 };
    let mut all: Vec<_> = Vec::new();
    for corpus in &corpora {
        all.extend(COMPRESSORS.map(|name| (corpus.name.as_str(), Blocks::new(name, corpus.pages()))));
    }
    println!("| corpus | compressor | store | ns a page beyond the codec | quartiles |\n|---|---|---|---|---|");
    all.iter().for_each(|(corpus, blocks)| stores(corpus, blocks, rounds));
    println!(
        "\n| corpus | compressor | zswap load, ns a page | bare decoder | ratio (quartiles) |\n|---|---|---|---|---|"
    );
    all.iter().for_each(|(corpus, blocks)| loads(corpus, blocks, rounds));
}
