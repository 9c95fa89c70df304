//! `lzo` and `lzo-rle` against a real kernel: the size that its zram charged for every page of two corpora.
//!
//! `lzo_sizes.u16.zst` holds, for py.lzo, py.lzo-rle, node.lzo, node.lzo-rle, 4096 little-endian 16-bit sizes: zram's
//! `compr_data_size` by page (Linux 6.12.117; 6.18 gives the same). 0 is a same-filled page, 4096 one stored raw. The
//! pages themselves are not part of this repository: the folder is `$KCOMPRESSD_SHARED`, else `../shared`.

use kcompressd_core::codec::{Compressor, lzo::Lzo};
use std::path::PathBuf;

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

fn kernel_sizes(column: usize) -> Vec<usize> {
    let raw = unzstd(include_bytes!("lzo_sizes.u16.zst"), 4 * PAGES * 2);
    raw[column * PAGES * 2..][..PAGES * 2].chunks(2).map(|b| usize::from(u16::from_le_bytes([b[0], b[1]]))).collect()
}

/// Bytes that the kernel would charge for `page`, which is also decoded again.
fn charged(codec: &mut Lzo, page: &[u8]) -> usize {
    let mut block = [0; 2 * PAGE];
    let size = codec.compress(page, &mut block).expect("two pages hold any block");
    let mut back = [0; PAGE];
    codec.decompress(&block[..size], &mut back).expect("own block");
    assert!(back == page, "round trip");
    if size < HUGE { size } else { PAGE }
}

fn compare(corpus: &str, rle: bool, column: usize) {
    let Some(folder) = shared() else {
        println!("skipped: no folder with corpora (KCOMPRESSD_SHARED, ../shared)");
        return;
    };
    let packed = std::fs::read(folder.join(format!("corpora/{corpus}.pages.zst"))).expect("corpus");
    let pages = unzstd(&packed, PAGE * PAGES);
    let mut codec = Lzo::new(rle);
    let kernel = kernel_sizes(column);
    let differ: Vec<_> = pages
        .chunks(PAGE)
        .zip(kernel)
        .enumerate()
        .filter(|&(_, (_, size))| size != 0)
        .map(|(i, (page, size))| (i, charged(&mut codec, page), size))
        .filter(|&(_, ours, kernel)| ours != kernel)
        .collect();
    assert!(differ.is_empty(), "(page, ours, kernel's): {differ:?}");
}

#[test]
fn lzo_sizes_equal_the_kernels_on_py() {
    compare("py", false, 0);
}

#[test]
fn lzo_rle_sizes_equal_the_kernels_on_py() {
    compare("py", true, 1);
}

#[test]
fn lzo_sizes_equal_the_kernels_on_node() {
    compare("node", false, 2);
}

#[test]
fn lzo_rle_sizes_equal_the_kernels_on_node() {
    compare("node", true, 3);
}
