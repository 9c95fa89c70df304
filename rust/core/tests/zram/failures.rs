//! Whatever fails, and whenever: what a slot holds is what was last written there with success, the counters say what there is, and
//! when every slot is free nothing is left of anything.

use super::*;
use kcompressd_core::zram::ReadError;
use proptest::prelude::*;

/// Pages and handles that run out.
struct Short {
    pages: Cell<usize>,
    pages_left: Cell<usize>,
    handles: Cell<usize>,
    handles_left: Cell<usize>,
}

impl Short {
    /// Takes `n` of what is `left`.
    fn take_from(left: &Cell<usize>, taken: &Cell<usize>, n: usize) -> bool {
        let enough = left.get() >= n;
        if enough {
            left.update(|left| left - n);
            taken.update(|taken| taken + n);
        }
        enough
    }
}

impl Frames for Short {
    fn take(&self, pages: usize) -> Option<u32> {
        Self::take_from(&self.pages_left, &self.pages, pages).then_some(0)
    }
    fn give(&self, _name: u32, pages: usize) {
        self.pages.update(|taken| taken - pages);
    }
    fn take_handle(&self) -> bool {
        Self::take_from(&self.handles_left, &self.handles, 1)
    }
    fn give_handle(&self) {
        self.handles.update(|taken| taken - 1);
    }
}

#[derive(Clone, Debug)]
enum Op {
    Store(u32, u8, u64),
    Load(u32),
    Free(u32),
    Idle,
    Recompress(usize, Option<u8>),
    Writeback(Wanted),
    Compact,
    MemLimit(u64),
    WritebackLimit(Option<u64>),
    Left(usize, usize),
}

fn op() -> impl Strategy<Value = Op> {
    let slot = || 0..SLOTS;
    let wanted = prop::sample::select(vec![Wanted::default(), IDLE, HUGE, INCOMPRESSIBLE]);
    // Too little for most, and plenty.
    let left = || prop_oneof![2 => 0usize..6, 1 => Just(1000)];
    prop_oneof![
        8 => (slot(), any::<u8>(), any::<u64>()).prop_map(|(slot, kind, seed)| Op::Store(slot, kind, seed)),
        3 => slot().prop_map(Op::Load),
        2 => slot().prop_map(Op::Free),
        1 => Just(Op::Idle),
        3 => (prop::sample::select(vec![0, 1500, 3600]), prop::option::of(1u8..3))
            .prop_map(|(threshold, alone)| Op::Recompress(threshold, alone)),
        3 => wanted.prop_map(Op::Writeback),
        1 => Just(Op::Compact),
        1 => (0u64..8).prop_map(Op::MemLimit),
        1 => prop::option::of(0u64..3).prop_map(Op::WritebackLimit),
        3 => (left(), left()).prop_map(|(pages, handles)| Op::Left(pages, handles)),
    ]
}

/// The device, and what is on the side of it.
struct Run {
    zram: Zram,
    streams: Streams,
    frames: Short,
    pages: Vec<Option<Vec<u8>>>,
    blocks: u64,
}

impl Run {
    fn new(faults: IoFaults, blocks: u32) -> Self {
        let many = || Cell::new(1000);
        Self {
            zram: device("failures", blocks, faults),
            streams: streams(&[CodecName::Lz4, CodecName::LzoRle, CodecName::Zstd]),
            frames: Short { pages: Cell::new(0), pages_left: many(), handles: Cell::new(0), handles_left: many() },
            pages: vec![None; SLOTS as usize],
            blocks: u64::from(blocks) - 1,
        }
    }

    fn step(&mut self, op: &Op) -> Result<(), TestCaseError> {
        let Self { zram, streams, frames, pages, .. } = self;
        match *op {
            Op::Store(slot, kind, seed) => {
                let contents = page(kind, seed);
                let failed = io(zram, "failed_writes");
                let stored = zram.store(slot, &contents, streams, frames).is_ok();
                prop_assert_eq!(io(zram, "failed_writes") - failed, u64::from(!stored));
                if stored {
                    pages[slot as usize] = Some(contents);
                }
            }
            Op::Load(slot) => {
                let mut read = vec![0; PAGE];
                match zram.load(slot, streams, &mut read) {
                    Ok(()) => {
                        prop_assert!(read == pages[slot as usize].clone().unwrap_or(vec![0; PAGE]), "slot {}", slot)
                    }
                    Err(error) => prop_assert!(matches!(error, ReadError::Device(_)), "{}", error),
                }
            }
            Op::Free(slot) => {
                zram.free(slot, frames);
                pages[slot as usize] = None;
            }
            Op::Idle => zram.mark_idle(None),
            Op::Recompress(threshold, priority) => {
                let request = Recompress { threshold, priority, ..Recompress::default() };
                let done = zram.recompress(&request, streams, frames);
                prop_assert!(matches!(done, Ok(_) | Err(RecompressError::NoMemory { .. })), "{:?}", done);
            }
            Op::Writeback(wanted) => {
                let (budget, before) = (zram.writeback_limit(), io(zram, "bd_writes"));
                let done = zram.writeback(wanted, streams, frames);
                let written = done.as_ref().map_or_else(|error| error.written, |&written| written);
                prop_assert_eq!(io(zram, "bd_writes") - before, written);
                prop_assert_eq!(zram.writeback_limit(), budget.map(|left| left - written));
                match done.map_err(|error| error.reason) {
                    Ok(_) | Err(WritebackReason::Device(_)) => {}
                    Err(WritebackReason::Limit) => prop_assert_eq!(zram.writeback_limit(), Some(0)),
                    Err(WritebackReason::Full) => prop_assert_eq!(io(zram, "bd_count"), self.blocks),
                    Err(other) => prop_assert!(false, "{}", other),
                }
            }
            Op::Compact => drop(zram.compact(frames)),
            Op::MemLimit(limit) => zram.set_mem_limit(limit),
            Op::WritebackLimit(limit) => zram.set_writeback_limit(limit),
            Op::Left(pages, handles) => {
                frames.pages_left.set(pages);
                frames.handles_left.set(handles);
            }
        }
        self.check()
    }

    /// What is taken is what there is.
    fn check(&self) -> Result<(), TestCaseError> {
        let Self { zram, frames, pages, .. } = self;
        let (stat, objects) = (zram.mm_stat(), zram.pool().objects());
        let held = pages.iter().flatten().count();
        prop_assert!((0..SLOTS).all(|slot| zram.holds(slot) == pages[slot as usize].is_some()));
        prop_assert_eq!(stat.orig_data_size, (held * PAGE) as u64);
        prop_assert_eq!(held as u64, stat.same_pages + objects as u64 + io(zram, "bd_count"));
        prop_assert_eq!(stat.compr_data_size, (0..SLOTS).map(|slot| zram.len_bytes(slot)).sum::<u64>());
        prop_assert_eq!(stat.compr_data_size, zram.pool().stats().used_bytes as u64);
        prop_assert_eq!((frames.pages.get(), frames.handles.get()), (zram.pool().total_pages(), objects));
        zram.pool().invariant();
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_and_nothing_is_left(
        ops in prop::collection::vec(op(), 1..80),
        writes in prop::collection::vec(0u64..12, 0..4),
        short_writes in prop::collection::vec(0u64..12, 0..3),
        reads in prop::collection::vec(0u64..6, 0..3),
        blocks in 2u32..8,
    ) {
        let mut run = Run::new(IoFaults { writes, short_writes, reads }, blocks);
        for op in &ops {
            run.step(op).map_err(|error| TestCaseError::fail(format!("after {op:?}: {error}")))?;
        }
        let Run { zram, frames, .. } = run;
        (0..SLOTS).for_each(|slot| zram.free(slot, &frames));
        let stat = zram.mm_stat();
        prop_assert_eq!([stat.orig_data_size, stat.compr_data_size, stat.mem_used_total, stat.same_pages, stat.huge_pages], [0; 5]);
        prop_assert_eq!((io(&zram, "bd_count"), frames.pages.get(), frames.handles.get()), (0, 0, 0));
        zram.pool().invariant();
    }
}
