//! The measuring half: threads take chunks of pages in order, and do all compressors' work on a chunk before the next.
//!
//! A chunk that was begun is finished, so what is measured when a watcher stops the work is a prefix of the pages, for
//! every compressor the same. Chunks are larger than a core's L2 where there are pages enough: a page is about as cold
//! for one compressor as for another.
//! Several threads are pinned, each to a CPU: some kernels leave all of them on the one where they were started.

use super::bench::{Bench, Chunk};
use crate::codec::{CodecSpec, is_zero, same_filled};
use crate::driver::live::{cpu_ns, pin};
use crate::sync::{AtomicBool, AtomicUsize, Condvar, Mutex, Ordering, thread};
use std::time::{Duration, Instant};

/// A compressor's result is cut off at this many pages' length: no store keeps a block beyond one page.
pub const MAX_SIZE_PAGES: usize = 2;
/// How often the watcher is asked.
const WATCH: Duration = Duration::from_millis(50);
const CHUNK_BYTES: usize = 4 << 20;
/// With few pages a thread still gets about this many chunks, so that none waits long for the last.
const CHUNKS_PER_THREAD: usize = 16;

/// What the tests before compression say of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Same {
    /// Neither.
    No = 0,
    /// One machine word repeated, not zero: zram stores the word alone, zswap compresses.
    Word = 1,
    /// All zeroes: zram stores the word alone, the swap path's zeromap keeps it from zswap.
    Zero = 2,
}

impl Same {
    pub(super) fn of(page: &[u8]) -> Self {
        match same_filled(page) {
            None => Self::No,
            Some(_) if is_zero(page) => Self::Zero,
            Some(_) => Self::Word,
        }
    }
}

/// What is to be measured.
#[derive(Clone, Copy, Debug)]
pub struct Work<'a> {
    /// Whole pages, one after the other.
    pub pages: &'a [u8],
    /// Bytes of a page.
    pub page_size: usize,
    /// The compressors.
    pub specs: &'a [CodecSpec],
    /// Threads that measure, at least 1.
    pub threads: usize,
}

/// One compressor's figures, page by page; all 0 for a page of zeroes, which no store compresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CodecPages {
    /// Compressed length in bytes, at most [`MAX_SIZE_PAGES`] pages (also when the compressor gave up).
    pub size: Vec<u32>,
    /// Time of the compression, nanoseconds.
    pub compress_ns: Vec<u32>,
    /// Time of the decompression, nanoseconds; 0 when there was no block.
    pub decompress_ns: Vec<u32>,
}

impl CodecPages {
    pub(super) fn push(&mut self, size: usize, compress_ns: u32, decompress_ns: u32) {
        self.size.push(size as u32);
        self.compress_ns.push(compress_ns);
        self.decompress_ns.push(decompress_ns);
    }

    fn append(&mut self, mut other: Self) {
        self.size.append(&mut other.size);
        self.compress_ns.append(&mut other.compress_ns);
        self.decompress_ns.append(&mut other.decompress_ns);
    }
}

/// What was measured: a prefix of the pages, all of them unless the watcher stopped it.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// [`Same`] of every page.
    pub same: Vec<u8>,
    /// Figures of every compressor, in the order of [`Work::specs`].
    pub codecs: Vec<CodecPages>,
    /// Wall time of the whole, nanoseconds.
    pub wall_ns: u64,
    /// Time that the threads lived, summed, nanoseconds.
    pub threads_ns: u64,
    /// Time that they had a CPU, nanoseconds: less means that the machine was busy and the times are too long.
    pub cpu_ns: u64,
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// A page did not come back as it went in: a bug of the compressor.
    #[error("page {page} did not come back from {codec}: {why}")]
    RoundTrip {
        /// The page, from 0.
        page: usize,
        /// The compressor.
        codec: CodecSpec,
        /// What the decoder made of it.
        why: String,
    },
    /// The pages are not whole.
    #[error("{bytes} bytes are not whole pages of {page_size} bytes")]
    NotWhole {
        /// Bytes given.
        bytes: usize,
        /// Bytes of a page.
        page_size: usize,
    },
    /// No thread could be made.
    #[error("no thread could be made: {0}")]
    Thread(#[from] std::io::Error),
}

/// Measures `work`. `watch` is called with the pages finished, at least once and about 20 times a second; `false` stops
/// the work after the chunks in hand.
///
/// # Errors
/// [`MeasureError`]; a failed round trip ends the work.
pub fn measure(work: &Work<'_>, watch: impl FnMut(usize) -> bool) -> Result<Measured, MeasureError> {
    let (bytes, page_size) = (work.pages.len(), work.page_size);
    if page_size == 0 || !bytes.is_multiple_of(page_size) {
        return Err(MeasureError::NotWhole { bytes, page_size });
    }
    let (started, crew) = (Instant::now(), Crew::new(work));
    let parts = crew.run(watch)?;
    let mut all = Measured { codecs: vec![CodecPages::default(); work.specs.len()], ..Measured::default() };
    let mut chunks = Vec::new();
    for part in parts {
        let part = part?;
        all.threads_ns += part.lived_ns;
        all.cpu_ns += part.cpu_ns;
        chunks.extend(part.chunks);
    }
    chunks.sort_unstable_by_key(|chunk: &Chunk| chunk.first);
    for mut chunk in chunks {
        debug_assert_eq!(chunk.first, all.same.len(), "what was measured is a prefix");
        all.same.append(&mut chunk.same);
        all.codecs.iter_mut().zip(chunk.codecs).for_each(|(codec, part)| codec.append(part));
    }
    all.wall_ns = started.elapsed().as_nanos() as u64;
    Ok(all)
}

/// One thread's chunks.
#[derive(Default)]
struct Part {
    chunks: Vec<Chunk>,
    lived_ns: u64,
    cpu_ns: u64,
}

/// What the threads share.
struct Crew<'a> {
    work: &'a Work<'a>,
    pages: usize,
    chunk_pages: usize,
    next: AtomicUsize,
    done: AtomicUsize,
    stop: AtomicBool,
    running: Mutex<usize>,
    ended: Condvar,
}

// ORDERING (all three): Relaxed: `next` only has to hand each chunk out once, `done` is for the watcher's eyes, and a
// late look at `stop` costs a chunk; results travel by joining the threads.
const LOOSE: Ordering = Ordering::Relaxed;

impl<'a> Crew<'a> {
    fn new(work: &'a Work<'a>) -> Self {
        let pages = work.pages.len() / work.page_size;
        let fair = pages / (work.threads.max(1) * CHUNKS_PER_THREAD);
        Self {
            work,
            pages,
            chunk_pages: fair.clamp(1, CHUNK_BYTES.div_ceil(work.page_size)),
            next: AtomicUsize::new(0),
            done: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            running: Mutex::new(0),
            ended: Condvar::new(),
        }
    }

    /// Runs the threads to their end. Fewer threads than asked for are no error.
    fn run(&self, watch: impl FnMut(usize) -> bool) -> std::io::Result<Vec<Result<Part, MeasureError>>> {
        thread::scope(|scope| {
            let mut threads = Vec::new();
            for number in 0..self.work.threads.clamp(1, self.pages.div_ceil(self.chunk_pages).max(1)) {
                *self.running.lock() += 1;
                match thread::Builder::new().name("measure".into()).spawn_scoped(scope, move || self.member(number)) {
                    Ok(thread) => threads.push(thread),
                    Err(error) if threads.is_empty() => return Err(error),
                    Err(_) => {
                        *self.running.lock() -= 1;
                        break;
                    }
                }
            }
            self.wait(watch);
            let join = |thread: thread::ScopedJoinHandle<'_, _>| {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            Ok(threads.into_iter().map(join).collect())
        })
    }

    /// Waits for the threads, asking the watcher in between and once at the end.
    fn wait(&self, mut watch: impl FnMut(usize) -> bool) {
        loop {
            let running = self.running.lock();
            let ended = *running == 0;
            if !ended {
                drop(self.ended.wait_timeout(&self.running, running, WATCH));
            } else {
                drop(running);
            }
            if !watch(self.done.load(LOOSE)) {
                self.stop.store(true, LOOSE);
            }
            if ended {
                return;
            }
        }
    }

    fn member(&self, number: usize) -> Result<Part, MeasureError> {
        let _leave = Leave(self);
        if self.work.threads > 1 {
            pin(number);
        }
        let started = Instant::now();
        let mut bench = Bench::new(self.work);
        let mut part = Part::default();
        while !self.stop.load(LOOSE) {
            let first = self.next.fetch_add(1, LOOSE) * self.chunk_pages;
            if first >= self.pages {
                break;
            }
            let chunk = bench.chunk(first, self.chunk_pages.min(self.pages - first));
            part.chunks.push(chunk.inspect_err(|_| self.stop.store(true, LOOSE))?);
            self.done.fetch_add(self.chunk_pages.min(self.pages - first), LOOSE);
        }
        part.lived_ns = started.elapsed().as_nanos() as u64;
        part.cpu_ns = cpu_ns();
        Ok(part)
    }
}

/// Tells the watcher that a thread has ended, also by a panic.
struct Leave<'a>(&'a Crew<'a>);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        *self.0.running.lock() -= 1;
        self.0.ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: usize = 4096;

    fn pages(n: usize) -> Vec<u8> {
        let mut x = 9u64;
        let mut word = |keep: u64| {
            x = x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (x >> 32) % keep
        };
        let page = |i: usize| match i % 4 {
            0 => vec![0; PAGE],
            1 => 7u64.to_ne_bytes().repeat(PAGE / 8),
            n => (0..PAGE).map(|_| word([4, 256][n - 2]) as u8).collect::<Vec<u8>>(),
        };
        (0..n).flat_map(page).collect()
    }

    fn specs() -> Vec<CodecSpec> {
        CodecSpec::parse_list("lz4,lzo-rle,zstd,deflate,842").unwrap()
    }

    #[test]
    fn the_number_of_threads_does_not_change_the_figures() {
        let (pages, specs) = (pages(67), specs());
        let with = |threads| {
            let work = Work { pages: &pages, page_size: PAGE, specs: &specs, threads };
            let measured = measure(&work, |_| true).unwrap();
            (measured.same, measured.codecs.into_iter().map(|codec| codec.size).collect::<Vec<_>>())
        };
        let alone = with(1);
        assert_eq!(alone.0[..4], [Same::Zero as u8, Same::Word as u8, Same::No as u8, Same::No as u8]);
        assert!(alone.1.iter().all(|sizes| sizes.len() == 67 && sizes[0] == 0 && sizes[1] > 0 && sizes[3] > 3625));
        for threads in [2, 5, 100] {
            assert!(with(threads) == alone, "{threads} threads");
        }
    }

    #[test]
    fn what_is_left_of_stopped_work_is_a_prefix() {
        let (pages, specs) = (pages(600), specs());
        let work = Work { pages: &pages, page_size: PAGE, specs: &specs, threads: 2 };
        let whole = measure(&work, |_| true).unwrap();
        let part = measure(&work, |_| false).unwrap();
        assert!(part.codecs.iter().all(|codec| codec.decompress_ns.len() == part.same.len()));
        assert_eq!(part.same[..], whole.same[..part.same.len()]);
        assert_eq!(part.codecs[2].size[..], whole.codecs[2].size[..part.same.len()]);
    }

    #[test]
    fn half_a_page_is_refused() {
        let work = Work { pages: &[0; 5000], page_size: PAGE, specs: &specs(), threads: 1 };
        assert!(matches!(measure(&work, |_| true), Err(MeasureError::NotWhole { bytes: 5000, .. })));
    }
}
