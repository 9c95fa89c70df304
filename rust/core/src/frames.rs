//! The page frames of a live system: one mapping, frame `i` belongs to page `i`.
//!
//! Who may touch a frame is the lifecycle's business: a frame is written only by the actor that fired `fault` or `shrink`
//! (the page is in no one else's hands until `load` or the end of the write) and read by the actor that compresses or
//! writes it. Virtual and explore systems have no frames.
//!
//! Where pages are absent until an application touches them, the frames have an *image*: what applications fill them with,
//! and what must be there whenever a page has come back.

use crate::memory::{HUGE_BYTES, Huge};
use crate::sync::{in_parallel, prefetch};
use std::io;

/// What a frame is filled with before a load, so that nothing survives a reclaim by accident.
pub const POISON: u8 = 0xaa;

/// All frames.
#[derive(Debug)]
pub struct Frames {
    memory: Huge,
    pages: usize,
    page_size: usize,
    /// Whole pages; none where the frames are filled from the start.
    image: Box<[u8]>,
}

impl Frames {
    /// Frames holding a copy of `contents`, `page_size` bytes each.
    ///
    /// # Errors
    /// The system's error when the mapping is refused; `ENOMEM` for more bytes than there are addresses.
    ///
    /// # Panics
    /// If `contents` is not a whole number of pages; callers check that first and name the file.
    pub fn from_bytes(contents: &[u8], page_size: usize) -> io::Result<Self> {
        assert!(contents.len().is_multiple_of(page_size), "{} bytes are not whole pages", contents.len());
        let mut frames = Self::unfilled(contents.len() / page_size, page_size)?;
        let parts = frames.bytes_mut().chunks_mut(HUGE_BYTES).zip(contents.chunks(HUGE_BYTES));
        in_parallel(parts, |(to, from)| to.copy_from_slice(from));
        Ok(frames)
    }

    /// Frames of `pages` pages that are absent yet; page `i` is to be filled with page `i` of `image`, which is repeated.
    ///
    /// # Errors
    /// As [`Frames::from_bytes`].
    ///
    /// # Panics
    /// If `image` is not one or more whole pages.
    pub fn absent(image: Vec<u8>, pages: usize, page_size: usize) -> io::Result<Self> {
        let whole = !image.is_empty() && image.len().is_multiple_of(page_size);
        assert!(whole, "{} bytes are not one or more whole pages", image.len());
        let mut frames = Self::unfilled(pages, page_size)?;
        frames.image = image.into();
        // Their memory is there before any clock starts.
        in_parallel(frames.bytes_mut().chunks_mut(HUGE_BYTES), |part| part.fill(POISON));
        Ok(frames)
    }

    /// All frames, one after the other.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: the mapping has so many bytes, initialised by the kernel or by who had it before, and is exclusively borrowed.
        unsafe { std::slice::from_raw_parts_mut(self.memory.base().as_ptr(), self.pages * self.page_size) }
    }

    /// What an application fills page `page` with; `None` where the frames were filled from the start.
    pub fn image(&self, page: u32) -> Option<&[u8]> {
        let pages = self.image.len() / self.page_size;
        let at = (page as usize).checked_rem(pages)? * self.page_size;
        Some(&self.image[at..at + self.page_size])
    }

    /// `pages` frames that are still to be filled.
    fn unfilled(pages: usize, page_size: usize) -> io::Result<Self> {
        let memory = Huge::new(pages.max(1).saturating_mul(page_size))?;
        Ok(Self { memory, pages, page_size, image: Box::default() })
    }

    /// Frames there are.
    pub fn len(&self) -> usize {
        self.pages
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.pages == 0
    }

    fn at(&self, page: u32) -> *mut u8 {
        assert!((page as usize) < self.pages, "frame {page} of {}", self.pages);
        self.memory.base().as_ptr().wrapping_add(page as usize * self.page_size)
    }

    /// Asks the CPU for the first and the last word of frame `page`.
    #[inline]
    pub fn prefetch_ends(&self, page: u32) {
        let first = self.at(page);
        prefetch(first);
        prefetch(first.wrapping_add(self.page_size - size_of::<u64>()));
    }

    /// The contents of frame `page`.
    ///
    /// # Safety
    /// No one may write the frame meanwhile: the caller holds the page in a state (unmapped, queued, compressing,
    /// writing back) in which only a `shrink` or `fault` winner writes, and it is neither; or every actor has stopped.
    pub unsafe fn page(&self, page: u32) -> &[u8] {
        // SAFETY: in bounds (`at`), initialised when the frames were made, and not written meanwhile (caller).
        unsafe { std::slice::from_raw_parts(self.at(page), self.page_size) }
    }

    /// The contents of frame `page`, to write.
    ///
    /// # Safety
    /// The caller fired `populate`, `fault` or `shrink` for the page and has not handed it on.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn page_mut(&self, page: u32) -> &mut [u8] {
        // SAFETY: in bounds (`at`) and exclusively the caller's.
        unsafe { std::slice::from_raw_parts_mut(self.at(page), self.page_size) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More bytes than an address can say are refused, and never a mapping that is shorter than its frames.
    #[test]
    fn too_many_frames_are_refused() {
        for pages in [usize::MAX / 4096 + 2, usize::MAX / 4096, 1 << 50] {
            assert_eq!(Frames::unfilled(pages, 4096).map(|_| ()).unwrap_err().raw_os_error(), Some(libc::ENOMEM));
        }
    }
}
