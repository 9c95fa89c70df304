//! Compressors with the kernel's parameters, and the same-filled test that precedes them.

pub mod deflate;
pub mod lz4;
pub mod lz4hc;
pub mod lzo;
pub mod p842;
pub mod same;
pub mod spec;
pub mod zstd;

pub use same::{is_zero, same_filled};
pub use spec::{CodecName, CodecSpec, SpecError};

/// Why a block could not be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The block is not a valid stream of its format.
    #[error("malformed {codec} block at input byte {at}")]
    Malformed {
        /// The codec that refused it.
        codec: &'static str,
        /// Offset of the first byte that does not fit the format.
        at: usize,
    },
    /// The block is valid but does not decode to exactly the page.
    #[error("{codec} block decodes to {got} bytes, the page has {want}")]
    Length {
        /// The codec that decoded it.
        codec: &'static str,
        /// Bytes it decodes to.
        got: usize,
        /// Bytes the caller wants.
        want: usize,
    },
}

/// One thread's compressor: its tables and contexts, reused from page to page.
pub trait Compressor: Send {
    /// Compresses the page `src` into `dst`.
    ///
    /// Returns the bytes written, or `None` when the result does not fit in `dst` (or, for encoders with a bound of
    /// their own, is not smaller than what the kernel would store). `dst` may be scribbled on in both cases.
    fn compress(&mut self, src: &[u8], dst: &mut [u8]) -> Option<usize>;

    /// Does what the next page's compression begins with and what hangs on no page. Who has asked the CPU for cache lines and
    /// would wait for them calls it meanwhile; nobody has to.
    fn prepare(&mut self) {}

    /// Decompresses `src`, which must fill `dst` exactly. Any bytes are safe to pass.
    ///
    /// # Errors
    /// [`DecodeError`] when the block is malformed or has another length; `dst` may be scribbled on.
    fn decompress(&mut self, src: &[u8], dst: &mut [u8]) -> Result<(), DecodeError>;
}

/// One thread's compressors, opened when first asked for: zswap's pools may have several at a time.
#[derive(Default)]
pub struct Codecs(Vec<(CodecSpec, Box<dyn Compressor>)>);

impl Codecs {
    /// The compressor of `spec`.
    #[inline]
    pub fn get(&mut self, spec: CodecSpec) -> &mut dyn Compressor {
        let at = self.0.iter().position(|(open, _)| *open == spec).unwrap_or_else(|| {
            self.0.push((spec, spec.open()));
            self.0.len() - 1
        });
        self.0[at].1.as_mut()
    }
}

impl std::fmt::Debug for Codecs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(spec, _)| spec)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spec_survives_being_a_word() {
        for name in CodecName::ALL {
            let levels = name.levels().map_or(vec![None], |range| vec![Some(*range.start()), None, Some(*range.end())]);
            for spec in levels.into_iter().map(|level| CodecSpec::new(name, level).unwrap()) {
                assert_eq!(CodecSpec::from_word(spec.to_word()), spec);
            }
        }
    }
}
