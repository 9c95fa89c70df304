//! What a page contains: bytes in a frame under the live driver, sizes from a table under the others.

use crate::codec::{Compressor, is_zero, same_filled};
use crate::frames::{Frames, POISON};

/// Per page, what a codec made of it: the contents of a system without bytes.
#[derive(Clone, Debug, Default)]
pub struct Sizes {
    /// Compressed length in bytes; 0: the page is all zero; `u32::MAX`: the codec gave up.
    pub len: Vec<u32>,
    /// Whether the page is one repeated machine word.
    pub same: Vec<bool>,
    /// Nanoseconds to compress it on the calibrated host.
    pub compress_ns: Vec<u32>,
    /// Nanoseconds to decompress it.
    pub decompress_ns: Vec<u32>,
}

impl Sizes {
    /// `len` pages that all compress to `bytes`, at 2000 ns and 1000 ns: for small explored systems.
    pub fn uniform(len: usize, bytes: u32) -> Self {
        Self {
            len: vec![bytes; len],
            same: vec![false; len],
            compress_ns: vec![2000; len],
            decompress_ns: vec![1000; len],
        }
    }
}

/// The contents of all pages.
#[derive(Debug)]
pub enum Contents {
    /// Real bytes.
    Frames(Frames),
    /// Sizes only.
    Sizes(Sizes),
}

/// What compressing a page came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Compressed {
    /// Compressed length in bytes; `None`: the codec gave up.
    pub len: Option<u32>,
    /// The repeated word of a same-filled page, where the store looks for one.
    pub same: Option<u64>,
}

impl Contents {
    /// Pages there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Frames(frames) => frames.len(),
            Self::Sizes(sizes) => sizes.len.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whose contents `page` has: an input of fewer pages than the system is repeated.
    #[inline]
    pub fn source(&self, page: u32) -> usize {
        page as usize % self.len()
    }

    /// What decides how the page fares, for systems without bytes: two pages of one kind behave alike.
    pub fn kind(&self, page: u32) -> (u32, bool) {
        match self {
            Self::Frames(_) => (page, false),
            Self::Sizes(sizes) => (sizes.len[self.source(page)], sizes.same[self.source(page)]),
        }
    }

    /// The bytes of a page; `None` in a system without bytes.
    ///
    /// # Safety
    /// While the slice lives nobody writes the frame: the page is in a state that has no edge to its next writer (`fault`,
    /// `shrink`) but the caller's own, or the caller is the only thread.
    pub(crate) unsafe fn page(&self, page: u32) -> Option<&[u8]> {
        match self {
            // SAFETY: the caller's promise.
            Self::Frames(frames) => Some(unsafe { frames.page(page) }),
            Self::Sizes(_) => None,
        }
    }

    /// The frame of a page, poisoned; `None` in a system without bytes.
    ///
    /// # Safety
    /// The caller has fired `fault` or `shrink` for the page and drops the slice before it fires the next event.
    #[allow(clippy::mut_from_ref, reason = "the lifecycle makes the frame exclusive")]
    pub(crate) unsafe fn page_to_fill(&self, page: u32) -> Option<&mut [u8]> {
        match self {
            Self::Frames(frames) => {
                // SAFETY: the caller's promise: the frame is its own.
                let frame = unsafe { frames.page_mut(page) };
                frame.fill(POISON);
                Some(frame)
            }
            Self::Sizes(_) => None,
        }
    }

    /// The application's first writes to a page that was absent: its part of the image.
    ///
    /// # Safety
    /// The caller has fired `populate` for the page and nobody else has come to it: it is on no list yet.
    pub(crate) unsafe fn fill(&self, page: u32) {
        if let Self::Frames(frames) = self
            && let Some(image) = frames.image(page)
        {
            // SAFETY: the caller's promise: the frame is its own.
            unsafe { frames.page_mut(page) }.copy_from_slice(image);
        }
    }

    /// Whether the frame holds what the application once filled it with; true where nobody knows.
    ///
    /// # Safety
    /// As for [`Contents::page`].
    pub(crate) unsafe fn is_intact(&self, page: u32) -> bool {
        match self {
            // SAFETY: the caller's promise.
            Self::Frames(frames) => frames.image(page).is_none_or(|image| unsafe { frames.page(page) } == image),
            Self::Sizes(_) => true,
        }
    }

    /// Asks the CPU for the last word of the page and its first, which the test for zero reads in this order.
    #[inline]
    pub(crate) fn prefetch_ends(&self, page: u32) {
        if let Self::Frames(frames) = self {
            frames.prefetch_ends(page);
        }
    }

    /// Whether the page is all zero.
    ///
    /// # Safety
    /// As for [`Contents::page`].
    pub(crate) unsafe fn is_zero(&self, page: u32) -> bool {
        match self {
            // SAFETY: the caller's promise.
            Self::Frames(_) => unsafe { self.page(page) }.is_some_and(is_zero),
            Self::Sizes(sizes) => sizes.len[self.source(page)] == 0,
        }
    }

    /// Compresses the page into `block`; looks for a repeated word first if asked to.
    ///
    /// # Safety
    /// As for [`Contents::page`].
    pub(crate) unsafe fn compress(
        &self,
        page: u32,
        find_same: bool,
        codec: &mut dyn Compressor,
        block: &mut [u8],
    ) -> Compressed {
        match self {
            Self::Frames(_) => {
                // SAFETY: the caller's promise.
                let bytes = unsafe { self.page(page) }.unwrap_or_default();
                if let Some(word) = find_same.then(|| same_filled(bytes)).flatten() {
                    return Compressed { len: Some(0), same: Some(word) };
                }
                Compressed { len: codec.compress(bytes, block).map(|len| len as u32), same: None }
            }
            Self::Sizes(sizes) => {
                let page = self.source(page);
                let same = (find_same && sizes.same[page]).then_some(1);
                // A page of zeroes gets here in a large folio that is not all zero.
                let len = match sizes.len[page] {
                    u32::MAX => None,
                    0 => codec.compress(&vec![0; block.len() / 2], block).map(|len| len as u32),
                    len => Some(len),
                };
                Compressed { len, same }
            }
        }
    }
}
