//! Anonymous memory from the system, for frames and zsmalloc's chunks.
//!
//! What was mapped in huge pages is *kept* when its owner drops it, for the next who asks for as much: making memory resident
//! takes a good part of a short run, and several times that where the system has few huge pages free. Kept memory is the system's
//! to take back (`MADV_FREE`) until somebody writes it again.

use crate::sync::StaticMutex;
use std::io;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

/// A huge page, bytes.
pub const HUGE_BYTES: usize = 2 << 20;
/// Kept at most, bytes.
const MOST_KEPT_BYTES: usize = 256 << 20;

#[cfg(test)]
thread_local!(
    /// Injected: whether this thread is refused memory.
    pub(crate) static REFUSE: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
);

/// One mapping, readable and writable, unmapped on drop.
#[derive(Debug)]
pub struct Mapping {
    base: NonNull<u8>,
    len_bytes: usize,
}

// SAFETY: a mapping is an address; who may touch its bytes is its owner's business.
unsafe impl Send for Mapping {}
// SAFETY: as above; a shared mapping gives no access to its bytes.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// `len_bytes` of zeroes that are not resident yet.
    ///
    /// # Errors
    /// What `mmap` reported; `ENOMEM` for more bytes than there are addresses.
    pub fn new(len_bytes: usize) -> io::Result<Self> {
        #[cfg(test)]
        if REFUSE.get() {
            return Err(io::Error::from_raw_os_error(libc::ENOMEM));
        }
        let (prot, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: an anonymous mapping at an address of the system's choice touches nothing that exists.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), len_bytes, prot, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { base: NonNull::new(base.cast()).expect("mmap never returns page 0 unasked"), len_bytes })
    }

    /// As [`Mapping::new`], from the first huge page's border on, in huge pages; what is around it is unmapped.
    fn aligned(len_bytes: usize) -> io::Result<Self> {
        let wide = ManuallyDrop::new(Self::new(len_bytes.saturating_add(HUGE_BYTES))?);
        let before = wide.base.align_offset(HUGE_BYTES);
        // SAFETY: `before` is less than a huge page, so it and `len_bytes` after it are inside the mapping.
        let base = unsafe { wide.base.add(before) };
        // SAFETY: as above: the rest is `HUGE_BYTES - before` bytes.
        let after = unsafe { base.add(len_bytes) };
        // Both ends are parts of the mapping that nobody else knows of.
        drop(Self { base: wide.base, len_bytes: before });
        drop(Self { base: after, len_bytes: HUGE_BYTES - before });
        let mapping = Self { base, len_bytes };
        mapping.advise(libc::MADV_HUGEPAGE);
        Ok(mapping)
    }

    /// Its first byte.
    #[inline]
    pub fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// Its length.
    pub fn len_bytes(&self) -> usize {
        self.len_bytes
    }

    /// Says how all of it will be used; the system may refuse, which changes nothing here.
    pub fn advise(&self, advice: i32) {
        // SAFETY: our own mapping, whose owner says so.
        unsafe { advise(self.base, self.len_bytes, advice) };
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, of this size, and its owner, which hands out its bytes, is gone. An empty one is refused.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len_bytes) };
    }
}

/// Advice that may be refused: it changes what is resident. MADV_DONTNEED makes the contents zero, and so may MADV_FREE.
///
/// # Safety
/// The caller owns this range of mappings of ours. With these two nothing reads it before it is written again.
pub(crate) unsafe fn advise(base: NonNull<u8>, len_bytes: usize, advice: i32) {
    debug_assert!([libc::MADV_NOHUGEPAGE, libc::MADV_HUGEPAGE, libc::MADV_DONTNEED, libc::MADV_FREE].contains(&advice));
    if !cfg!(miri) {
        // SAFETY: the caller's promise; none of the four makes an access invalid.
        unsafe { libc::madvise(base.as_ptr().cast(), len_bytes, advice) };
    }
}

/// Mappings that nobody uses, the oldest first.
#[derive(Debug)]
struct Kept(StaticMutex<Vec<Mapping>>);

static KEPT: Kept = Kept(StaticMutex::new(Vec::new()));

impl Kept {
    /// The last that was put, of this length.
    fn take(&self, len_bytes: usize) -> Option<Mapping> {
        let mut kept = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let at = kept.iter().rposition(|mapping| mapping.len_bytes == len_bytes)?;
        Some(kept.remove(at))
    }

    /// Keeps `mapping`, and unmaps the oldest if that is too much.
    fn put(&self, mapping: Mapping) {
        mapping.advise(libc::MADV_FREE);
        let mut kept = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        kept.push(mapping);
        let newest = kept.iter().rev().scan(0, |bytes, mapping| {
            *bytes += mapping.len_bytes;
            (*bytes <= MOST_KEPT_BYTES).then_some(())
        });
        let too_old = kept.len() - newest.count();
        let unmapped: Vec<Mapping> = kept.drain(..too_old).collect();
        drop(kept);
        drop(unmapped);
    }
}

/// A mapping in huge pages, kept on drop.
#[derive(Debug)]
pub struct Huge(ManuallyDrop<Mapping>);

impl Huge {
    /// `len_bytes`, in huge pages where the system has them. The contents are undefined until written: zeroes, or what the last
    /// owner left, which may become zeroes at any moment.
    ///
    /// # Errors
    /// As [`Mapping::new`].
    pub fn new(len_bytes: usize) -> io::Result<Self> {
        #[cfg(test)]
        if REFUSE.get() {
            return Err(io::Error::from_raw_os_error(libc::ENOMEM));
        }
        let mapping = KEPT.take(len_bytes).map_or_else(|| Mapping::aligned(len_bytes), Ok)?;
        Ok(Self(ManuallyDrop::new(mapping)))
    }
}

impl std::ops::Deref for Huge {
    type Target = Mapping;

    #[inline]
    fn deref(&self) -> &Mapping {
        &self.0
    }
}

impl Drop for Huge {
    fn drop(&mut self) {
        // SAFETY: `self` is going, and nothing takes the mapping out of it a second time.
        let mapping = unsafe { ManuallyDrop::take(&mut self.0) };
        if mapping.len_bytes >= HUGE_BYTES {
            KEPT.put(mapping);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who asks for as much gets the same memory, the last dropped first; who asks for another length does not.
    #[test]
    fn dropped_memory_is_taken_again() {
        // A length that no other test has, since all share what is kept.
        let make = |len_bytes| Huge::new(len_bytes).expect("memory");
        let [first, second] = [(); 2].map(|()| make(HUGE_BYTES + 4096));
        let bases = [first.base(), second.base()];
        assert!(bases.iter().all(|base| base.align_offset(HUGE_BYTES) == 0));
        drop(first);
        drop(second);
        let other = make(HUGE_BYTES + 8192);
        let again = [(); 2].map(|()| make(HUGE_BYTES + 4096));
        assert_eq!(again.each_ref().map(|memory| memory.base()), [bases[1], bases[0]]);
        assert!(!bases.contains(&other.base()));
    }

    /// What is written since it was taken stays, page by page, though all of it was the system's to take before.
    #[test]
    fn kept_memory_holds_what_is_written_to_it() {
        let (kept, len_bytes) = (Kept(StaticMutex::default()), 2 * HUGE_BYTES);
        kept.put(Mapping::aligned(len_bytes).expect("memory"));
        for round in 1..4u8 {
            let memory = kept.take(len_bytes).expect("is kept");
            for page in (0..len_bytes).step_by(4096) {
                // SAFETY: `page` is inside the mapping, which is this test's alone.
                let start = unsafe { memory.base().add(page) };
                // SAFETY: as above, and a page has so many bytes.
                unsafe { start.write_bytes(round, 4096) };
            }
            // SAFETY: all of it was written just now, and nothing else knows of it.
            let bytes = unsafe { std::slice::from_raw_parts(memory.base().as_ptr(), len_bytes) };
            assert!(bytes.iter().all(|&byte| byte == round));
            kept.put(memory);
        }
    }

    /// All of it, and what lies around one that is aligned.
    #[test]
    #[cfg_attr(miri, ignore = "reads /proc")]
    fn what_is_dropped_is_unmapped() {
        let mapped_pages = || {
            let statm = std::fs::read_to_string("/proc/self/statm").expect("a process has one");
            statm.split(' ').next().and_then(|pages| pages.parse::<usize>().ok()).expect("its first number")
        };
        let before = mapped_pages();
        for _ in 0..4096 {
            drop(Mapping::new(HUGE_BYTES).expect("addresses"));
            drop(Mapping::aligned(4096).expect("addresses"));
        }
        // Each kind would leave 8 GiB; other tests map less than one meanwhile.
        assert!(mapped_pages() < before + (4 << 30 >> 12));
    }

    /// No more is kept than said, and the oldest goes first.
    #[test]
    fn so_much_is_kept() {
        let kept = Kept(StaticMutex::default());
        let put = |len_bytes| kept.put(Mapping::new(len_bytes).expect("addresses"));
        let lengths = || kept.0.lock().unwrap().iter().map(Mapping::len_bytes).collect::<Vec<_>>();
        let part = MOST_KEPT_BYTES / 4;
        (1..=3).for_each(|extra| put(part + extra * 4096));
        assert_eq!(lengths(), [part + 4096, part + 2 * 4096, part + 3 * 4096]);
        put(part - 6 * 4096);
        assert_eq!(lengths().len(), 4, "as much as may be");
        put(part);
        assert_eq!(lengths(), [part + 2 * 4096, part + 3 * 4096, part - 6 * 4096, part]);
        put(MOST_KEPT_BYTES + 4096);
        assert_eq!(lengths(), []);
    }
}
