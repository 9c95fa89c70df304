//! A kcompressd thread: empties its queue, a batch at a time, and finishes what it took. Where folios go to the shortest queue, one that
//! has emptied its own takes half of what waits in the longest, so that all are done at about the same time.

use super::direct::TryToFreePages;
use super::{Cluster, RAN, SCANNED};
use crate::design::Placement;
use crate::lifecycle::flag;
use crate::queue::{Drained, Then};
use crate::stats::Vm;
use crate::swapout::{Progress, Swapout, was_begun};
use crate::sync::{prefetch_to_write, spin_loop};
use crate::system::{Ctx, Outcome, StepResult, System};
use crate::trace::aux;
use crate::units::SWAP_CLUSTER_MAX;
use crate::wait::WaitKey;
use crate::zone::{Held, Mark, Migrate};

/// What a zspage takes beside its own pages where their slabs are full: its descriptor, and its object's handle.
const SLAB_PAGES: u32 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Pc {
    Drain,
    /// Takes from the queue of another.
    Help {
        queue: u16,
    },
    Folio {
        at: u8,
    },
    /// Rotates the finished folios of `node` on; then the batch goes on at `next`.
    Settle {
        node: u8,
        next: u8,
    },
    /// The store wants `pages` pages for folio `at`, and this thread may not use the reserves: it reclaims. `drains`: before its next round the
    /// CPUs' lists are drained.
    Reclaim {
        at: u8,
        pages: u32,
        drains: bool,
    },
    /// That was not enough: what `cpu` keeps to itself goes to the buddy lists and into the zone's count.
    DrainCpu {
        at: u8,
        pages: u32,
        cpu: u16,
    },
    Sleep,
    Done,
}

/// One kcompressd thread.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Kcompressd {
    queue: u16,
    pc: Pc,
    batch: Cluster,
    /// The first half of `zswap_store` was done, one bit a folio of the batch.
    begun: u32,
    /// The queue that the batch is of, and the position of its first folio.
    drained: u16,
    first_position: u64,
    swapout: Option<Swapout>,
    /// Finished folios that are still to be rotated and reported.
    finished: Cluster,
    /// Their pages.
    finished_pages: u32,
    then: Then,
    /// It has slept and found nothing since.
    woken_for_nothing: bool,
    reclaim: Option<Box<TryToFreePages>>,
    /// What it has of the pages that it reclaims for.
    held: Held,
}

impl Kcompressd {
    /// The thread of queue `queue`.
    pub fn new(queue: u16) -> Self {
        Self {
            queue,
            pc: Pc::Drain,
            batch: Cluster::default(),
            begun: 0,
            drained: queue,
            first_position: 0,
            swapout: None,
            finished: Cluster::default(),
            finished_pages: 0,
            then: Then::Empty,
            woken_for_nothing: false,
            reclaim: None,
            held: Held::default(),
        }
    }

    /// Folios it has taken from its queue and not finished, in order.
    pub fn in_hand(&self) -> &[u32] {
        match self.pc {
            Pc::Folio { at: first }
            | Pc::Reclaim { at: first, .. }
            | Pc::DrainCpu { at: first, .. }
            | Pc::Settle { next: first, .. } => self.batch.as_slice().get(usize::from(first)..).unwrap_or_default(),
            Pc::Drain | Pc::Help { .. } | Pc::Sleep | Pc::Done => &[],
        }
    }

    /// Finished folios that it has still to rotate and report.
    pub fn finished(&self) -> &[u32] {
        self.finished.as_slice()
    }

    /// One step.
    ///
    /// # Errors
    /// See [`StepResult`].
    #[inline(always)]
    pub fn step(&mut self, sys: &System, ctx: &mut Ctx) -> StepResult {
        ctx.memalloc = sys.design().worker_flags.memalloc;
        match self.pc {
            Pc::Drain => Ok(self.drain(sys, ctx)),
            Pc::Help { queue } => Ok(self.help(sys, ctx, queue)),
            Pc::Folio { at } => self.folio(sys, ctx, at),
            Pc::Settle { node, next } => self.settle(sys, ctx, node, next),
            Pc::Reclaim { at, pages, drains } => self.reclaim(sys, ctx, at, pages, drains),
            Pc::DrainCpu { at, pages, cpu } => Ok(self.drain_cpu(sys, at, pages, cpu)),
            Pc::Sleep => Ok(self.sleep(sys)),
            Pc::Done => Ok(Outcome::Done),
        }
    }

    /// Takes a batch from its queue; from another's next where its own is empty.
    fn drain(&mut self, sys: &System, ctx: &mut Ctx) -> Outcome {
        let most = usize::from(sys.design().batch);
        if !self.take(sys, ctx, self.queue, most) {
            spin_loop();
            return RAN; // Somebody else takes the head: try again.
        }
        let helped = if self.batch.is_empty() && self.then == Then::Empty { self.longest(sys) } else { None };
        self.pc = match helped {
            Some(queue) => Pc::Help { queue },
            None => self.next_after_drain(),
        };
        RAN
    }

    /// Takes half of what waits in `queue`, a batch at most; what it finds there says nothing of its own queue.
    fn help(&mut self, sys: &System, ctx: &mut Ctx, queue: u16) -> Outcome {
        let half = sys.queues[usize::from(queue)].len().div_ceil(2);
        let taken = half > 0 && self.take(sys, ctx, queue, half.min(sys.design().batch.into()));
        self.then = if taken && !self.batch.is_empty() { Then::More } else { Then::Empty };
        self.pc = self.next_after_drain();
        RAN
    }

    fn next_after_drain(&self) -> Pc {
        if self.batch.is_empty() { Pc::Settle { node: 0, next: 0 } } else { Pc::Folio { at: 0 } }
    }

    /// The queue of another that it helps, if any: one with more than its own worker takes next. (Under shuttle, whose runs are short, any.)
    fn longest(&self, sys: &System) -> Option<u16> {
        if sys.design().placement != Placement::Shortest {
            return None;
        }
        let others = (0..).zip(&sys.queues).filter(|&(number, _)| number != self.queue);
        let (len, number) = others.map(|(number, queue)| (queue.len(), number)).max()?;
        let most = if cfg!(kcompressd_shuttle) { 0 } else { usize::from(sys.design().batch) };
        (len > most).then_some(number)
    }

    /// Takes up to `most` folios, holding the consumer's token for just that; false: somebody else has it.
    fn take(&mut self, sys: &System, ctx: &mut Ctx, queue: u16, most: usize) -> bool {
        crate::sync::boundary();
        let Some(mut consumer) = sys.queues[usize::from(queue)].claim() else { return false };
        let mut taken = [None; SWAP_CLUSTER_MAX];
        let Drained { n, first, released, then } = consumer.drain(&mut taken[..most]);
        drop(consumer);
        (self.drained, self.first_position, self.then, self.begun) = (queue, first, then, 0);
        self.batch.clear();
        if n > 0 {
            ctx.stat[Vm::KcompressdWakeups] += u64::from(std::mem::take(&mut self.woken_for_nothing));
        }
        for (i, entry) in taken[..n].iter().flatten().enumerate() {
            let page = sys.page_of(*entry);
            prefetch_to_write(sys.folio(page));
            self.batch.push(page);
            self.begun |= u32::from(was_begun(sys, *entry)) << i;
        }
        if released > 0 {
            sys.wait.wake_all(WaitKey::QueueSpace(queue));
        }
        true
    }

    #[inline(always)]
    fn folio(&mut self, sys: &System, ctx: &mut Ctx, at: u8) -> StepResult {
        let page = self.batch.as_slice()[usize::from(at)];
        let ticket = aux::ticket(self.drained, self.first_position + u64::from(at));
        let begun = self.begun >> at & 1 == 1;
        let swapout = self.swapout.get_or_insert_with(|| Swapout::from_queue(page, sys.nr_pages(page), ticket, begun));
        let outcome = match swapout.step(sys, ctx)? {
            Progress::Step(outcome) => return Ok(outcome),
            Progress::Stalled { pages } => {
                self.pc = Pc::Reclaim { at, pages: pages + SLAB_PAGES, drains: false };
                return Ok(RAN);
            }
            Progress::Done(_) => {
                let nr_pages = swapout.nr_pages();
                self.finish(ctx, page, nr_pages)
            }
        };
        let next = at + 1;
        let last = usize::from(next) == self.batch.len();
        if last {
            self.batch.clear();
            self.begun = 0;
        }
        self.pc = match self.finished.len() == SWAP_CLUSTER_MAX {
            true => Pc::Settle { node: 0, next },
            false if last => Pc::Drain,
            false => Pc::Folio { at: next },
        };
        Ok(outcome)
    }

    /// Direct reclaim under GFP_NOIO, which never fails: it adds nothing to the swap cache, asks for no OOM kill, is never
    /// throttled, and goes on until the min mark has let every page pass. Those that it has meanwhile are nobody else's: kswapd
    /// sees a node without them, and is woken.
    fn reclaim(&mut self, sys: &System, ctx: &mut Ctx, at: u8, pages: u32, drains: bool) -> StepResult {
        let Some(mm) = &sys.mm else { return Ok(Outcome::Done) };
        if self.reclaim.is_none() {
            if mm.zone.take_more(&mut self.held, ctx.cpu, Migrate::Unmovable, Mark::Min, pages) {
                mm.zone.give_held(&mut self.held, ctx.cpu, Migrate::Unmovable); // zs_malloc takes them at once.
                sys.heed_boost();
                self.pc = Pc::Folio { at };
                return Ok(RAN);
            }
            if drains {
                self.pc = Pc::DrainCpu { at, pages, cpu: 0 };
                return Ok(RAN);
            }
            sys.wakeup_kswapd();
        }
        let reclaim = self.reclaim.get_or_insert_with(|| Box::new(TryToFreePages::noio()));
        let (outcome, reclaimed) = reclaim.step(sys, ctx)?;
        if let Some(reclaimed) = reclaimed {
            self.reclaim = None;
            self.pc = Pc::Reclaim { at, pages, drains: reclaimed > 0 || !mm.zone.is_kswapd_awake() };
        }
        Ok(outcome)
    }

    /// `drain_all_pages`, where a round had progress and its pages are on a CPU's lists. While kswapd sleeps also without progress, for what
    /// `vmstat_update` and `quiet_vmstat` do every second and on idle CPUs: the marks may refuse pages that kswapd, which counts exactly, takes
    /// for free, and nobody else would fold them in.
    fn drain_cpu(&mut self, sys: &System, at: u8, pages: u32, cpu: u16) -> Outcome {
        let Some(mm) = &sys.mm else { return Outcome::Done };
        let next = mm.zone.drain(cpu).map(|cpu| Pc::DrainCpu { at, pages, cpu });
        self.pc = next.unwrap_or(Pc::Reclaim { at, pages, drains: false });
        RAN
    }

    fn finish(&mut self, ctx: &mut Ctx, page: u32, nr_pages: u32) -> Outcome {
        self.swapout = None;
        ctx.stat[Vm::KcompressdDone] += 1;
        self.finished.push(page);
        self.finished_pages += nr_pages;
        RAN
    }

    /// Rotates what is finished, in one critical section a node, and tells kswapd: when 32 have gathered (as the per-CPU
    /// batch of `folio_rotate_reclaimable`), and before sleeping.
    fn settle(&mut self, sys: &System, ctx: &mut Ctx, node: u8, next: u8) -> StepResult {
        let marked = |page: &&u32| {
            let folio = sys.folio(**page);
            folio.node == node && folio.word.load().has(flag::RECLAIM)
        };
        let mut pages = <Cluster>::default();
        self.finished.as_slice().iter().filter(marked).for_each(|&page| pages.push(page));
        if !pages.is_empty() {
            sys.rotate(ctx, node, pages.as_slice())?;
        }
        if node + 1 < sys.config.nodes {
            self.pc = Pc::Settle { node: node + 1, next };
            return Ok(SCANNED);
        }
        self.report(sys);
        self.pc = match (usize::from(next) < self.batch.len(), self.then) {
            (true, _) => Pc::Folio { at: next },
            // A predicate without kthread_should_stop(): the thread was woken, looked at its queue alone, and sleeps on.
            (false, Then::Closed) if self.woken_for_nothing && self.misses_stop(sys) => Pc::Sleep,
            (false, Then::Closed) => Pc::Done,
            (false, Then::Empty) => Pc::Sleep,
            (false, Then::More | Then::Busy) => Pc::Drain,
        };
        if self.then == Then::Busy {
            spin_loop(); // A producer is between reservation and publication: it may need this CPU.
        }
        Ok(SCANNED)
    }

    fn report(&mut self, sys: &System) {
        for node in &sys.nodes {
            node.made_progress();
        }
        if let Some(&page) = self.finished.as_slice().first() {
            sys.arrive(sys.node(page), self.finished_pages);
        }
        self.finished.clear();
        self.finished_pages = 0;
    }

    /// Sleeps until something is queued or the queue is closed.
    fn sleep(&mut self, sys: &System) -> Outcome {
        let queue = &sys.queues[usize::from(self.queue)];
        let closed = || queue.is_closed() && !self.misses_stop(sys);
        let outcome = Outcome::wait_unless(&sys.wait, WaitKey::Queue(self.queue), || !queue.is_empty() || closed());
        self.woken_for_nothing = matches!(outcome, Outcome::Wait(..));
        self.pc = Pc::Drain;
        outcome
    }

    /// Whether `kthread_stop` was called and a sleeping thread does not notice it.
    fn misses_stop(&self, sys: &System) -> bool {
        !sys.design().stop_in_predicate && sys.kthread_should_stop(self.queue)
    }

    /// The folio that it is finishing.
    pub fn swapout(&self) -> Option<&Swapout> {
        self.swapout.as_ref()
    }

    /// [`super::Actor::each_page`].
    pub fn each_page(&mut self, f: &mut dyn FnMut(&mut u32)) {
        let Self {
            queue: _,
            pc: _,
            batch,
            begun: _,
            drained: _,
            first_position: _,
            swapout,
            finished,
            finished_pages: _,
            then: _,
            woken_for_nothing: _,
            reclaim: _,
            held: _,
        } = self;
        batch.each_page(f);
        if let Some(swapout) = swapout {
            swapout.each_page(f);
        }
        finished.each_page(f);
    }

    /// [`super::Actor::normalise`]: positions in the queue's history, and what only a design that misses a stop asks for.
    pub fn normalise(&mut self, sys: &System) {
        (self.drained, self.first_position) = (self.queue, 0);
        self.woken_for_nothing &= !sys.design().stop_in_predicate;
        if let Some(swapout) = &mut self.swapout {
            swapout.normalise();
        }
    }
}
