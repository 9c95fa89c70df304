//! One thread's compression streams, and whole pages in and out of a device by way of them.

use super::{Data, NoMemory, ReadError, Zram};
use crate::codec::{CodecSpec, Compressor, DecodeError, same_filled};
use crate::zsmalloc::Frames;

/// The primary compressor and at most three secondary ones (`ZRAM_MAX_COMPS`).
pub const MAX_ALGORITHMS: usize = 4;

/// Bytes that start on a page's alignment, as direct I/O wants them.
#[derive(Debug)]
pub(super) struct Aligned {
    bytes: Vec<u8>,
    start: usize,
    len: usize,
}

impl Aligned {
    const ALIGN: usize = 4096;

    pub fn new(len: usize) -> Self {
        let bytes = vec![0; len + Self::ALIGN];
        let start = bytes.as_ptr().align_offset(Self::ALIGN);
        Self { bytes, start, len }
    }

    pub fn get(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..][..self.len]
    }
}

/// One thread's compressors by priority, 0 the primary one, with the buffers that they need.
pub struct Streams {
    codecs: [Option<Box<dyn Compressor>>; MAX_ALGORITHMS],
    /// Two pages: a codec may expand.
    block: Vec<u8>,
    page: Aligned,
}

/// Buffers and codecs of a [`Streams`], borrowed apart.
pub(super) struct Parts<'a> {
    pub codecs: &'a mut [Option<Box<dyn Compressor>>; MAX_ALGORITHMS],
    pub block: &'a mut [u8],
    pub page: &'a mut [u8],
}

impl Streams {
    /// Streams of `algorithms` by priority, for pages of `page_size` bytes.
    pub fn open(algorithms: &[Option<CodecSpec>; MAX_ALGORITHMS], page_size: usize) -> Self {
        let codecs = algorithms.map(|spec| spec.map(|spec| spec.open()));
        Self { codecs, block: vec![0; 2 * page_size], page: Aligned::new(page_size) }
    }

    /// One more than the highest priority that has a compressor (`num_active_comps`, without gaps below it).
    pub fn active(&self) -> usize {
        self.codecs.iter().rposition(Option::is_some).map_or(0, |last| last + 1)
    }

    /// Whether there is a compressor of `priority`.
    pub fn has(&self, priority: u8) -> bool {
        self.codecs.get(usize::from(priority)).is_some_and(Option::is_some)
    }

    pub(super) fn parts(&mut self) -> Parts<'_> {
        Parts { codecs: &mut self.codecs, block: &mut self.block, page: self.page.get() }
    }
}

/// Decodes a block with the compressor that made it.
///
/// # Panics
/// If `codecs` lacks it: the streams are not the device's.
pub(super) fn decode(
    codecs: &mut [Option<Box<dyn Compressor>>; MAX_ALGORITHMS],
    priority: u8,
    block: &[u8],
    page: &mut [u8],
) -> Result<(), DecodeError> {
    let codec = codecs[usize::from(priority)].as_mut();
    codec.unwrap_or_else(|| panic!("no compressor of priority {priority}")).decompress(block, page)
}

impl Zram {
    /// Compresses `page` into `slot`; what the slot held is gone. Returns the bytes charged to `compr_data_size`.
    ///
    /// # Errors
    /// [`NoMemory`]; the slot is as it was then and nothing is left to give back.
    pub fn store(
        &self,
        slot: u32,
        page: &[u8],
        streams: &mut Streams,
        frames: &impl Frames,
    ) -> Result<usize, NoMemory> {
        let Parts { codecs, block, .. } = streams.parts();
        let data = match same_filled(page) {
            Some(word) => Data::Same(word),
            None => {
                let len = codecs[0].as_mut().expect("a device has a primary compressor").compress(page, block);
                Data::Block { len, bytes: len.map(|len| &block[..len]), page: Some(page) }
            }
        };
        self.write(slot, data, frames).map_err(|NoMemory { slot, beyond, pages }| {
            if let Some(beyond) = beyond {
                self.undo(beyond, frames);
            }
            NoMemory { slot, beyond: None, pages }
        })
    }

    /// Reads `slot`, which may be compressed by any of `streams` or be on the backing device, into `page`.
    ///
    /// # Errors
    /// [`ReadError`], counted as `failed_reads`.
    pub fn load(&self, slot: u32, streams: &mut Streams, page: &mut [u8]) -> Result<(), ReadError> {
        let Parts { codecs, block, .. } = streams.parts();
        self.read(slot, block, page, |priority, block, page| decode(codecs, priority, block, page))
    }
}
