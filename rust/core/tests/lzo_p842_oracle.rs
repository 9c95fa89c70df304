//! `lzo`, `lzo-rle` and `842` against a real kernel: the size that its zram charged for every page of two corpora.
//!
//! `lzo_p842_sizes.u16.zst` holds 4096 little-endian 16-bit sizes for each of [`COLUMNS`]: zram's `compr_data_size` by
//! page (Linux 6.12.117; lzo and lzo-rle give the same on 6.18). 0 is a same-filled page, 4096 one stored raw. The
//! pages themselves are not part of this repository: their folder is `$KCOMPRESSD_SHARED`, else `../shared`.

use kcompressd_core::codec::{Compressor, lzo::Lzo, p842::P842};
use std::path::PathBuf;

const COLUMNS: [&str; 6] = ["py.lzo", "py.lzo-rle", "node.lzo", "node.lzo-rle", "py.842", "node.842"];

const PAGE: usize = 4096;
const PAGES: usize = 4096;
/// A compressed page of this size or more is stored raw (zsmalloc's huge threshold with chain size 8).
const HUGE: usize = 3625;

fn shared() -> Option<PathBuf> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared");
    let folder = std::env::var_os("KCOMPRESSD_SHARED").map_or_else(|| beside.into(), PathBuf::from);
    folder.join("corpora").is_dir().then_some(folder)
}

fn unzstd(packed: &[u8], bytes: usize) -> Vec<u8> {
    let mut raw = vec![0; bytes];
    assert_eq!(zstd_safe::decompress(&mut raw[..], packed), Ok(bytes));
    raw
}

fn kernel_sizes(name: &str) -> Vec<usize> {
    let column = COLUMNS.iter().position(|&c| c == name).expect("a column");
    let raw = unzstd(include_bytes!("lzo_p842_sizes.u16.zst"), COLUMNS.len() * PAGES * 2);
    raw[column * PAGES * 2..][..PAGES * 2].chunks(2).map(|b| usize::from(u16::from_le_bytes([b[0], b[1]]))).collect()
}

/// Bytes that the kernel would charge for `page`, which is also decoded again.
fn charged(codec: &mut impl Compressor, page: &[u8]) -> usize {
    let mut block = [0; 2 * PAGE];
    let size = codec.compress(page, &mut block).expect("two pages hold any block");
    let mut back = [0; PAGE];
    codec.decompress(&block[..size], &mut back).expect("own block");
    assert!(back == page, "round trip");
    if size < HUGE { size } else { PAGE }
}

fn compare(corpus: &str, compressor: &str, mut codec: impl Compressor) {
    let Some(folder) = shared() else {
        println!("skipped: no folder with corpora (KCOMPRESSD_SHARED, ../shared)");
        return;
    };
    let packed = std::fs::read(folder.join(format!("corpora/{corpus}.pages.zst"))).expect("corpus");
    let pages = unzstd(&packed, PAGE * PAGES);
    let differ: Vec<_> = pages
        .chunks(PAGE)
        .zip(kernel_sizes(&format!("{corpus}.{compressor}")))
        .enumerate()
        .filter(|&(_, (_, kernel))| kernel != 0)
        .map(|(i, (page, kernel))| (i, charged(&mut codec, page), kernel))
        .filter(|&(_, ours, kernel)| ours != kernel)
        .collect();
    assert!(differ.is_empty(), "(page, ours, kernel's): {differ:?}");
}

#[test]
fn sizes_equal_the_kernels_on_py() {
    compare("py", "lzo", Lzo::new(false));
    compare("py", "lzo-rle", Lzo::new(true));
    compare("py", "842", P842::new());
}

#[test]
fn sizes_equal_the_kernels_on_node() {
    compare("node", "lzo", Lzo::new(false));
    compare("node", "lzo-rle", Lzo::new(true));
    compare("node", "842", P842::new());
}
