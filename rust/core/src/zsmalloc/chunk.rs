//! A pool's memory as it comes from the system: chunks of 2 MiB from `mmap`.
//!
//! Transparent huge pages are off here, since one would make a few objects cost 2 MiB; only what is asked to be
//! resident ahead of time is mapped huge.

use std::ptr::NonNull;

/// Bytes mapped at a time.
pub const CHUNK_BYTES: usize = 2 << 20;

#[cfg(test)]
thread_local!(
    /// Injected: whether this thread is refused memory.
    pub(super) static REFUSE: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
);

/// One mapping, unmapped on drop.
#[derive(Debug)]
pub(super) struct Chunk {
    base: NonNull<u8>,
    /// Whether it was made resident ahead of time.
    is_warm: bool,
}

// SAFETY: a chunk is an address; the memory is reached through the runs cut from it, each exclusively owned.
unsafe impl Send for Chunk {}
// SAFETY: as above; a shared chunk gives no access to its bytes.
unsafe impl Sync for Chunk {}

impl Chunk {
    /// Maps fresh zeroed memory that is not resident yet. The error is the `errno` of `mmap`.
    pub fn map() -> Result<Self, i32> {
        let base = map(CHUNK_BYTES)?;
        // SAFETY: the mapping is new and ours.
        unsafe { advise(base, CHUNK_BYTES, libc::MADV_NOHUGEPAGE) };
        Ok(Self { base, is_warm: false })
    }

    /// Maps fresh zeroed memory and makes all of it resident: as one huge page where the system has one to give.
    pub fn map_resident() -> Result<Self, i32> {
        let wide = map(2 * CHUNK_BYTES)?;
        let before = wide.align_offset(CHUNK_BYTES);
        // SAFETY: `before` is less than a chunk, so it and the chunk after it are inside the mapping.
        let base = unsafe { wide.add(before) };
        // SAFETY: as above: the rest is `CHUNK_BYTES - before` bytes.
        let after = unsafe { base.add(CHUNK_BYTES) };
        for (start, len_bytes) in [(wide, before), (after, CHUNK_BYTES - before)] {
            if len_bytes > 0 {
                // SAFETY: this end of the mapping is ours and nothing points into it.
                unsafe { libc::munmap(start.as_ptr().cast(), len_bytes) };
            }
        }
        let mut chunk = Self { base, is_warm: true };
        // SAFETY: what is left of the mapping is new and ours.
        unsafe { advise(base, CHUNK_BYTES, libc::MADV_HUGEPAGE) };
        chunk.touch();
        Ok(chunk)
    }

    /// Its first byte.
    #[inline]
    pub fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// Whether it was made resident ahead of time.
    #[inline]
    pub fn is_warm(&self) -> bool {
        self.is_warm
    }

    fn touch(&mut self) {
        for page in (0..CHUNK_BYTES).step_by(crate::units::PAGE_SIZE) {
            // SAFETY: `page` is inside the mapping, which nothing else uses while this value is exclusive.
            let byte = unsafe { self.base.add(page) };
            // SAFETY: as above; the byte is mapped writable.
            unsafe { byte.write_volatile(0) };
        }
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, of this size, and no run of it is left: each holds an Arc of this chunk.
        unsafe { libc::munmap(self.base.as_ptr().cast(), CHUNK_BYTES) };
    }
}

/// Maps `len_bytes`. The error is the `errno` of `mmap`.
fn map(len_bytes: usize) -> Result<NonNull<u8>, i32> {
    #[cfg(test)]
    if REFUSE.get() {
        return Err(libc::ENOMEM);
    }
    let (prot, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: an anonymous mapping at an address of the system's choice touches nothing that exists.
    let base = unsafe { libc::mmap(std::ptr::null_mut(), len_bytes, prot, flags, -1, 0) };
    if base == libc::MAP_FAILED {
        return Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(0));
    }
    Ok(NonNull::new(base.cast()).expect("mmap never returns page 0 unasked"))
}

/// Advice that may be refused: it changes what is resident; MADV_DONTNEED makes the contents zero.
///
/// # Safety
/// The caller owns this range of mappings of ours. With MADV_DONTNEED nothing looks at it meanwhile.
pub(super) unsafe fn advise(base: NonNull<u8>, len_bytes: usize, advice: i32) {
    debug_assert!([libc::MADV_NOHUGEPAGE, libc::MADV_HUGEPAGE, libc::MADV_DONTNEED].contains(&advice));
    if !cfg!(miri) {
        // SAFETY: the caller's promise; none of the three makes an access invalid.
        unsafe { libc::madvise(base.as_ptr().cast(), len_bytes, advice) };
    }
}
