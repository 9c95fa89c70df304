//! What the stores cost beyond the codec, on one thread with memory touched.
//!
//! `cargo bench -p kcompressd-benches --bench store [-- --quick] [PAGES[.zst] …]`: nanoseconds a page of storing blocks that
//! are compressed already (limits, allocation, copy, entry, LRU, charge, counters), and loading beside the bare decoder
//! on the same blocks, in alternating pairs of 64 pages.
//!
//! Every round fills a fresh store whose arena is resident before the clock starts; the tables grow while it runs.
//! A block is copied to where a codec would have left it, in the cache, before it is stored; what the copy costs is
//! measured by itself and taken off. Loads come in one shuffled order, the same for both sides.
//! Times are the thread's CPU time. `--count` runs one round of stores
//! alone, for `ci/callgrind.sh`, which counts the instructions of [`count_zswap_store`] and [`count_zram_write`].

use kcompressd_benches::pages::corpora;
use kcompressd_benches::ratio::{Pairs, quartiles};
use kcompressd_core::codec::{CodecName, CodecSpec, Codecs};
use kcompressd_core::driver::live::cpu_ns;
use kcompressd_core::memcg::Memcgs;
use kcompressd_core::units::PAGE_SIZE;
use kcompressd_core::zram::{Data, Zram};
use kcompressd_core::zsmalloc::{Pool, PoolConfig, Unlimited};
use kcompressd_core::zswap::{Block, Form, Zswap, ZswapConfig};
use std::hint::black_box;

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

    /// Copies a block, or the page where there is none (`None`), to `buffer`.
    #[inline(always)]
    fn copy(&self, slot: usize, buffer: &mut [u8; PAGE_SIZE]) -> Option<usize> {
        match &self.blocks[slot] {
            Some(block) => {
                buffer[..block.len()].copy_from_slice(block);
                Some(block.len())
            }
            None => {
                buffer.copy_from_slice(self.pages[slot]);
                None
            }
        }
    }

    /// Stores all blocks as they lie.
    fn store_all(&self, mut store: impl FnMut(usize, Option<&[u8]>, &[u8])) {
        let all = self.blocks.iter().zip(&self.pages).enumerate();
        all.for_each(|(slot, (block, page))| store(slot, block.as_deref(), page));
    }

    /// All slots in an order that no prefetcher knows, the same in every run.
    fn shuffled(&self) -> Vec<usize> {
        let key = |&slot: &usize| (slot as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23);
        let mut slots: Vec<usize> = (0..self.pages.len()).collect();
        slots.sort_by_key(key);
        slots
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
        zswap.current_pool().prefault(pages * PAGE_SIZE).expect("memory");
        Self { zswap, memcgs: Memcgs::new(PAGE_SIZE) }
    }

    /// Everything that a store of one page does after its compression, which left `block` (`None`: it did not shrink).
    #[inline(always)]
    fn store(&self, slot: usize, block: Option<&[u8]>, page: &[u8]) {
        let (zswap, memcgs) = (&self.zswap, &self.memcgs);
        let pool = zswap.store_begin(memcgs, 0).expect("room");
        let contents = match zswap.form(pool, block.map(|block| block.len() as u32), true) {
            Form::Block(len) => Block { len, bytes: block, raw: false },
            Form::Raw => Block { len: PAGE_SIZE, bytes: Some(page), raw: true },
            Form::Refused => unreachable!("6.18 keeps what does not compress"),
        };
        zswap.store_page(slot as u32, pool, contents, memcgs, &Unlimited).expect("memory");
        zswap.store_publish(slot as u32, slot as u32, memcgs, 0, 0);
        zswap.store_end(pool);
    }
}

fn zram(blocks: &Blocks<'_>) -> Zram {
    let pool = Pool::new(PoolConfig::default()).expect("valid");
    pool.prefault(blocks.pages.len() * PAGE_SIZE).expect("memory");
    Zram::new(pool, blocks.pages.len() as u32, 0)
}

#[inline(always)]
fn write(zram: &Zram, slot: usize, block: Option<&[u8]>, page: &[u8]) {
    let data = Data::Block { len: block.map(<[u8]>::len), bytes: block, page: Some(page) };
    black_box(zram.write(slot as u32, data, &Unlimited).expect("memory"));
}

/// Nanoseconds a page of `work`, for each batch of `slots`.
fn batches(slots: &[usize], mut work: impl FnMut(usize)) -> Vec<f64> {
    slots.chunks(BATCH).map(|batch| time(batch, &mut work)).collect()
}

fn time(batch: &[usize], work: &mut impl FnMut(usize)) -> f64 {
    let start = cpu_ns();
    batch.iter().for_each(|&slot| work(slot));
    (cpu_ns() - start) as f64 / batch.len() as f64
}

/// Nanoseconds a page of `store`, for each batch, less what it costs to bring the blocks to the cache.
fn beyond_copy(blocks: &Blocks<'_>, mut store: impl FnMut(usize, Option<&[u8]>, &[u8])) -> Vec<f64> {
    let slots: Vec<usize> = (0..blocks.pages.len()).collect();
    let (mut bare_buffer, mut buffer) = ([0; PAGE_SIZE], [0; PAGE_SIZE]);
    let mut bare = |slot: usize| {
        black_box(blocks.copy(slot, &mut bare_buffer));
    };
    let mut work = |slot: usize| match blocks.copy(slot, &mut buffer) {
        Some(len) => store(slot, Some(&buffer[..len]), blocks.pages[slot]),
        None => store(slot, None, &buffer),
    };
    let one = |batch: &[usize]| {
        time(batch, &mut bare); // so that both find the blocks in the same cache
        let copies = time(batch, &mut bare);
        time(batch, &mut work) - copies
    };
    slots.chunks(BATCH).map(one).collect()
}

/// Stores everything in `rounds` fresh, prefaulted stores; prints a row for each kind, and one for
/// copying the blocks to memory that is resident but cold, which both kinds must do.
fn stores(corpus: &str, blocks: &Blocks<'_>, rounds: usize) {
    let row = |store: &str, round: &dyn Fn() -> Vec<f64>| {
        let [low, median, high] = quartiles((0..rounds).flat_map(|_| round()));
        println!("| {corpus} | {} | {store} | {median:.0} | {low:.0} to {high:.0} |", blocks.spec.name());
    };
    row("zswap", &|| {
        let swap = Swap::new(blocks);
        beyond_copy(blocks, |slot, block, page| swap.store(slot, block, page))
    });
    row("zram", &|| {
        let zram = zram(blocks);
        beyond_copy(blocks, |slot, block, page| write(&zram, slot, block, page))
    });
    row("the copy alone", &|| {
        let (mut memory, mut at) = (vec![1; blocks.pages.len() * PAGE_SIZE], 0);
        beyond_copy(blocks, |_, block, page| {
            let contents = block.unwrap_or(page);
            memory[at..at + contents.len()].copy_from_slice(contents);
            at += contents.len();
        })
    });
}

/// Loads everything from zswap beside decoding the same blocks from a vector; prints a row.
fn loads(corpus: &str, blocks: &Blocks<'_>, rounds: usize) {
    let swap = Swap::new(blocks);
    blocks.store_all(|slot, block, page| swap.store(slot, block, page));
    let slots = blocks.shuffled();
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
            (batches(&slots, &mut load), batches(&slots, &mut bare))
        } else {
            let theirs = batches(&slots, &mut bare);
            (batches(&slots, &mut load), theirs)
        };
        ours.into_iter().zip(theirs).for_each(|(ours, theirs)| pairs.push(ours, theirs));
    }
    let ((ours, theirs), [low, ratio, high]) = (pairs.medians(), pairs.ratio());
    println!("| {corpus} | {} | {ours:.0} | {theirs:.0} | {ratio:.2} ({low:.2} to {high:.2}) |", blocks.spec.name());
}

/// One round of zswap stores, for callgrind.
#[inline(never)]
fn count_zswap_store(swap: &Swap, blocks: &Blocks<'_>) {
    blocks.store_all(|slot, block, page| swap.store(slot, block, page));
}

/// One round of zram writes, for callgrind.
#[inline(never)]
fn count_zram_write(zram: &Zram, blocks: &Blocks<'_>) {
    blocks.store_all(|slot, block, page| write(zram, slot, block, page));
}

/// A round of each; prints how many pages it had.
fn count(blocks: &Blocks<'_>) {
    count_zswap_store(&Swap::new(blocks), blocks);
    count_zram_write(&zram(blocks), blocks);
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
