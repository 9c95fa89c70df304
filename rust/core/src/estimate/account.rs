//! The accounting half: sizes in, the stores' counters out.

use super::measure::{CodecPages, Same};
use crate::stats::PageNs;
use crate::zram::{Data, MmStat, Zram};
use crate::zsmalloc::{ConfigError, Pool, PoolConfig, Unlimited};

/// What zswap's pool would hold of the pages, if nothing were refused or written back (names of its debugfs files).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ZswapPool {
    /// Pages stored: all but those of zeroes.
    pub stored_pages: u64,
    /// Bytes of the pool's zspages.
    pub pool_total_size: u64,
    /// Pages that no compression made smaller: stored as they are from 6.18 on, refused before.
    pub stored_incompressible_pages: u64,
    /// Pages of zeroes, which the swap path's zeromap keeps.
    pub zero_pages: u64,
}

/// How fast one core was.
#[derive(Clone, Debug, Default)]
pub struct Rate {
    /// Bytes of pages per second, 0 when no page was timed.
    pub bytes_per_s: f64,
    /// Time of a page.
    pub page_ns: PageNs,
}

impl Rate {
    fn of(page_size: usize, times: impl Iterator<Item = u32>) -> Self {
        let (mut rate, mut ns, mut pages) = (Self::default(), 0u64, 0u64);
        for time in times {
            rate.page_ns.record_many(u64::from(time), 1);
            ns += u64::from(time);
            pages += 1;
        }
        if ns > 0 {
            rate.bytes_per_s = (pages * page_size as u64) as f64 * 1e9 / ns as f64;
        }
        rate
    }
}

/// One compressor's account.
#[derive(Clone, Debug)]
pub struct Account {
    /// zram's, of a fresh device that got the pages in order from one writer.
    pub mm_stat: MmStat,
    /// What each page was charged to `compr_data_size`: 0 same-filled, a page's size when stored raw.
    pub charged: Vec<u32>,
    /// zswap's.
    pub zswap: ZswapPool,
    /// Compression of every page that was compressed for zram.
    pub compress: Rate,
    /// Decompression of every page that zram keeps compressed.
    pub decompress: Rate,
}

/// Accounts for pages of `page_size` bytes of which `same` says what [`Same`] does and `codec` has the figures, over
/// zspages of at most `chain_size` pages.
///
/// # Errors
/// [`ConfigError`] for a page size or chain size that no kernel has.
///
/// # Panics
/// If the slices are not of one length, or longer than zram has slots.
pub fn account(page_size: usize, chain_size: usize, same: &[u8], codec: &CodecPages) -> Result<Account, ConfigError> {
    let CodecPages { size, compress_ns, decompress_ns } = codec;
    assert!([size.len(), compress_ns.len(), decompress_ns.len()] == [same.len(); 3], "one figure of a kind a page");
    let (mm_stat, charged) = zram(pool(page_size, chain_size)?, same, size);
    let is_same = |at: usize| same[at] != Same::No as u8;
    let is_raw = |at: usize| charged[at] as usize == page_size;
    let compressed = (0..same.len()).filter(|&at| !is_same(at));
    let kept = (0..same.len()).filter(|&at| !is_same(at) && !is_raw(at));
    Ok(Account {
        compress: Rate::of(page_size, compressed.map(|at| compress_ns[at])),
        decompress: Rate::of(page_size, kept.map(|at| decompress_ns[at])),
        zswap: zswap(&pool(page_size, chain_size)?, same, size),
        mm_stat,
        charged,
    })
}

fn pool(page_size: usize, chain_size: usize) -> Result<Pool, ConfigError> {
    Pool::new(PoolConfig { page_size, chain_size, bytes: false })
}

fn zram(pool: Pool, same: &[u8], size: &[u32]) -> (MmStat, Vec<u32>) {
    let slots = u32::try_from(same.len()).expect("a zram device has at most 2^32 slots");
    let zram = Zram::new(pool, slots, 0);
    let write = |slot: u32| {
        let at = slot as usize;
        let data = match same[at] == Same::No as u8 {
            true => Data::Block { len: Some(size[at] as usize), bytes: None, page: None },
            // Which word it is changes no counter.
            false => Data::Same(0),
        };
        zram.write(slot, data, &Unlimited).expect("there is no limit") as u32
    };
    let charged = (0..slots).map(write).collect();
    (zram.mm_stat(), charged)
}

fn zswap(pool: &Pool, same: &[u8], size: &[u32]) -> ZswapPool {
    let page_size = pool.table().page_size();
    let mut found = ZswapPool::default();
    for (&same, &size) in same.iter().zip(size) {
        if same == Same::Zero as u8 {
            found.zero_pages += 1;
            continue;
        }
        let raw = size as usize >= page_size;
        pool.malloc(if raw { page_size } else { size as usize }, &Unlimited).expect("1 to a page's bytes, no limit");
        found.stored_pages += 1;
        found.stored_incompressible_pages += u64::from(raw);
    }
    found.pool_total_size = (pool.total_pages() * page_size) as u64;
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(size: &[u32]) -> CodecPages {
        let ns = |each: u32| vec![each; size.len()];
        CodecPages { size: size.to_vec(), compress_ns: ns(4096), decompress_ns: ns(1024) }
    }

    #[test]
    fn each_kind_of_page_is_charged_as_the_kernel_does() {
        // Zeroes, a repeated word, the largest block that is not huge, the smallest that is, one beyond a page.
        let found = account(4096, 8, &[2, 1, 0, 0, 0], &figures(&[0, 50, 3624, 3625, 8192])).unwrap();
        assert_eq!(found.charged, [0, 0, 3624, 4096, 4096]);
        let stat = found.mm_stat;
        assert_eq!((stat.orig_data_size, stat.compr_data_size), (5 * 4096, 3624 + 2 * 4096));
        assert_eq!((stat.same_pages, stat.huge_pages, stat.mem_used_total), (2, 2, (8 + 2) * 4096));
        let zswap = found.zswap;
        assert_eq!((zswap.zero_pages, zswap.stored_pages, zswap.stored_incompressible_pages), (1, 4, 1));
        assert_eq!(zswap.pool_total_size, (1 + 8 + 8 - 8 + 1 + 1) * 4096);
        assert_eq!((found.compress.bytes_per_s, found.decompress.bytes_per_s), (1e9, 4e9));
        let counts = [found.compress, found.decompress].map(|rate| rate.page_ns.summary()[6].1);
        assert_eq!(counts, [3, 1]);
    }

    #[test]
    fn no_page_gives_no_rate() {
        let found = account(4096, 8, &[], &figures(&[])).unwrap();
        assert_eq!((found.mm_stat, found.compress.bytes_per_s), (MmStat::default(), 0.0));
    }

    #[test]
    fn a_chain_that_no_kernel_has_is_refused() {
        assert_eq!(account(4096, 3, &[], &figures(&[])).unwrap_err(), ConfigError::ChainSize(3));
    }
}
