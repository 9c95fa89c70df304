//! What the fuzz targets share: every compressor there is, and liblz4 as a second opinion.

use kcompressd_core::codec::{CodecSpec, Compressor};
use std::ffi::{c_char, c_int};

/// Every compressor, and the levels whose encoders differ.
pub const SPECS: [&str; 11] =
    ["lz4", "lz4:7", "lz4hc", "lz4hc:1", "lzo", "lzo-rle", "zstd", "zstd:-5", "deflate", "deflate:1", "842"];

/// Opens one of [`SPECS`].
pub fn open(spec: &str) -> Box<dyn Compressor> {
    spec.parse::<CodecSpec>().expect("a known spec").open()
}

/// What liblz4 makes of a block, if it accepts it and it fills `len` bytes.
pub fn liblz4_decode(block: &[u8], len: usize) -> Option<Vec<u8>> {
    let mut page = vec![0_u8; len];
    let (from, to) = (block.as_ptr().cast::<c_char>(), page.as_mut_ptr().cast::<c_char>());
    // SAFETY: both lengths are the buffers'.
    let got = unsafe { lz4_sys::LZ4_decompress_safe(from, to, block.len() as c_int, len as c_int) };
    (got == len as c_int).then_some(page)
}
