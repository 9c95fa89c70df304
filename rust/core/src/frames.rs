//! The page frames of a live system: one mapping, frame `i` belongs to page `i`.
//!
//! Who may touch a frame is the lifecycle's business: a frame is written only by the actor that fired `fault` or `shrink`
//! (the page is in no one else's hands until `load` or the end of the write) and read by the actor that compresses or
//! writes it. Virtual and explore systems have no frames.
//!
//! Where pages are absent until an application touches them, the frames have an *image*: what applications fill them with,
//! and what must be there whenever a page has come back.

use crate::sync::{in_parallel, prefetch};
use std::io;
use std::ptr::NonNull;

/// What a frame is filled with before a load, so that nothing survives a reclaim by accident.
pub const POISON: u8 = 0xaa;
/// What one thread fills at a time, bytes: a huge page.
const PART_BYTES: usize = 2 << 20;

/// All frames.
#[derive(Debug)]
pub struct Frames {
    base: NonNull<u8>,
    pages: usize,
    page_size: usize,
    /// Whole pages; none where the frames are filled from the start.
    image: Box<[u8]>,
}

// SAFETY: the mapping is plain memory; `page` and `page_mut` are unsafe and say who may call them.
unsafe impl Send for Frames {}
// SAFETY: as for Send.
unsafe impl Sync for Frames {}

impl Frames {
    /// Frames holding a copy of `contents`, `page_size` bytes each.
    ///
    /// # Errors
    /// The system's error when the mapping is refused.
    ///
    /// # Panics
    /// If `contents` is not a whole number of pages; callers check that first and name the file.
    pub fn from_bytes(contents: &[u8], page_size: usize) -> io::Result<Self> {
        assert!(contents.len().is_multiple_of(page_size), "{} bytes are not whole pages", contents.len());
        let mut frames = Self::zeroed(contents.len() / page_size, page_size)?;
        let parts = frames.bytes_mut().chunks_mut(PART_BYTES).zip(contents.chunks(PART_BYTES));
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
        let mut frames = Self::zeroed(pages, page_size)?;
        frames.image = image.into();
        // Their memory is there before any clock starts.
        in_parallel(frames.bytes_mut().chunks_mut(PART_BYTES), |part| part.fill(POISON));
        Ok(frames)
    }

    /// All frames, one after the other.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: the mapping has so many bytes, initialised by the kernel, and is exclusively borrowed.
        unsafe { std::slice::from_raw_parts_mut(self.base.as_ptr(), self.pages * self.page_size) }
    }

    /// What an application fills page `page` with; `None` where the frames were filled from the start.
    pub fn image(&self, page: u32) -> Option<&[u8]> {
        let pages = self.image.len() / self.page_size;
        let at = (page as usize).checked_rem(pages)? * self.page_size;
        Some(&self.image[at..at + self.page_size])
    }

    /// `pages` frames of zeroes, which take no memory before they are written.
    ///
    /// # Errors
    /// As [`Frames::from_bytes`]; `ENOMEM` for more bytes than there are addresses.
    pub fn zeroed(pages: usize, page_size: usize) -> io::Result<Self> {
        let Some(bytes) = pages.checked_mul(page_size) else { return Err(io::Error::from_raw_os_error(libc::ENOMEM)) };
        let bytes = bytes.max(page_size);
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a fresh anonymous mapping aliases nothing.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: advice on our own mapping; a refusal changes nothing.
        unsafe { libc::madvise(base, bytes, libc::MADV_HUGEPAGE) };
        let base = NonNull::new(base.cast()).expect("mmap returns no null without MAP_FIXED");
        Ok(Self { base, pages, page_size, image: Box::default() })
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
        self.base.as_ptr().wrapping_add(page as usize * self.page_size)
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
        // SAFETY: in bounds (`at`), initialised by the kernel, and not written meanwhile (caller).
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

impl Drop for Frames {
    fn drop(&mut self) {
        let bytes = (self.pages * self.page_size).max(self.page_size);
        // SAFETY: our own mapping, and `self` is the last to know it.
        unsafe { libc::munmap(self.base.as_ptr().cast(), bytes) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More bytes than an address can say are refused, and never a mapping that is shorter than its frames.
    #[test]
    fn too_many_frames_are_refused() {
        for pages in [usize::MAX / 4096 + 2, usize::MAX / 4096, 1 << 50] {
            assert_eq!(Frames::zeroed(pages, 4096).map(|_| ()).unwrap_err().raw_os_error(), Some(libc::ENOMEM));
        }
    }
}
