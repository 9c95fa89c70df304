//! One thread's bench: a page goes through a compressor and back, and both ways are timed.
//!
//! A block is decompressed right after it was made, so its bytes are warm. A page that took many times what pages take is
//! measured again and the shorter times count: most likely the thread lost its CPU.

use super::measure::{CodecPages, MAX_SIZE_PAGES, MeasureError, Same, Work};
use crate::codec::{CodecSpec, Compressor, DecodeError};
use std::time::{Duration, Instant};

/// A page that takes this many times the mean so far is measured again.
const OUTLIER: u64 = 8;
/// Pages before there is such a mean.
const MEAN_OF: u64 = 16;

/// One chunk's figures.
pub(super) struct Chunk {
    pub first: usize,
    pub same: Vec<u8>,
    pub codecs: Vec<CodecPages>,
}

/// What pages took so far with one compressor, there and back.
#[derive(Clone, Copy, Default)]
struct Usual {
    pages: u64,
    ns: u64,
}

impl Usual {
    fn is_outlier(self, timed: &Timed) -> bool {
        self.pages >= MEAN_OF && timed.total() * self.pages > OUTLIER * self.ns
    }

    fn add(&mut self, timed: &Timed) {
        self.pages += 1;
        self.ns += timed.total();
    }
}

/// One page there and back.
#[derive(Clone, Copy)]
struct Timed {
    size: usize,
    compress_ns: u32,
    decompress_ns: u32,
}

impl Timed {
    fn total(&self) -> u64 {
        u64::from(self.compress_ns) + u64::from(self.decompress_ns)
    }

    fn shorter(self, other: Self) -> Self {
        Self {
            size: self.size,
            compress_ns: self.compress_ns.min(other.compress_ns),
            decompress_ns: self.decompress_ns.min(other.decompress_ns),
        }
    }
}

/// One thread's compressors and buffers.
pub(super) struct Bench<'a> {
    work: &'a Work<'a>,
    codecs: Vec<Box<dyn Compressor>>,
    usual: Vec<Usual>,
    block: Vec<u8>,
    page: Vec<u8>,
}

impl<'a> Bench<'a> {
    pub fn new(work: &'a Work<'a>) -> Self {
        Self {
            work,
            codecs: work.specs.iter().map(CodecSpec::open).collect(),
            usual: vec![Usual::default(); work.specs.len()],
            block: vec![0; MAX_SIZE_PAGES * work.page_size],
            page: vec![0; work.page_size],
        }
    }

    /// Does all compressors' work on the `pages` pages from `first` on.
    pub fn chunk(&mut self, first: usize, pages: usize) -> Result<Chunk, MeasureError> {
        let size = self.work.page_size;
        let bytes = &self.work.pages[first * size..][..pages * size];
        // This test also takes a mapped file's page faults, which no compressor is to pay for.
        let same: Vec<u8> = bytes.chunks_exact(size).map(|page| Same::of(page) as u8).collect();
        let mut codecs = Vec::with_capacity(self.codecs.len());
        for codec in 0..self.codecs.len() {
            let mut figures = CodecPages::default();
            for (at, page) in bytes.chunks_exact(size).enumerate() {
                if same[at] == Same::Zero as u8 {
                    figures.push(0, 0, 0);
                    continue;
                }
                let timed = self.page(codec, page).map_err(|why| self.round_trip(first + at, codec, why))?;
                figures.push(timed.size, timed.compress_ns, timed.decompress_ns);
            }
            codecs.push(figures);
        }
        Ok(Chunk { first, same, codecs })
    }

    /// One page by one compressor and back, twice when it took oddly long.
    fn page(&mut self, codec: usize, page: &[u8]) -> Result<Timed, Option<DecodeError>> {
        let mut timed = self.timed(codec, page)?;
        if self.usual[codec].is_outlier(&timed) {
            timed = timed.shorter(self.timed(codec, page)?);
        }
        self.usual[codec].add(&timed);
        Ok(timed)
    }

    fn timed(&mut self, codec: usize, page: &[u8]) -> Result<Timed, Option<DecodeError>> {
        let codec = &mut self.codecs[codec];
        let begin = Instant::now();
        let len = codec.compress(page, &mut self.block);
        let middle = Instant::now();
        let compress_ns = ns(middle - begin);
        let Some(size) = len else { return Ok(Timed { size: self.block.len(), compress_ns, decompress_ns: 0 }) };
        let decoded = codec.decompress(&self.block[..size], &mut self.page);
        let decompress_ns = ns(middle.elapsed());
        decoded.map_err(Some)?;
        match self.page == page {
            true => Ok(Timed { size, compress_ns, decompress_ns }),
            false => Err(None),
        }
    }

    fn round_trip(&self, page: usize, codec: usize, why: Option<DecodeError>) -> MeasureError {
        let why = why.map_or_else(|| "other contents".to_owned(), |error| error.to_string());
        MeasureError::RoundTrip { page, codec: self.work.specs[codec], why }
    }
}

fn ns(time: Duration) -> u32 {
    u32::try_from(time.as_nanos()).unwrap_or(u32::MAX)
}
