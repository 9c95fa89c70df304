//! Our LZ4 beside liblz4 on real pages: `cargo run --release --example lz4_speed -- PAGES[.zst] [ROUNDS]`.
//!
//! All lanes run on the same pages in turn, run by run of 256 pages; each run's time is its median over the rounds,
//! so that what a busy machine takes away counts little. The ratios hold better than the absolute figures. liblz4
//! runs twice: with a state cleared for each page (as the kernel does) and with its quick reset.

use kcompressd_core::codec::lz4::Lz4;
use kcompressd_core::codec::{Compressor, same_filled};
use std::ffi::{c_char, c_int, c_void};
use std::hint::black_box;
use std::time::{Duration, Instant};

const PAGE_SIZE: usize = 4096;
const RUN_PAGES: usize = 256;
const BLOCK_BYTES: usize = 2 * PAGE_SIZE;

type Encode = unsafe extern "C" fn(*mut c_void, *const c_char, *mut c_char, c_int, c_int, c_int) -> c_int;

// liblz4's public lz4.h, linked by lz4-sys, which does not declare these.
unsafe extern "C" {
    fn LZ4_sizeofState() -> c_int;
    fn LZ4_compress_fast_extState(
        state: *mut c_void,
        src: *const c_char,
        dst: *mut c_char,
        src_bytes: c_int,
        dst_bytes: c_int,
        acceleration: c_int,
    ) -> c_int;
    fn LZ4_compress_fast_extState_fastReset(
        state: *mut c_void,
        src: *const c_char,
        dst: *mut c_char,
        src_bytes: c_int,
        dst_bytes: c_int,
        acceleration: c_int,
    ) -> c_int;
}

/// liblz4 with a state of its own, behind our trait.
struct LibLz4 {
    state: Vec<u64>,
    encode: Encode,
}

impl LibLz4 {
    fn new(encode: Encode) -> Self {
        // SAFETY: a function of no arguments that returns a constant.
        let bytes = unsafe { LZ4_sizeofState() } as usize;
        Self { state: vec![0; bytes.div_ceil(8)], encode }
    }
}

impl Compressor for LibLz4 {
    fn compress(&mut self, src: &[u8], dst: &mut [u8]) -> Option<usize> {
        let (from, to) = (src.as_ptr().cast(), dst.as_mut_ptr().cast());
        let (src_bytes, dst_bytes) = (src.len() as c_int, dst.len() as c_int);
        // SAFETY: the state has the library's size and was zeroed or used by it; lengths are the slices'.
        let bytes = unsafe { (self.encode)(self.state.as_mut_ptr().cast(), from, to, src_bytes, dst_bytes, 1) };
        (bytes > 0).then_some(bytes as usize)
    }

    fn decompress(&mut self, src: &[u8], dst: &mut [u8]) -> Result<(), kcompressd_core::codec::DecodeError> {
        let (from, to) = (src.as_ptr().cast(), dst.as_mut_ptr().cast());
        // SAFETY: lengths are the slices'.
        let bytes = unsafe { lz4_sys::LZ4_decompress_safe(from, to, src.len() as c_int, dst.len() as c_int) };
        assert_eq!(bytes, dst.len() as c_int);
        Ok(())
    }
}

/// One codec's own blocks, and the times it took for each run, by direction.
struct Lane {
    name: &'static str,
    codec: Box<dyn Compressor>,
    blocks: Vec<Vec<u8>>,
    times: [Vec<Vec<Duration>>; 2],
}

impl Lane {
    fn new(name: &'static str, mut codec: Box<dyn Compressor>, pages: &[&[u8]]) -> Self {
        let mut block = [0; BLOCK_BYTES];
        let mut pack = |page: &&[u8]| {
            let bytes = codec.compress(page, &mut block).expect("two pages hold any block");
            block[..bytes].to_vec()
        };
        let blocks = pages.iter().map(&mut pack).collect();
        let runs = vec![Vec::new(); pages.len().div_ceil(RUN_PAGES)];
        Self { name, codec, blocks, times: [runs.clone(), runs] }
    }

    fn encode(&mut self, run: usize, pages: &[&[u8]]) {
        let mut block = [0; BLOCK_BYTES];
        let start = Instant::now();
        for page in pages {
            black_box(self.codec.compress(page, &mut block));
        }
        self.times[0][run].push(start.elapsed());
    }

    fn decode(&mut self, run: usize, count: usize) {
        let mut page = [0; PAGE_SIZE];
        let start = Instant::now();
        for block in &self.blocks[run * RUN_PAGES..][..count] {
            self.codec.decompress(block, &mut page).expect("its own block");
            black_box(&page);
        }
        self.times[1][run].push(start.elapsed());
    }
}

fn read(path: &str) -> Vec<u8> {
    let file = std::fs::read(path).expect("readable page file");
    if !path.ends_with(".zst") {
        return file;
    }
    let mut raw = Vec::with_capacity(256 << 20);
    zstd_safe::decompress(&mut raw, &file).expect("at most 256 MiB of zstd");
    raw
}

fn round(lanes: &mut [Lane; 3], pages: &[&[u8]], turn: usize) {
    for (run, run_pages) in pages.chunks(RUN_PAGES).enumerate() {
        for i in 0..lanes.len() {
            let lane = &mut lanes[(i + run + turn) % 3];
            lane.encode(run, run_pages);
            lane.decode(run, run_pages.len());
        }
    }
}

/// Seconds for all pages: the sum of the runs' medians.
fn seconds(runs: &mut [Vec<Duration>]) -> f64 {
    let median = |times: &mut Vec<Duration>| {
        times.sort();
        times[times.len() / 2].as_secs_f64()
    };
    runs.iter_mut().map(median).sum()
}

fn main() {
    let mut args = std::env::args().skip(1);
    let path = args.next().expect("usage: lz4_speed PAGES[.zst] [ROUNDS]");
    let rounds: usize = args.next().map_or(15, |n| n.parse().expect("ROUNDS is a number"));
    let raw = read(&path);
    let pages: Vec<&[u8]> = raw.chunks_exact(PAGE_SIZE).filter(|page| same_filled(page).is_none()).collect();
    let mut lanes = [
        Lane::new("ours", Box::new(Lz4::new(1)), &pages),
        Lane::new("liblz4", Box::new(LibLz4::new(LZ4_compress_fast_extState)), &pages),
        Lane::new("liblz4 quick reset", Box::new(LibLz4::new(LZ4_compress_fast_extState_fastReset)), &pages),
    ];
    (0..rounds).for_each(|turn| round(&mut lanes, &pages, turn));
    println!("{} pages, not same-filled; ours is so many times as fast:", pages.len());
    let bytes = (pages.len() * PAGE_SIZE) as f64;
    let all = lanes.each_mut().map(|lane| lane.times.each_mut().map(|runs| seconds(runs)));
    for (lane, [encode, decode]) in lanes.iter().zip(all) {
        let (rate, rate_back) = (bytes / encode / 1e6, bytes / decode / 1e6);
        let (faster, faster_back) = (encode / all[0][0], decode / all[0][1]);
        println!(
            "{:20} compress {rate:6.0} MB/s ({faster:.2} x)  decompress {rate_back:6.0} MB/s ({faster_back:.2} x)",
            lane.name
        );
    }
}
