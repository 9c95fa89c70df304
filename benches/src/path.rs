//! One run of the path, and the codec alone.

use crate::pages::Corpus;
use kcompressd_core::codec::CodecSpec;
use kcompressd_core::design::{Design, StoreKind};
use kcompressd_core::driver::live::{FaultOrder, Gate, Live, LiveConfig, pin};
use kcompressd_core::frames::Frames;
use kcompressd_core::lifecycle::Table;
use kcompressd_core::memcg::Memcgs;
use kcompressd_core::swap::{Backing, Device, IoFaults};
use kcompressd_core::system::{Config, Contents, System};
use kcompressd_core::units::{PAGE_SIZE, SWAP_CLUSTER_MAX};
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// What runs, on which pages.
#[derive(Clone, Copy)]
pub struct Path<'a> {
    /// The pages.
    pub corpus: &'a Corpus,
    /// The design, with its threads.
    pub design: Design,
    /// The compressor.
    pub codec: CodecSpec,
    /// Whether the pool's memory is touched before the clock starts.
    pub warm: bool,
    /// Whether every event is logged.
    pub trace: bool,
}

impl<'a> Path<'a> {
    /// lz4 on warm memory, not traced.
    pub fn new(corpus: &'a Corpus, design: Design) -> Self {
        Self { corpus, design, codec: "lz4".parse().expect("a codec"), warm: true, trace: false }
    }

    /// The system before anything has happened, on zswap without a limit.
    pub fn system(&self) -> System {
        let slots = 2 * self.corpus.len() as u32;
        let config = Config { codec: self.codec, ..Config::new(self.design, StoreKind::Zswap, slots) };
        let frames =
            Contents::Frames(Frames::from_bytes(self.corpus.bytes(), PAGE_SIZE).expect("memory for the frames"));
        let device = Device::new(Backing::Modelled, PAGE_SIZE, IoFaults::default());
        System::new(config, Table::default(), Memcgs::default(), |_| 0, device, frames).expect("a valid system")
    }

    /// The time of the reclaim phase, its threads pinned.
    pub fn reclaim(&self) -> Duration {
        let (warm, trace, fault) = (self.warm, self.trace, FaultOrder::None);
        let live = LiveConfig { pin: true, warm, trace, fault, ..LiveConfig::default() };
        let report = Live::start(self.system(), live, Vec::new()).expect("threads").finish();
        assert_eq!(report.error, None);
        Duration::from_nanos(report.timing.reclaim_ns)
    }
}

/// The time `threads` pinned threads need to compress every page, from when all are ready until the last is done.
pub fn bare(corpus: &Corpus, codec: CodecSpec, threads: u16) -> Duration {
    let (gate, next) = (Gate::new(), AtomicUsize::new(0));
    let body = |cpu| {
        pin(cpu);
        let (mut codec, mut block) = (codec.open(), vec![0; 2 * PAGE_SIZE]);
        gate.pass();
        // ORDERING: Relaxed: the counter deals out work and orders nothing.
        while let Some(from) = corpus.bytes().get(next.fetch_add(SWAP_CLUSTER_MAX, Ordering::Relaxed) * PAGE_SIZE..) {
            for page in from.chunks_exact(PAGE_SIZE).take(SWAP_CLUSTER_MAX) {
                black_box(codec.compress(page, &mut block));
            }
        }
        Instant::now() // As the path's last thread: what it takes to end one is no part of either.
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.into()).map(|cpu| scope.spawn(move || body(cpu))).collect();
        let begin = gate.open(threads.into(), Instant::now);
        let ends = workers.into_iter().map(|worker| worker.join().expect("the codec does not panic"));
        ends.max().expect("threads") - begin
    })
}
