//! A group at its limit reclaims from itself: `try_charge`, `mem_cgroup_handle_over_high`, `memory.reclaim` (mm/memcontrol.c).
//!
//! Source: Documentation/admin-guide/cgroup-v2.rst (`memory.max`, `memory.high`, `memory.reclaim`); observed, 6.12. Differences: frames are
//! charged one by one, without a CPU's stock of 64.

use super::RAN;
use super::direct::TryToFreePages;
use crate::memcg::MemcgEvent;
use crate::system::{Ctx, Outcome, StepResult, System};
use crate::units::{MAX_RECLAIM_RETRIES, SWAP_CLUSTER_MAX};

/// Frames that a thread charges between two looks at `memory.high` (MEMCG_CHARGE_BATCH).
pub(super) const CHARGE_BATCH: u8 = 64;

/// A penalty below this is not worth a sleep: HZ/100, nanoseconds.
const LEAST_DELAY_NS: u64 = 10_000_000;

/// How a charge is going.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Charge {
    /// It takes further steps.
    GoesOn,
    /// The frame is charged.
    Charged,
    /// This group has nothing left to reclaim.
    OutOfMemory(u16),
}

/// A charge that met a limit.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct TryCharge {
    memcg: u16,
    over: u16,
    retries: u8,
    /// What CPUs have in stock of the limit has been asked for back (`drain_all_stock`), which earns one more round; here they have none.
    drained: bool,
    reclaim: Option<Box<TryToFreePages>>,
}

impl TryCharge {
    /// One frame for `memcg`, which `over`'s limit does not allow.
    pub fn new(memcg: u16, over: u16) -> Self {
        Self { memcg, over, retries: MAX_RECLAIM_RETRIES, drained: false, reclaim: None }
    }

    /// Whether it has nothing in its hands that it must put back first.
    pub fn may_stop(&self) -> bool {
        self.reclaim.is_none()
    }

    /// One step.
    ///
    /// # Errors
    /// See [`StepResult`].
    pub fn step(&mut self, sys: &System, ctx: &mut Ctx) -> StepResult<(Outcome, Charge)> {
        let Some(reclaim) = &mut self.reclaim else { return Ok((RAN, self.charge(sys))) };
        let (outcome, ended) = reclaim.step(sys, ctx)?;
        let Some(reclaimed) = ended else { return Ok((outcome, Charge::GoesOn)) };
        self.reclaim = None;
        let fruitless =
            !sys.memcgs.has_margin(self.over) && std::mem::replace(&mut self.drained, true) && reclaimed == 0;
        if fruitless {
            if self.retries == 0 {
                self.retries = MAX_RECLAIM_RETRIES;
                sys.memcgs.note_event(self.over, MemcgEvent::Oom);
                return Ok((outcome, Charge::OutOfMemory(self.over)));
            }
            self.retries -= 1;
        }
        Ok((outcome, Charge::GoesOn))
    }

    fn charge(&mut self, sys: &System) -> Charge {
        match sys.memcgs.try_charge(self.memcg) {
            Ok(()) => return Charge::Charged,
            Err(over) => self.over = over,
        }
        sys.memcgs.note_event(self.over, MemcgEvent::Max);
        self.reclaim = Some(Box::new(TryToFreePages::for_group(self.over, SWAP_CLUSTER_MAX as u32)));
        Charge::GoesOn
    }
}

/// On the way back to user mode: the groups from one up that are above `memory.high` are reclaimed from, each in turn; if they still
/// are above, and by much, once more, and if nothing is reclaimed any more the thread sleeps.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct HandleOverHigh {
    memcg: u16,
    /// From where on this round has still to look.
    next: Option<u16>,
    /// Pages that each group is reclaimed of: what was charged, and in later rounds 32.
    pages: u32,
    reclaim: Option<Box<TryToFreePages>>,
    /// In this round.
    reclaimed: u32,
    retries: u8,
    sleeps: bool,
}

impl HandleOverHigh {
    pub fn new(memcg: u16) -> Self {
        Self {
            memcg,
            next: Some(memcg),
            pages: CHARGE_BATCH.into(),
            reclaim: None,
            reclaimed: 0,
            retries: MAX_RECLAIM_RETRIES,
            sleeps: false,
        }
    }

    /// Whether it has nothing in its hands that it must put back first.
    pub fn may_stop(&self) -> bool {
        self.reclaim.is_none()
    }

    /// One step, and whether it was the last.
    ///
    /// # Errors
    /// See [`StepResult`].
    pub fn step(&mut self, sys: &System, ctx: &mut Ctx) -> StepResult<(Outcome, bool)> {
        if let Some(reclaim) = &mut self.reclaim {
            let (outcome, ended) = reclaim.step(sys, ctx)?;
            if let Some(reclaimed) = ended {
                (self.reclaim, self.reclaimed) = (None, self.reclaimed + reclaimed);
            }
            return Ok((outcome, false));
        }
        ctx.memstall = false;
        if self.sleeps {
            return Ok((RAN, true));
        }
        let Some(over) = self.next.and_then(|next| sys.memcgs.over_high(next)) else { return Ok(self.ended(sys, ctx)) };
        sys.memcgs.note_event(over, MemcgEvent::High);
        self.reclaim = Some(Box::new(TryToFreePages::for_group(over, self.pages)));
        self.next = sys.memcgs.parent(over);
        Ok((RAN, false))
    }

    /// A round has ended: there is another one, a sleep, or neither.
    fn ended(&mut self, sys: &System, ctx: &mut Ctx) -> (Outcome, bool) {
        let delay_ns = sys.memcgs.high_delay_ns(self.memcg);
        if delay_ns <= LEAST_DELAY_NS {
            return (RAN, true);
        }
        if self.reclaimed == 0 && self.retries == 0 {
            (self.sleeps, ctx.memstall) = (true, true);
            return (Outcome::Sleep(delay_ns), false);
        }
        self.retries -= u8::from(self.reclaimed == 0);
        (self.next, self.pages, self.reclaimed) = (Some(self.memcg), SWAP_CLUSTER_MAX as u32, 0);
        (RAN, false)
    }
}

/// Somebody who writes to `memory.reclaim` of a group, once: a quarter of what is left is reclaimed at a time, but at least 32 pages.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MemoryReclaim {
    request: ReclaimRequest,
    retries: u8,
    begun: bool,
    reclaim: Option<Box<TryToFreePages>>,
    reclaimed: u32,
    /// Nothing was reclaimed 17 times (EAGAIN).
    gave_up: bool,
    /// CPUs whose pages on the way to the lists were put there, before the last try (`lru_add_drain_all`).
    drained: u16,
}

/// What is written, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReclaimRequest {
    /// Nanoseconds after the run's begin.
    pub at_ns: u64,
    /// The group; the root: the node.
    pub memcg: u16,
    /// How many pages are to be reclaimed.
    pub pages: u32,
}

impl MemoryReclaim {
    /// Who makes `request`.
    pub fn new(request: ReclaimRequest) -> Self {
        Self {
            request,
            retries: MAX_RECLAIM_RETRIES,
            begun: false,
            reclaim: None,
            reclaimed: 0,
            gave_up: false,
            drained: 0,
        }
    }

    /// What is written.
    pub fn request(&self) -> ReclaimRequest {
        self.request
    }

    /// Pages reclaimed so far: less than requested at the end is the kernel's EAGAIN.
    pub fn reclaimed(&self) -> u32 {
        self.reclaimed
    }

    /// One step.
    ///
    /// # Errors
    /// See [`StepResult`].
    pub fn step(&mut self, sys: &System, ctx: &mut Ctx) -> StepResult {
        if !std::mem::replace(&mut self.begun, true) {
            return Ok(Outcome::Sleep(self.request.at_ns));
        }
        if self.retries == 0 && self.drained < sys.mm.as_ref().map_or(0, |mm| mm.zone.cpus()) {
            sys.lru_add_drain_cpu(ctx, self.drained)?;
            self.drained += 1;
            return Ok(RAN);
        }
        let Some(reclaim) = &mut self.reclaim else { return Ok(self.begin(sys)) };
        let (outcome, ended) = reclaim.step(sys, ctx)?;
        ctx.memstall = false; // Nobody waits for this memory.
        if let Some(reclaimed) = ended {
            self.reclaim = None;
            self.reclaimed += reclaimed;
            self.gave_up = reclaimed == 0 && self.retries == 0;
            self.retries -= u8::from(reclaimed == 0 && self.retries > 0);
        }
        Ok(outcome)
    }

    fn begin(&mut self, sys: &System) -> Outcome {
        let left = self.request.pages.saturating_sub(self.reclaimed);
        if left == 0 || self.gave_up || sys.mm.is_none() {
            return Outcome::Done;
        }
        self.reclaim = Some(Box::new(TryToFreePages::for_group(self.request.memcg, left / 4).proactive(sys)));
        RAN
    }
}
