//! Direct reclaim and the allocation ladder above it: `try_to_free_pages`, `__alloc_pages_slowpath` (mm/vmscan.c,
//! mm/page_alloc.c), for order-0 pages.
//!
//! An allocation tries the low mark, wakes kswapd, tries the min mark, then reclaims itself and tries again, empties the
//! per-CPU lists, and goes round while there is progress or at most 16 times without.
//! Source: observed on 6.12 (docs/kernel-map.md).

use super::RAN;
use super::list::Scope;
use super::scan::{DEF_PRIORITY, ScanControl, TICK_NS};
use super::shrink_node::ShrinkNode;
use crate::design::Hold;
use crate::memcg::ROOT;
use crate::mm::Mm;
use crate::stats::Vm;
use crate::system::{Ctx, Outcome, StepResult, System};
use crate::units::{MAX_RECLAIM_RETRIES, SWAP_CLUSTER_MAX};
use crate::wait::WaitKey;
use crate::zone::Mark;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Pc {
    Throttle { waited: bool },
    Restart,
    Shrink,
    PassEnd,
}

/// The first kernel with `pgscan_proactive` and `pgsteal_proactive`.
const PROACTIVE_SINCE: (u16, u16) = (6, 15);

/// One direct reclaim under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct TryToFreePages {
    pc: Pc,
    sc: ScanControl,
    shrink: ShrinkNode,
    /// Counted in the node's own reclaim alone.
    allocstall: Option<Vm>,
}

impl TryToFreePages {
    /// For a page of an application, by the application.
    pub fn for_user() -> Self {
        Self::new(Pc::Throttle { waited: false }, Scope::GLOBAL, Some(Vm::AllocstallMovable))
    }

    /// For kernel memory, by a kernel thread, which is never throttled.
    pub fn for_kernel() -> Self {
        Self::new(Pc::Restart, Scope::GLOBAL, Some(Vm::AllocstallNormal))
    }

    /// The same under `GFP_NOIO`.
    pub fn noio() -> Self {
        Self::new(Pc::Restart, Scope { may_io: false, ..Scope::GLOBAL }, Some(Vm::AllocstallNormal))
    }

    /// `pages` pages, at least 32, of `memcg` and the groups below (`try_to_free_mem_cgroup_pages`).
    pub fn for_group(memcg: u16, pages: u32) -> Self {
        let mut reclaim = Self::new(Pc::Restart, Scope { target: Some(memcg), ..Scope::GLOBAL }, None);
        reclaim.sc.nr_to_reclaim = pages.max(SWAP_CLUSTER_MAX as u32);
        reclaim
    }

    /// It was asked for (`memory.reclaim`), which kernels from 6.15 on count as such.
    pub fn proactive(mut self, sys: &System) -> Self {
        self.sc.scope.proactive = sys.config.kernel >= PROACTIVE_SINCE;
        self
    }

    fn new(pc: Pc, scope: Scope, allocstall: Option<Vm>) -> Self {
        let sc = ScanControl::new(SWAP_CLUSTER_MAX as u32, scope);
        Self { pc, sc, shrink: ShrinkNode::new(), allocstall }
    }

    /// One step; the pages reclaimed when it has ended.
    ///
    /// # Errors
    /// See [`StepResult`].
    pub fn step(&mut self, sys: &System, ctx: &mut Ctx) -> StepResult<(Outcome, Option<u32>)> {
        ctx.memstall = true;
        Ok(match self.pc {
            Pc::Throttle { waited } => (self.throttle(sys, ctx, waited), None),
            Pc::Restart => {
                if let Some(allocstall) = self.allocstall {
                    ctx.stat[allocstall] += 1;
                }
                self.sc.priority = DEF_PRIORITY;
                self.sc.nr_scanned = 0;
                self.pc = Pc::Shrink;
                (RAN, None)
            }
            Pc::Shrink => {
                ctx.memalloc = true;
                let (outcome, ended) = self.shrink.step(sys, ctx, &mut self.sc)?;
                if ended {
                    self.pc = Pc::PassEnd;
                }
                (outcome, None)
            }
            Pc::PassEnd => self.pass_end(sys, ctx),
        })
    }

    /// `throttle_direct_reclaim`: below half the min mark it is kswapd's turn.
    fn throttle(&mut self, sys: &System, ctx: &mut Ctx, waited: bool) -> Outcome {
        if allow_direct_reclaim(sys) {
            self.pc = Pc::Restart;
            return RAN;
        }
        ctx.stat[Vm::PgscanDirectThrottle] += u64::from(!waited);
        self.pc = Pc::Throttle { waited: true };
        sys.wait.wake_all(WaitKey::Kswapd);
        Outcome::wait_unless(&sys.wait, WaitKey::Pfmemalloc, || allow_direct_reclaim(sys))
    }

    /// An application does in the node's own reclaim, while more than half of what is reclaimable is under writeback
    /// (`consider_reclaim_throttle`, `skip_throttle_noprogress`).
    fn waits_for_writes(&self, sys: &System, ctx: &Ctx) -> bool {
        !ctx.is_kthread()
            && self.sc.scope.target.is_none()
            && !sys.nodes[0].is_hopeless()
            && 2 * write_pending(sys) > sys.nodes[0].lru().len()
    }

    fn pass_end(&mut self, sys: &System, ctx: &mut Ctx) -> (Outcome, Option<u32>) {
        let enough = self.sc.nr_reclaimed >= self.sc.nr_to_reclaim;
        if !enough && self.sc.priority > 0 {
            // VMSCAN_THROTTLE_NOPROGRESS: one tick, when even the next to last pass found nothing.
            let fruitless = self.sc.priority == 1 && self.sc.nr_reclaimed == 0 && self.waits_for_writes(sys, ctx);
            self.sc.priority -= 1;
            self.sc.nr_scanned = 0;
            self.pc = Pc::Shrink;
            return (if fruitless { Outcome::Sleep(TICK_NS) } else { RAN }, None);
        }
        sys.nodes[0].snapshot_refaults(self.sc.scope.top());
        self.pc = Pc::Restart;
        if self.sc.nr_reclaimed == 0 && !self.sc.full_walk {
            self.sc.full_walk = true;
            return (RAN, None);
        }
        if self.sc.nr_reclaimed == 0 && self.sc.skipped_deactivate {
            (self.sc.force_deactivate, self.sc.skipped_deactivate) = (true, false);
            return (RAN, None);
        }
        if self.sc.nr_reclaimed == 0 && self.sc.low_skipped {
            self.sc.force_deactivate = false;
            (self.sc.low_reclaim, self.sc.low_skipped) = (true, false);
            return (RAN, None);
        }
        (ctx.memalloc, ctx.memstall) = (false, false);
        (RAN, Some(self.sc.nr_reclaimed))
    }
}

/// More than half the min mark is free, or kswapd cannot help: it has failed too often, or there is nothing for it to reclaim.
pub(super) fn allow_direct_reclaim(sys: &System) -> bool {
    let Some(mm) = &sys.mm else { return true };
    sys.nodes[0].is_hopeless() || mm.zone.allows_direct_reclaim() || zone_reclaimable_pages(sys) == 0
}

/// What reclaim could free: page cache, and where there are free slots anonymous pages, those in a scan's hands too.
fn zone_reclaimable_pages(sys: &System) -> u32 {
    let lru = sys.nodes[0].lru();
    let sizes = lru.sizes(ROOT);
    let anon = if sys.slots.is_exhausted() { 0 } else { sizes.inactive + sizes.active + lru.isolated };
    anon + sizes.file()
}

/// Pages under writeback (NR_ZONE_WRITE_PENDING): all that are in flight, but of a design that holds folios locked in its queue those at
/// the device alone.
fn write_pending(sys: &System) -> u32 {
    if sys.design().threads == 0 || sys.design().hold == Hold::Writeback {
        return sys.in_flight();
    }
    let mut pages = 0;
    sys.device.each_pending(|page| pages += sys.nr_pages(page));
    pages
}

/// What is allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Wanted {
    /// A page's frame.
    Frame,
    /// The page table of this number.
    Table(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Rung {
    Fast,
    Wake,
    Min,
    Reclaim,
    Retry { progress: bool },
    Drain { cpu: u16 },
    Last { progress: bool },
}

/// How far an allocation is.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Allocation {
    /// It takes further steps.
    GoesOn,
    /// It has this page.
    Page(u32),
    /// Nothing can be reclaimed any more.
    OutOfMemory,
}

impl From<Option<u32>> for Allocation {
    fn from(page: Option<u32>) -> Self {
        page.map_or(Self::GoesOn, Self::Page)
    }
}

/// One allocation under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct AllocPages {
    wanted: Wanted,
    rung: Rung,
    fruitless: u8,
    reclaim: Option<Box<TryToFreePages>>,
}

impl AllocPages {
    pub fn new(wanted: Wanted) -> Self {
        Self { wanted, rung: Rung::Fast, fruitless: 0, reclaim: None }
    }

    /// Whether it has nothing in its hands that it must put back first.
    pub fn may_stop(&self) -> bool {
        self.reclaim.as_ref().is_none_or(|reclaim| matches!(reclaim.pc, Pc::Throttle { .. }))
    }

    /// What it is for.
    pub fn wanted(&self) -> Wanted {
        self.wanted
    }

    /// One step.
    ///
    /// # Errors
    /// See [`StepResult`].
    pub fn step(&mut self, sys: &System, ctx: &mut Ctx, mm: &Mm) -> StepResult<(Outcome, Allocation)> {
        let page = match self.rung {
            Rung::Fast => self.take(sys, ctx, mm, Mark::Low, Rung::Wake),
            Rung::Wake => {
                sys.wakeup_kswapd();
                self.rung = Rung::Min;
                None
            }
            Rung::Min => self.take(sys, ctx, mm, Mark::Min, Rung::Reclaim),
            Rung::Reclaim => return Ok((self.reclaim(sys, ctx)?, Allocation::GoesOn)),
            Rung::Retry { progress } => {
                let next = if progress { Rung::Drain { cpu: 0 } } else { Rung::Last { progress } };
                self.take(sys, ctx, mm, Mark::Min, next)
            }
            Rung::Drain { cpu } => {
                self.rung = mm.zone.drain(cpu).map_or(Rung::Last { progress: true }, |cpu| Rung::Drain { cpu });
                None
            }
            Rung::Last { progress } => return Ok((RAN, self.last(sys, ctx, mm, progress))),
        };
        Ok((RAN, page.into()))
    }

    fn take(&mut self, sys: &System, ctx: &Ctx, mm: &Mm, mark: Mark, otherwise: Rung) -> Option<u32> {
        let page = match self.wanted {
            Wanted::Frame => mm.take_frame(ctx.cpu, mark),
            Wanted::Table(table) => mm.take_table(ctx.cpu, mark, ctx.actor, table),
        };
        self.rung = otherwise;
        if page.is_some() {
            sys.heed_boost();
        }
        page
    }

    /// Whether the min mark would be reached if all that is reclaimable went (`should_reclaim_retry`).
    fn might_help(sys: &System, mm: &Mm) -> bool {
        mm.zone.free_pages() + zone_reclaimable_pages(sys) > mm.zone.wmark(0)
    }

    fn reclaim(&mut self, sys: &System, ctx: &mut Ctx) -> StepResult {
        let begin = if ctx.is_kthread() { TryToFreePages::for_kernel } else { TryToFreePages::for_user };
        let reclaim = self.reclaim.get_or_insert_with(|| Box::new(begin()));
        let (outcome, ended) = reclaim.step(sys, ctx)?;
        if let Some(reclaimed) = ended {
            self.reclaim = None;
            self.rung = Rung::Retry { progress: reclaimed > 0 };
        }
        Ok(outcome)
    }

    /// The last try of a round, and whether there is another (`should_reclaim_retry`).
    fn last(&mut self, sys: &System, ctx: &Ctx, mm: &Mm, progress: bool) -> Allocation {
        self.rung = Rung::Wake;
        if progress && let Some(page) = self.take(sys, ctx, mm, Mark::Min, Rung::Wake) {
            return Allocation::Page(page);
        }
        self.fruitless = if progress { 0 } else { self.fruitless + 1 };
        if self.fruitless <= MAX_RECLAIM_RETRIES && Self::might_help(sys, mm) {
            return Allocation::GoesOn;
        }
        self.fruitless = 0;
        Allocation::OutOfMemory
    }
}
