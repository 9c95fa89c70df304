//! The memory behind a pool's bytes: chunks of 2 MiB, cut into blocks, and these into runs of one zspage each.
//!
//! A [`Run`] *owns* its bytes: no two runs overlap, none is copied, and the chunk it was cut from stays mapped
//! until the last run of it is dropped. That is why its slices are safe. A block is cut into runs of one
//! length only, so that neighbours can be returned to the system together.
//!
//! Resident size follows use: a run given back stays resident for the next taker, but when such runs of one
//! length hold more than 1/32 of what is in use (and more than 128 KiB), the older half is returned to the
//! system. What was made resident ahead of time is not: it is one huge page, which the system would have to split. It is kept as a whole
//! when its pool is gone ([`crate::memory`]).

use super::AllocError;
use super::chunk::{CHUNK_BYTES, Chunk};
use crate::memory::advise;
use crate::sync::{Arc, CACHE_LINE_BYTES, Mutex, in_parallel, prefetch};
use std::io;
use std::ops::Range;
use std::ptr::NonNull;

/// Bytes that a run length takes of a chunk at a time, if a run is not longer. The last block of each length is cut in part.
const BLOCK_BYTES: usize = 256 << 10;
/// Idle resident bytes of one run length that are always allowed.
const IDLE_BYTES: usize = 128 << 10;
/// What is fetched to the cache of the run that is next.
const AHEAD_BYTES: usize = 2 << 10;

/// A part of a chunk that is being cut.
#[derive(Debug)]
struct Block {
    chunk: Arc<Chunk>,
    /// What is left, in bytes from the chunk's start.
    left: Range<usize>,
}

impl Block {
    /// All of `chunk`.
    fn whole(chunk: Chunk) -> Self {
        Self { chunk: Arc::new(chunk), left: 0..CHUNK_BYTES }
    }

    /// Cuts a part off its start, if it still has room.
    fn cut(&mut self, len_bytes: usize) -> Option<Self> {
        let end = self.left.start + len_bytes;
        let part = (end <= self.left.end).then(|| Self { chunk: self.chunk.clone(), left: self.left.start..end })?;
        self.left.start = end;
        Some(part)
    }

    /// Asks the CPU for the start of what is cut next.
    fn prefetch(&self) {
        if self.left.len() >= AHEAD_BYTES {
            let lines = (self.left.start..).step_by(CACHE_LINE_BYTES).take(AHEAD_BYTES / CACHE_LINE_BYTES);
            lines.for_each(|line| prefetch(self.chunk.base().as_ptr().wrapping_add(line)));
        }
    }
}

/// The bytes of one zspage, exclusively owned.
#[derive(Debug)]
pub(super) struct Run {
    base: NonNull<u8>,
    len_bytes: usize,
    /// Keeps the mapping alive.
    chunk: Arc<Chunk>,
}

// SAFETY: a run is the only owner of its bytes, so they may go with it to another thread.
unsafe impl Send for Run {}
// SAFETY: a shared run gives out shared slices only.
unsafe impl Sync for Run {}

impl Run {
    /// What is left of `block`, which nobody cuts any more.
    fn new(block: Block) -> Self {
        // SAFETY: what is left of a block is inside its chunk.
        let base = unsafe { block.chunk.base().add(block.left.start) };
        Self { base, len_bytes: block.left.len(), chunk: block.chunk }
    }

    /// All bytes of the run.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: `base` starts `len_bytes` mapped, initialised bytes that belong to this
        // run alone and outlive it through `chunk`; writing needs `&mut self`.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.len_bytes) }
    }

    /// All bytes of the run, to be written.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and `&mut self` excludes every other reference.
        unsafe { std::slice::from_raw_parts_mut(self.base.as_ptr(), self.len_bytes) }
    }

    /// Gives the memory back to the system; the contents become zero.
    fn discard(runs: &mut [Self]) {
        runs.sort_unstable_by_key(|run| run.base);
        let adjacent = |a: &Self, b: &Self| a.base.addr().get() + a.len_bytes == b.base.addr().get();
        for group in runs.chunk_by(adjacent) {
            let len_bytes = group.len() * group[0].len_bytes;
            // SAFETY: these runs, exclusively borrowed, own so many bytes from there on without a gap, perhaps in neighbouring mappings.
            unsafe { advise(group[0].base, len_bytes, libc::MADV_DONTNEED) };
        }
    }
}

/// Runs of one length.
#[derive(Debug, Default)]
struct Lane {
    /// Given back and still resident; the last is taken first.
    idle: Vec<Run>,
    /// Likewise of what was made resident ahead of time.
    warm: Vec<Run>,
    /// Returned to the system.
    cold: Vec<Run>,
    /// What the next runs are cut from.
    block: Option<Block>,
    in_use: usize,
}

impl Lane {
    /// Cuts a run from the current block, if it still has room.
    fn cut(&mut self, len_bytes: usize) -> Option<Run> {
        self.block.as_mut()?.cut(len_bytes).map(Run::new)
    }

    /// The idle runs that are too many: the older half, or none.
    fn surplus(&mut self, len_bytes: usize) -> Vec<Run> {
        let allowed = IDLE_BYTES.max(self.in_use * len_bytes / 32);
        let surplus = if self.idle.len() * len_bytes > allowed { self.idle.len().div_ceil(2) } else { 0 };
        self.idle.drain(..surplus).collect()
    }
}

/// Where a pool's runs come from. Lock order: a class, then a lane, then `spare`.
#[derive(Debug)]
pub(super) struct Arena {
    page_size: usize,
    /// By pages in a run, from 1.
    lanes: Box<[Mutex<Lane>]>,
    spare: Mutex<Spare>,
}

/// What lanes take their blocks from.
#[derive(Debug, Default)]
struct Spare {
    /// Chunks made resident ahead of time.
    resident: Vec<Chunk>,
    /// The chunk being cut.
    chunk: Option<Block>,
}

impl Spare {
    /// A block for runs of `len_bytes`, as many as fit.
    fn block(&mut self, len_bytes: usize) -> io::Result<Block> {
        let block_bytes = len_bytes * (BLOCK_BYTES / len_bytes).max(1);
        let found = self.chunk.as_mut().and_then(|chunk| chunk.cut(block_bytes));
        found.map_or_else(|| self.next_chunk().map(|chunk| chunk.cut(block_bytes).expect("a run is at most 1 MiB")), Ok)
    }

    fn next_chunk(&mut self) -> io::Result<&mut Block> {
        let chunk = self.resident.pop().map_or_else(Chunk::map, Ok)?;
        Ok(self.chunk.insert(Block::whole(chunk)))
    }
}

impl Arena {
    /// An arena for runs of at most `max_pages`; maps nothing yet.
    pub fn new(page_size: usize, max_pages: usize) -> Self {
        let lanes = (0..max_pages).map(|_| Mutex::default()).collect();
        Self { page_size, lanes, spare: Mutex::default() }
    }

    /// Maps and touches memory for `bytes` of runs, so that a timed phase meets no page fault: with a block more for each run
    /// length, and for what is left at each chunk's end.
    pub fn prefault(&self, bytes: usize) -> Result<(), AllocError> {
        let block_bytes = BLOCK_BYTES.max(self.lanes.len() * self.page_size);
        let wanted = bytes + self.lanes.len() * block_bytes;
        let refused = Mutex::new(None);
        in_parallel(0..wanted.div_ceil(CHUNK_BYTES - block_bytes), |_| match Chunk::map_resident() {
            Ok(chunk) => self.spare.lock().resident.push(chunk),
            Err(error) => *refused.lock() = Some(error),
        });
        let refused = refused.lock().take();
        refused.map_or(Ok(()), |error| Err(AllocError::map(CHUNK_BYTES / self.page_size, &error)))
    }

    /// A run of `pages`; its contents are whatever the last owner left.
    pub fn take(&self, pages: usize) -> Result<Run, AllocError> {
        let len_bytes = pages * self.page_size;
        let mut lane = self.lanes[pages - 1].lock();
        let idle = lane.idle.pop().or_else(|| lane.warm.pop()).or_else(|| lane.cold.pop());
        let found = idle.or_else(|| lane.cut(len_bytes));
        let run = match found {
            Some(run) => run,
            None => {
                let block = self.spare.lock().block(len_bytes);
                let block = lane.block.insert(block.map_err(|error| AllocError::map(pages, &error))?);
                Run::new(block.cut(len_bytes).expect("a block has room for a run"))
            }
        };
        lane.in_use += 1;
        if let Some(block) = &lane.block {
            block.prefetch();
        }
        Ok(run)
    }

    /// Takes `run` back.
    pub fn give(&self, run: Run) {
        let len_bytes = run.len_bytes;
        let lane = &self.lanes[len_bytes / self.page_size - 1];
        let mut surplus = {
            let mut lane = lane.lock();
            lane.in_use -= 1;
            if run.chunk.is_warm() {
                return lane.warm.push(run);
            }
            lane.idle.push(run);
            lane.surplus(len_bytes)
        };
        if !surplus.is_empty() {
            Run::discard(&mut surplus);
            lane.lock().cold.append(&mut surplus);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::REFUSE;

    /// Injected: `mmap` refuses. The error names what was asked for, and the next try works.
    #[test]
    fn a_failed_mmap_is_an_error() {
        let arena = Arena::new(4096, 8);
        REFUSE.set(true);
        assert_eq!(arena.take(3).unwrap_err(), AllocError::Map { pages: 3, errno: libc::ENOMEM });
        assert!(arena.prefault(1).is_err());
        REFUSE.set(false);
        assert_eq!(arena.take(3).expect("memory").bytes().len(), 3 * 4096);
    }

    /// What was touched ahead of time is enough, whether run lengths share it evenly or one of each has a block: nothing more is mapped.
    #[test]
    fn prefaulted_memory_suffices() {
        for (page_size, lengths) in [(4096, 8), (4096, 1), (65536, 16), (4096, 16)] {
            let evenly = |taken: usize| taken % lengths + 1;
            let mostly_one = |taken: usize| if taken < lengths { taken + 1 } else { 1 };
            for pages in [&evenly as &dyn Fn(usize) -> usize, &mostly_one] {
                let (arena, bytes) = (Arena::new(page_size, lengths), 8 << 20);
                arena.prefault(bytes).expect("memory");
                REFUSE.set(true);
                let mut taken = Vec::new();
                while taken.iter().map(|run: &Run| run.len_bytes).sum::<usize>() < bytes {
                    taken.push(arena.take(pages(taken.len())).expect("memory is there"));
                }
                REFUSE.set(false);
            }
        }
    }

    /// Runs of one length have blocks of their own: 64 pages lie in a row, whatever else is taken meanwhile.
    #[test]
    fn a_block_is_cut_into_runs_of_one_length() {
        let arena = Arena::new(4096, 8);
        let take = |pages| {
            let mut run = arena.take(pages).expect("memory");
            let at = run.bytes_mut().as_ptr().addr();
            (run, at)
        };
        let (_keep, first) = take(1);
        let _other = take(2);
        let ours: Vec<_> = (1..64).map(|_| take(1)).collect();
        assert!(ours.iter().zip(1..).all(|(run, at)| run.1 == first + at * 4096));
    }

    /// As said: a block more for each run length, whatever the last piece of each chunk is lost for.
    #[test]
    fn so_much_memory_is_touched_ahead() {
        for (page_size, lengths, largest_block) in [(4096, 8, 256 << 10), (65536, 16, 1 << 20)] {
            let (arena, bytes) = (Arena::new(page_size, lengths), 8 << 20);
            arena.prefault(bytes).expect("memory");
            let usable = arena.spare.lock().resident.len() * (CHUNK_BYTES - largest_block);
            let wanted = bytes + lengths * largest_block;
            assert!((wanted..wanted + CHUNK_BYTES).contains(&usable), "{usable} of {wanted}");
        }
    }

    /// A refused `mmap`, through a pool: the frames that were taken for the zspage are given back.
    #[test]
    fn a_failed_mmap_returns_the_frames() {
        use crate::zsmalloc::{Frames, Pool, PoolConfig};
        struct Budget(Mutex<usize>);
        impl Frames for Budget {
            fn take(&self, pages: usize) -> Option<u32> {
                *self.0.lock() += pages;
                Some(0)
            }
            fn give(&self, _name: u32, pages: usize) {
                *self.0.lock() -= pages;
            }
        }
        let (pool, budget) = (Pool::new(PoolConfig::default()).expect("valid"), Budget(Mutex::new(0)));
        REFUSE.set(true);
        assert!(matches!(pool.store(&[1; 3000], &budget), Err(AllocError::Map { .. })));
        REFUSE.set(false);
        assert_eq!((*budget.0.lock(), pool.total_pages(), pool.objects()), (0, 0, 0));
        pool.invariant();
    }

    /// Runs do not overlap, also when chunks are crossed and runs come back in another order.
    #[test]
    fn runs_do_not_overlap() {
        let arena = Arena::new(65536, 16);
        let mut runs: Vec<_> = (0..40).map(|i| arena.take(i % 16 + 1).expect("memory")).collect();
        for round in 0..3u8 {
            for (i, run) in runs.iter_mut().enumerate() {
                run.bytes_mut().fill(i as u8 ^ round << 6);
            }
            for (i, run) in runs.iter().enumerate() {
                assert!(run.bytes().iter().all(|&byte| byte == i as u8 ^ round << 6), "run {i}");
            }
            let back: Vec<_> = runs.drain(10..30).collect();
            let lengths: Vec<_> = back.iter().map(|run| run.len_bytes / 65536).collect();
            back.into_iter().for_each(|run| arena.give(run));
            runs.extend(lengths.into_iter().map(|pages| arena.take(pages).expect("memory")));
        }
    }

    /// What was made resident ahead of time is never returned, and is taken again.
    #[test]
    fn warm_runs_stay_in_memory() {
        let arena = Arena::new(4096, 8);
        arena.prefault(8 << 20).expect("memory");
        for _ in 0..2 {
            let mut runs: Vec<_> = (0..400).map(|_| arena.take(4).expect("memory")).collect();
            runs.iter_mut().for_each(|run| run.bytes_mut().fill(7));
            runs.drain(..).for_each(|run| arena.give(run));
            let lane = arena.lanes[3].lock();
            assert_eq!((lane.idle.len(), lane.warm.len(), lane.cold.len(), lane.in_use), (0, 400, 0, 0));
            assert!(lane.warm.iter().all(|run| run.bytes().iter().all(|&byte| byte == 7)), "kept");
        }
    }

    /// What is given back in bulk leaves memory; what is in use stays.
    #[test]
    fn idle_runs_leave_memory() {
        let arena = Arena::new(4096, 8);
        let mut runs: Vec<_> = (0..1000).map(|_| arena.take(4).expect("memory")).collect();
        runs.iter_mut().for_each(|run| run.bytes_mut().fill(7));
        runs.drain(100..).for_each(|run| arena.give(run));
        let lane = arena.lanes[3].lock();
        assert!(lane.idle.len() * 4 * 4096 <= IDLE_BYTES, "{} idle runs", lane.idle.len());
        assert_eq!(lane.idle.len() + lane.cold.len(), 900);
        assert!(lane.cold.iter().all(|run| run.bytes().iter().all(|&byte| byte == 0)), "discarded");
        assert!(runs.iter().all(|run| run.bytes().iter().all(|&byte| byte == 7)), "kept");
    }
}
