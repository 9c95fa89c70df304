//! The system: everything that actors share, and what one actor carries ([`Ctx`]).
//!
//! Actors are small state machines with `step(&System, &mut Ctx) -> Outcome`. A step holds at most one critical section,
//! one queue operation or one state change; a step that costs time has no visible effect, its effect is the next step.
//! A step knows no driver: it spawns no thread and reads no clock.
//!
//! Lock order: a CPU's `lru_add`, a node's LRU lock, the slots' (a fault frees a slot under the LRU lock), a class of zsmalloc, slabs,
//! a CPU's page list, the buddy lists. zswap's LRU locks and the device's queue are held alone. A zram slot holds the pool's.

pub mod config;
pub mod contents;
pub mod ctx;
mod file;
mod invariant;
mod large;
mod lru;
mod memory;
mod oom;
mod saved;
mod store;
mod workingset;

pub use config::{BuildError, Config, Large, Memory};
pub use contents::{Contents, Sizes};
pub use ctx::{Ctx, Fault, Outcome, StepError, StepResult, Waiting, Work, mark};
pub use lru::PAGEVEC_SIZE;
pub use oom::OomKiller;
pub use saved::PARTS;
pub use store::Store;

use crate::design::{Design, Policy, PolicyError, Scripted, StoreKind, Tag, View};
use crate::filemap::Filemap;
use crate::folio::Folio;
use crate::lifecycle::{Breach, Change, Event, Fire, ProtocolViolation, State, Table, Word, actor, flag};
use crate::memcg::{MemcgStat, Memcgs, ROOT};
use crate::mm::Mm;
use crate::node::{Node, Place};
use crate::queue::{FolioQueue, QueueError};
use crate::stats::Vm;
use crate::swap::{Device, Slots};
use crate::sync::{AtomicU32, CachePadded, Ordering, SpinLock};
use crate::tagged::{Origin, TaggedFolio};
use crate::wait::{WaitKey, WaitTable};
use crate::zsmalloc::PoolConfig;

/// Everything that actors share.
#[derive(Debug)]
pub struct System {
    /// How it was built.
    pub config: Config,
    /// The law.
    pub table: Table,
    scripted: Option<Scripted>,
    /// Pages, by index.
    pub folios: Box<[Folio]>,
    /// Page cache that applications read.
    pub filemap: Filemap,
    /// One queue per kcompressd thread.
    pub queues: Box<[FolioQueue]>,
    /// What actors wait for.
    pub wait: WaitTable,
    /// Nodes.
    pub nodes: Box<[Node]>,
    /// Memory cgroups.
    pub memcgs: Memcgs,
    /// The store.
    pub store: Store,
    /// Swap slots and the zeromap.
    pub slots: Slots,
    /// The swap device behind zswap.
    pub device: Device,
    /// Pages' contents, or their sizes.
    pub contents: Contents,
    /// The memory budget, if there is one.
    pub mm: Option<Mm>,
    /// Who ends when there is no memory.
    pub oom: OomKiller,
    /// Pages on their way to the LRU lists, by CPU.
    lru_add: Box<[SpinLock<Vec<u32>>]>,
    /// Pages of folios queued, compressed by a worker or written to the device, not yet back.
    in_flight: CachePadded<AtomicU32>,
    turn: CachePadded<AtomicU32>,
    /// `kthread_stop` was called of the kcompressd thread with this number plus one; 0: of none.
    stopped_kthread: AtomicU32,
}

impl System {
    /// A system of resident pages on the inactive lists; page 0 is at the tail of its node's.
    ///
    /// `memcg_of` gives each page's memory cgroup.
    ///
    /// # Errors
    /// [`BuildError`].
    pub fn new(
        config: Config,
        table: Table,
        memcgs: Memcgs,
        memcg_of: impl Fn(u32) -> u16,
        device: Device,
        contents: Contents,
    ) -> Result<Self, BuildError> {
        let bytes = matches!(contents, Contents::Frames(_));
        let pages = config.pages(&contents)?;
        let pool = PoolConfig { page_size: config.page_size, chain_size: config.chain_size, bytes };
        config.check_large(pages, &memcg_of)?;
        let queues = config::queues(&config.design);
        let system = Self {
            table,
            scripted: None,
            filemap: Filemap::default(),
            wait: WaitTable::new(queues.len() as u16, pages.clamp(1, 1024)),
            folios: config.folios(pages, memcg_of),
            nodes: config.nodes(&memcgs),
            store: config::store(&config, pool, memcgs.iter().count())?,
            memcgs,
            slots: config.slots(),
            device,
            contents,
            mm: config.memory.map(|memory| Mm::new(memory.zone, memory.file_pages)),
            oom: OomKiller::default(),
            lru_add: (0..config.cpus()).map(|_| SpinLock::new(Vec::with_capacity(PAGEVEC_SIZE))).collect(),
            in_flight: CachePadded::default(),
            turn: CachePadded::default(),
            stopped_kthread: AtomicU32::new(0),
            queues,
            config,
        };
        system.list_everything();
        Ok(system)
    }

    fn list_everything(&self) {
        if let (Some(memory), Some(mm)) = (self.config.memory, &self.mm) {
            self.nodes[0].lru().of(ROOT).read_once = mm.frames().min(memory.file_pages);
            return;
        }
        let listed = |folio: &&Folio| folio.word.load().has(flag::LRU);
        for (i, folio) in self.folios.iter().enumerate().filter(|(_, folio)| listed(folio)) {
            self.nodes[usize::from(folio.node)].lru().of(folio.memcg).add(&self.folios, i as u32, Place::Inactive);
        }
    }

    /// The design.
    #[inline]
    pub fn design(&self) -> &Design {
        &self.config.design
    }

    /// The same system with a script deciding in its design's place; for the single-threaded clocks.
    #[must_use]
    pub fn scripted(self, policy: Scripted) -> Self {
        Self { scripted: Some(policy), ..self }
    }

    /// What is decided about a folio, which actor `by` asks about: by the script, else by the design. `ask` is compiled for either,
    /// so that a design, which looks at little, costs no call.
    ///
    /// # Errors
    /// [`StepError::Policy`].
    #[inline(always)]
    pub fn decide<T>(
        &self,
        folio: &Folio,
        by: u16,
        ask: impl Fn(&dyn Policy, View) -> Result<T, PolicyError>,
    ) -> StepResult<T> {
        Ok(match &self.scripted {
            Some(scripted) => ask(scripted, self.view(folio, by))?,
            None => ask(&self.config.design, self.view(folio, by))?,
        })
    }

    /// Whether the lists are the multi-gen LRU's.
    #[inline]
    pub fn lru_gen(&self) -> bool {
        self.config.memory.is_some_and(|memory| memory.lru_gen)
    }

    /// The folio with this index.
    #[inline]
    pub fn folio(&self, page: u32) -> &Folio {
        &self.folios[page as usize]
    }

    /// The node of a page.
    #[inline]
    pub fn node(&self, page: u32) -> &Node {
        &self.nodes[usize::from(self.folio(page).node)]
    }

    /// What a decision about a folio may look at.
    #[inline(always)]
    fn view(&self, folio: &Folio, by: u16) -> View {
        View {
            store: self.config.store,
            is_kswapd: actor::kind(by) == actor::KSWAPD,
            anon: !folio.shmem,
            writeback_enabled: self.memcgs.writeback_enabled(folio.memcg),
            sync_device: self.config.store == StoreKind::Zram,
            node: folio.node,
            order: folio.nr_pages().trailing_zeros() as u8,
            fill: if self.scripted.is_some() { self.fill() } else { 0 },
            watermark: if self.scripted.is_some() { self.watermark() } else { 3 },
        }
    }

    /// How many of min, low and high the free pages are above, boost not included; 3 without a memory budget.
    #[inline]
    pub fn watermark(&self) -> u8 {
        let Some(mm) = &self.mm else { return 3 };
        let free = mm.zone.free_pages();
        mm.zone.config().watermarks.iter().filter(|&&mark| free > mark).count() as u8
    }

    /// Folios in all queues, in eighths of what they may hold, rounded up.
    fn fill(&self) -> u8 {
        let queued: usize = self.queues.iter().map(FolioQueue::len).sum();
        let room = self.queues.iter().map(FolioQueue::depth).sum::<usize>().max(1);
        (queued * 8).div_ceil(room).min(8) as u8
    }

    /// The queue entry of a folio: tagged when the design tags zswap's.
    #[inline]
    pub fn entry(&self, folio: &Folio) -> TaggedFolio {
        let bit0 = self.design().tag == Tag::Bit0 && self.config.store == StoreKind::Zswap;
        TaggedFolio::new(folio, if bit0 { Origin::Zswap } else { Origin::Zram })
    }

    /// The page of a queue entry.
    ///
    /// # Panics
    /// If the entry is not of this system: nobody else pushes.
    #[inline]
    pub fn page_of(&self, entry: TaggedFolio) -> u32 {
        entry.index_in(&self.folios).expect("a queued folio is of this system") as u32
    }

    /// The index of one of its folios.
    #[inline]
    fn page_number(&self, folio: &Folio) -> u32 {
        let from_first = std::ptr::from_ref(folio).addr() - self.folios.as_ptr().addr();
        (from_first / size_of::<Folio>()) as u32
    }

    /// Fires `event` for a folio, and logs it.
    ///
    /// # Errors
    /// [`StepError::Violation`] when the law forbids it.
    #[inline(always)]
    pub fn fire(
        &self,
        ctx: &mut Ctx,
        folio: &Folio,
        event: Event,
        guards: u8,
        change: Change,
        aux: u64,
    ) -> StepResult<Fire> {
        crate::sync::boundary();
        self.fire_within(ctx, folio, event, guards, change, aux)
    }

    /// As [`System::fire`], but no boundary of its own: for what belongs to the change it follows.
    #[inline(always)]
    fn fire_within(
        &self,
        ctx: &mut Ctx,
        folio: &Folio,
        event: Event,
        guards: u8,
        change: Change,
        aux: u64,
    ) -> StepResult<Fire> {
        match folio.word.fire(&self.table, event, guards, change) {
            Ok(fire) => {
                if let Fire::Done(fired) = &fire {
                    ctx.by_event[event as usize] += 1;
                    if fired.from.state() == State::Compressed {
                        ctx.held_twice -= i64::from(large::weight(folio, fired.from));
                    }
                    if fired.to.state() == State::Compressed {
                        ctx.held_twice += i64::from(large::weight(folio, fired.to));
                    }
                    if may_end_writeback(event) && fired.from.has(flag::WRITEBACK) && !fired.to.has(flag::WRITEBACK) {
                        ctx.stat[Vm::NrWritten] += u64::from(large::weight(folio, fired.from));
                    }
                    ctx.log.page(|| self.page_number(folio), ctx.actor, event as u8, fired, aux);
                }
                Ok(fire)
            }
            Err((word, reason)) => Err(violation(ctx.actor, self.page_number(folio), event, word, reason)),
        }
    }

    /// As [`System::fire`] for a page that nobody else can move: being refused is a violation of ours.
    ///
    /// # Errors
    /// [`StepError`].
    #[inline(always)]
    pub fn must(
        &self,
        ctx: &mut Ctx,
        folio: &Folio,
        event: Event,
        guards: u8,
        change: Change,
        aux: u64,
    ) -> StepResult<()> {
        match self.fire(ctx, folio, event, guards, change, aux)? {
            Fire::Done(_) => Ok(()),
            Fire::Refused(word) => Err(held(self.page_number(folio), event, word)),
        }
    }

    /// Wakes the workers whose queues hold part of a batch. Whoever queues folios calls it when its cluster ends and before
    /// it waits for anything: until then up to a batch gathers behind a sleeping worker.
    pub fn ring(&self) {
        if self.design().batch > 1 {
            let waiting = (0..).zip(&self.queues).filter(|(_, queue)| !queue.is_empty());
            for (number, _) in waiting {
                self.wait.wake_one(WaitKey::Queue(number));
            }
        }
    }

    /// Sets how many entries queue `number` accepts, and wakes whoever waits for room in it. At 0 it is off: whatever the design does
    /// when a queue is full, the producer goes on itself ([`Design::with_depth`]).
    ///
    /// # Errors
    /// [`QueueError::Depth`] above the queue's capacity.
    ///
    /// # Panics
    /// When there is no such queue.
    pub fn set_depth(&self, number: u16, depth: usize) -> Result<(), QueueError> {
        let _before = self.queues[usize::from(number)].set_depth(depth)?;
        self.wait.wake_all(WaitKey::QueueSpace(number));
        Ok(())
    }

    /// Counts `pages` of `memcg` in /proc/vmstat and in the group's memory.stat.
    #[inline]
    pub fn count(&self, ctx: &mut Ctx, memcg: u16, counter: MemcgStat, pages: u64) {
        ctx.stat[counter.vm()] += pages;
        self.memcgs.count(memcg, counter, pages);
    }

    /// A folio of so many pages is in a queue, a worker's hands or on its way to the device.
    pub fn depart(&self, pages: u32) {
        // ORDERING: Relaxed: a count; `arrive` publishes.
        self.in_flight.fetch_add(pages, Ordering::Relaxed);
    }

    /// `pages` pages are back, of which some may now be reclaimed: kswapd is told.
    pub fn arrive(&self, node: &Node, pages: u32) {
        node.made_progress();
        // ORDERING: Release: what was done to them precedes; pairs with `in_flight`.
        self.in_flight.fetch_sub(pages, Ordering::Release);
        self.wait.wake_all(WaitKey::Memory);
        if node.note_written(pages) {
            self.wait.wake_all(WaitKey::Throttle);
        }
    }

    /// Pages of folios that are in a queue, a worker's hands or on their way to the device.
    pub fn in_flight(&self) -> u32 {
        // ORDERING: Acquire: pairs with `arrive`.
        self.in_flight.load(Ordering::Acquire)
    }

    /// A number that rises by one a call, for round-robin placement.
    pub fn next_turn(&self) -> u32 {
        // ORDERING: Relaxed: a counter.
        self.turn.fetch_add(1, Ordering::Relaxed)
    }

    /// `kthread_stop` of kcompressd thread `queue`, but for waking it: modelled, for designs whose thread misses it. No
    /// driver ends a run by it.
    pub fn stop_kthread(&self, queue: u16) {
        // ORDERING: Release: precedes the closing of the queue; pairs with `kthread_should_stop`.
        self.stopped_kthread.store(u32::from(queue) + 1, Ordering::Release);
    }

    /// `kthread_should_stop` of kcompressd thread `queue`.
    pub fn kthread_should_stop(&self, queue: u16) -> bool {
        // ORDERING: Acquire: pairs with `stop_kthread`.
        self.stopped_kthread.load(Ordering::Acquire) == u32::from(queue) + 1
    }
}

/// The events of `folio_end_writeback`, which callers name by constants: the others pay nothing for the count.
const fn may_end_writeback(event: Event) -> bool {
    matches!(event, Event::Store | Event::Reject | Event::Redirty | Event::EndWriteback)
}

#[cold]
#[inline(never)]
fn violation(actor: u16, page: u32, event: Event, word: Word, reason: Breach) -> Box<StepError> {
    ProtocolViolation { page, state: word.state(), event, actor, reason }.into()
}

#[cold]
#[inline(never)]
fn held(page: u32, event: Event, word: Word) -> Box<StepError> {
    Box::new(StepError::Held { page, event, flags: word.flags() })
}
