//! Sizes beside a real kernel's: what zram charged for each page of two real processes, compressor by compressor.
//!
//! The pages and the kernel's figures lie outside the repository, in the folder that `KCOMPRESSD_SHARED` names or in
//! `../shared` beside it; without either the tests say that they skipped. Figures: Linux 6.12.117, `compr_data_size`
//! by page.

use kcompressd_core::codec::{CodecSpec, Compressor, same_filled};
use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};

const PAGE_SIZE: usize = 4096;
/// The first size that zsmalloc gives a whole page, for its default chain of 8 pages.
const HUGE_BYTES: usize = 3625;
const CORPORA: [&str; 2] = ["py", "node"];

fn shared() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let folder = std::env::var_os("KCOMPRESSD_SHARED").map_or_else(beside, PathBuf::from);
    let found = folder.join("oracle/zram_page_sizes.npz").is_file();
    if !found {
        println!("skipped: no kernel figures in {}", folder.display());
    }
    found.then_some(folder)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
}

/// The `u16` arrays of an `.npz`: a zip file of `.npy` files, read by its central directory.
fn npz(path: &Path) -> HashMap<String, Vec<u16>> {
    let zip = std::fs::read(path).unwrap();
    let end = zip.windows(4).rposition(|w| w == b"PK\x05\x06").expect("a zip file has an end record");
    let (count, mut at) = (u16_at(&zip, end + 10), u32_at(&zip, end + 16));
    let mut arrays = HashMap::new();
    for _ in 0..count {
        let (method, packed) = (u16_at(&zip, at + 10), u32_at(&zip, at + 20));
        let (name, extra, comment) = (u16_at(&zip, at + 28), u16_at(&zip, at + 30), u16_at(&zip, at + 32));
        let (name, rest, local) = (usize::from(name), usize::from(extra + comment), u32_at(&zip, at + 42));
        let key = String::from_utf8(zip[at + 46..at + 46 + name].to_vec()).unwrap();
        let data = local + 30 + usize::from(u16_at(&zip, local + 26)) + usize::from(u16_at(&zip, local + 28));
        let data = &zip[data..data + packed];
        let mut npy = Vec::new();
        match method {
            0 => npy.extend_from_slice(data),
            _ => drop(flate2::read::DeflateDecoder::new(data).read_to_end(&mut npy).unwrap()),
        }
        arrays.insert(key.trim_end_matches(".npy").to_owned(), npy_u16(&npy));
        at += 46 + name + rest;
    }
    arrays
}

/// The numbers of a version 1 `.npy` file of little-endian `u16`.
fn npy_u16(npy: &[u8]) -> Vec<u16> {
    let body = 10 + usize::from(u16_at(npy, 8));
    assert!(String::from_utf8_lossy(&npy[..body]).contains("<u2"), "the figures are little-endian u16");
    npy[body..].chunks_exact(2).map(|pair| u16_at(pair, 0)).collect()
}

fn pages(folder: &Path, corpus: &str) -> Vec<u8> {
    let packed = std::fs::read(folder.join(format!("corpora/{corpus}.pages.zst"))).unwrap();
    let mut raw = Vec::with_capacity(16 << 20);
    zstd_safe::decompress(&mut raw, &packed).unwrap();
    assert_eq!(raw.len() % PAGE_SIZE, 0);
    raw
}

/// What zram charges for `page`: 0 when same-filled, a whole page when the block is huge. Checks the round trip too.
fn charge(codec: &mut dyn Compressor, page: &[u8]) -> u16 {
    let (mut block, mut back) = ([0; 2 * PAGE_SIZE], [0; PAGE_SIZE]);
    if same_filled(page).is_some() {
        return 0;
    }
    let bytes = codec.compress(page, &mut block).expect("two pages hold any block");
    codec.decompress(&block[..bytes], &mut back).unwrap();
    assert!(page == back, "round trip");
    if bytes >= HUGE_BYTES { PAGE_SIZE as u16 } else { bytes as u16 }
}

/// Compares each page; returns the difference in sum, in parts of a million, and prints the row of the table.
fn compare(name: &str) -> Option<Vec<(usize, f64)>> {
    let folder = shared()?;
    let kernel = npz(&folder.join("oracle/zram_page_sizes.npz"));
    let spec: CodecSpec = name.parse().unwrap();
    let row = |corpus: &str| {
        let (want, raw, mut codec) = (&kernel[&format!("{corpus}.{name}")], pages(&folder, corpus), spec.open());
        let got: Vec<u16> = raw.chunks_exact(PAGE_SIZE).map(|page| charge(codec.as_mut(), page)).collect();
        assert_eq!(got.len(), want.len());
        let differing = got.iter().zip(want).filter(|(a, b)| a != b).count();
        let sum = |sizes: &[u16]| sizes.iter().map(|&s| f64::from(s)).sum::<f64>();
        let (ours, theirs) = (sum(&got), sum(want));
        let off = (ours - theirs) / theirs * 100.0;
        println!("{corpus:5} {name:8} ours {ours:9} kernel {theirs:9} {off:+.4} % pages differing {differing}");
        let torn = got.iter().zip(want).position(|(a, b)| (*a == 0) != (*b == 0));
        assert_eq!(torn, None, "{corpus}: a page that is same-filled here or there, not both");
        (differing, off.abs())
    };
    Some(CORPORA.map(row).into())
}

#[track_caller]
fn exact(rows: Option<Vec<(usize, f64)>>) {
    assert!(rows.into_iter().flatten().all(|(differing, _)| differing == 0), "some sizes are not the kernel's");
}

#[track_caller]
fn within(percent: f64, rows: Option<Vec<(usize, f64)>>) {
    assert!(rows.into_iter().flatten().all(|(_, off)| off <= percent), "the sum is more than {percent} % off");
}

#[test]
fn lz4_has_the_kernels_size_on_every_page() {
    exact(compare("lz4"));
}

#[test]
fn deflate_has_the_kernels_size_on_every_page() {
    exact(compare("deflate"));
}

#[test]
fn zstd_is_within_two_hundredths_of_a_per_cent() {
    within(0.02, compare("zstd"));
}

#[test]
fn lz4hc_is_within_a_tenth_of_a_per_cent() {
    within(0.1, compare("lz4hc"));
}
