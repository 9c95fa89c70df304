//! kswapd of a node with a memory budget: `balance_pgdat` and its sleep (mm/vmscan.c).
//!
//! It is woken when an allocation finds less than the low mark free, or the watermarks boosted. It then makes passes of
//! falling priority until the high mark, the boost included, is free. Without a budget [`super::Kswapd`] runs instead.
//! Source: observed on 6.12 (docs/kernel-map.md).

use super::direct::allow_direct_reclaim;
use super::list::Scope;
use super::scan::{DEF_PRIORITY, HZ_10_NS, ScanControl, wait_at_most};
use super::shrink_node::ShrinkNode;
use super::{RAN, Stop};
use crate::memcg::ROOT;
use crate::mm::Mm;
use crate::stats::Vm;
use crate::system::{Ctx, Outcome, StepResult, System};
use crate::units::SWAP_CLUSTER_MAX;
use crate::wait::WaitKey;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Pc {
    TryToSleep,
    Slept { napped: bool },
    Sleep,
    Begin,
    Pass,
    Shrink,
    PassEnd,
    End,
    Done,
}

/// kswapd.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BalancePgdat {
    pc: Pc,
    sc: ScanControl,
    shrink: ShrinkNode,
    /// The boost when this call began.
    boost: u32,
    /// What is left of it to reclaim from the page cache alone; 0: reclaim as ever.
    boost_reclaim: u32,
    reclaimed_before: u32,
    /// It ended for want of page cache to reclaim for the boost's sake.
    gave_up: bool,
    stop: Stop,
}

impl BalancePgdat {
    /// kswapd; it ends when `stop` is set and it would sleep.
    pub fn new(stop: Stop) -> Self {
        let sc = ScanControl::new(0, Scope::GLOBAL);
        let shrink = ShrinkNode::new();
        Self { pc: Pc::TryToSleep, sc, shrink, boost: 0, boost_reclaim: 0, reclaimed_before: 0, gave_up: false, stop }
    }

    /// One step.
    ///
    /// # Errors
    /// See [`StepResult`].
    pub fn step(&mut self, sys: &System, ctx: &mut Ctx) -> StepResult {
        ctx.memalloc = true;
        let Some(mm) = &sys.mm else { return Ok(Outcome::Done) };
        Ok(match self.pc {
            Pc::TryToSleep => self.try_to_sleep(sys, mm),
            Pc::Slept { napped } => self.slept(sys, ctx, mm, napped),
            Pc::Sleep => self.sleep(sys, mm),
            Pc::Begin => self.begin(ctx, mm),
            Pc::Pass => self.pass(mm),
            Pc::Shrink => {
                let (outcome, ended) = self.shrink.step(sys, ctx, &mut self.sc)?;
                if ended {
                    self.pc = Pc::PassEnd;
                }
                outcome
            }
            Pc::PassEnd => self.pass_end(sys),
            Pc::End => self.end(sys, mm),
            Pc::Done => Outcome::Done,
        })
    }

    /// `prepare_kswapd_sleep`: balanced, or hopeless; whoever waits for half the min mark looks again. What is balanced has no writes
    /// to wait for.
    fn may_sleep(sys: &System, mm: &Mm) -> bool {
        sys.wait.wake_all(WaitKey::Pfmemalloc);
        let settled = Self::is_settled(sys, mm);
        if settled && !sys.nodes[0].is_hopeless() {
            sys.nodes[0].set_all_writeback(false);
        }
        settled
    }

    fn is_settled(sys: &System, mm: &Mm) -> bool {
        mm.zone.is_balanced() || sys.nodes[0].is_hopeless()
    }

    /// Whether it must not go to sleep after all: asked once more when it stands in line, or an allocation that came in
    /// between would have woken nobody.
    fn is_wanted(&self, sys: &System, mm: &Mm) -> bool {
        self.stop.is_set() || !Self::is_settled(sys, mm)
    }

    /// First a nap of HZ/10: an allocation that ends it says that the low mark was hit quickly.
    fn try_to_sleep(&mut self, sys: &System, mm: &Mm) -> Outcome {
        if self.stop.is_set() {
            self.pc = Pc::Done;
            return RAN;
        }
        let naps = Self::may_sleep(sys, mm);
        self.pc = Pc::Slept { napped: naps };
        if naps { wait_at_most(sys, WaitKey::Kswapd, HZ_10_NS, || self.is_wanted(sys, mm)) } else { RAN }
    }

    /// Only after a whole nap, or none, it looks again whether it may sleep.
    fn slept(&mut self, sys: &System, ctx: &mut Ctx, mm: &Mm, napped: bool) -> Outcome {
        let woken = napped && !ctx.timed_out;
        self.pc = match (self.stop.is_set(), woken) {
            (true, _) => Pc::Done,
            (false, true) => {
                ctx.stat[Vm::KswapdLowWmarkHitQuickly] += 1;
                Pc::Begin
            }
            (false, false) if Self::may_sleep(sys, mm) => Pc::Sleep,
            (false, false) => {
                ctx.stat[Vm::KswapdHighWmarkHitQuickly] += 1;
                Pc::Begin
            }
        };
        RAN
    }

    fn sleep(&mut self, sys: &System, mm: &Mm) -> Outcome {
        mm.zone.set_kswapd_awake(false);
        self.pc = Pc::Begin;
        Outcome::wait_unless(&sys.wait, WaitKey::Kswapd, || self.is_wanted(sys, mm))
    }

    fn begin(&mut self, ctx: &mut Ctx, mm: &Mm) -> Outcome {
        if self.stop.is_set() {
            self.pc = Pc::Done;
            return RAN;
        }
        ctx.stat[Vm::Pageoutrun] += 1;
        mm.zone.set_kswapd_awake(true);
        mm.zone.set_reclaim_active(true);
        self.sc = ScanControl::new(0, Scope::GLOBAL);
        self.boost = mm.zone.boost();
        self.boost_reclaim = self.boost;
        self.gave_up = false;
        self.pc = Pc::Pass;
        RAN
    }

    /// Decides on the next pass. With the high mark reached and a boost in force the page cache alone gives way; below it
    /// the boost is no special case, and the priorities begin again.
    fn pass(&mut self, mm: &Mm) -> Outcome {
        let balanced = mm.zone.is_balanced();
        if !balanced && self.boost_reclaim > 0 {
            self.boost_reclaim = 0;
            self.sc.priority = DEF_PRIORITY;
            return RAN;
        }
        self.pc = Pc::End;
        if self.boost_reclaim > 0 || !balanced {
            self.pc = Pc::Shrink;
            self.sc.may_swap = self.boost_reclaim == 0;
            self.sc.nr_scanned = 0;
            self.sc.nr_to_reclaim = mm.zone.wmark(2).max(SWAP_CLUSTER_MAX as u32);
            self.reclaimed_before = self.sc.nr_reclaimed;
        }
        RAN
    }

    fn pass_end(&mut self, sys: &System) -> Outcome {
        if allow_direct_reclaim(sys) {
            sys.wait.wake_all(WaitKey::Pfmemalloc);
        }
        let reclaimed = self.sc.nr_reclaimed - self.reclaimed_before;
        self.sc.priority = next_priority(&self.sc, reclaimed, self.boost_reclaim > 0);
        self.boost_reclaim -= self.boost_reclaim.min(reclaimed);
        self.gave_up = self.boost_reclaim > 0 && reclaimed == 0;
        let is_last = self.sc.priority == 0 || self.gave_up || self.stop.is_set();
        self.pc = if is_last && !self.tries_without_cache_trim() { Pc::End } else { Pc::Pass };
        RAN
    }

    /// Nothing was reclaimed at any priority, and somewhere page cache alone was to give way: once more, of both kinds.
    fn tries_without_cache_trim(&mut self) -> bool {
        let ScanControl { priority, nr_reclaimed, cache_trim_mode_failed, no_cache_trim_mode, .. } = self.sc;
        let again = priority == 0 && nr_reclaimed == 0 && cache_trim_mode_failed && !no_cache_trim_mode;
        if again {
            (self.sc.priority, self.sc.no_cache_trim_mode) = (DEF_PRIORITY, true);
        }
        again
    }

    fn end(&mut self, sys: &System, mm: &Mm) -> Outcome {
        let node = &sys.nodes[0];
        if self.sc.nr_reclaimed == 0 && (self.sc.priority == 0 || self.gave_up) {
            node.set_failures(node.failures() + 1);
        }
        mm.zone.set_reclaim_active(false);
        mm.zone.lower_boost(self.boost);
        node.snapshot_refaults(ROOT);
        self.pc = Pc::TryToSleep;
        RAN
    }
}

/// The priority of the pass after `sc`'s, which has freed so many pages: one lower where it freed none or came to look at fewer than it was to
/// free. For a boost's sake it stays where a pass takes a thousandth of the page cache, as long as that frees any.
fn next_priority(sc: &ScanControl, reclaimed: u32, for_a_boost: bool) -> u8 {
    let is_lowest = for_a_boost && sc.priority == DEF_PRIORITY - 2;
    let raises = reclaimed == 0 || sc.nr_scanned < sc.nr_to_reclaim && !is_lowest;
    sc.priority - u8::from(raises)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is looked at and what is freed, against all that a pass was to free.
    #[test]
    fn a_pass_that_finds_what_it_looks_for_keeps_its_priority() {
        for priority in 1..=DEF_PRIORITY {
            let next = |nr_scanned, reclaimed, for_a_boost| {
                let sc = ScanControl { priority, nr_scanned, ..ScanControl::new(100, Scope::GLOBAL) };
                next_priority(&sc, reclaimed, for_a_boost)
            };
            for for_a_boost in [false, true] {
                assert_eq!([100, 150].map(|scanned| next(scanned, 1, for_a_boost)), [priority; 2]);
                assert_eq!([0, 99, 100, 150].map(|scanned| next(scanned, 0, for_a_boost)), [priority - 1; 4]);
            }
            assert_eq!(next(99, 99, false), priority - 1);
            assert_eq!(next(99, 99, true), if priority == 10 { 10 } else { priority - 1 });
        }
    }
}
