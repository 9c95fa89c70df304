//! kswapd: isolates, looks, puts back; pass after pass.
//!
//! It gives up as the kernel does, after passes that got nowhere. A queue hides that: a folio that was sent may come back
//! dirty (a full zram, a broken device), to be sent again for ever. So passes that sent but freed nothing are counted
//! too: after 16 of them every pass waits until nothing is in flight, after 32 kswapd is done.

use super::list::{Scope, ShrinkList};
use super::{Cluster, RAN, SCANNED};
use crate::lifecycle::{Change, Event, State, flag};
use crate::memcg::ROOT;
use crate::node::Node;
use crate::stats::Vm;
use crate::swapout::Swapout;
use crate::system::{Ctx, Outcome, StepResult, System};
use crate::units::{MAX_RECLAIM_RETRIES, SWAP_CLUSTER_MAX};
use crate::wait::WaitKey;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Pc {
    PassStart,
    Age,
    Shrink,
    PassEnd,
    Sleep,
    Done,
}

/// kswapd of one node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Kswapd {
    node: u8,
    pc: Pc,
    batch: ShrinkList,
    /// Folios left to isolate in this pass.
    to_scan: u32,
    /// Whether anything was freed, stored, queued or sent off in this pass.
    moved: bool,
    /// Whether anything was freed in this pass.
    freed: bool,
    progress_seen: u32,
    failures: u8,
    /// Passes since the last freed frame that sent something.
    resent: u8,
    /// Reclaims just these (the script's choice), once.
    only: Option<u32>,
}

impl Kswapd {
    /// kswapd of `node`.
    pub fn new(node: u8) -> Self {
        Self {
            node,
            pc: Pc::PassStart,
            batch: ShrinkList::new(node),
            to_scan: 0,
            moved: false,
            freed: false,
            progress_seen: 0,
            failures: 0,
            resent: 0,
            only: None,
        }
    }

    /// kswapd of the page's node, looking at that page once and then done: what a script drives.
    pub fn only(sys: &System, page: u32) -> Self {
        Self { only: Some(page), to_scan: 1, pc: Pc::Shrink, ..Self::new(sys.folio(page).node) }
    }

    /// As [`Kswapd::only`], for a page on the active list: ages it first.
    pub fn aging(sys: &System, page: u32) -> Self {
        Self { pc: Pc::Age, ..Self::only(sys, page) }
    }

    /// One step.
    ///
    /// # Errors
    /// See [`StepResult`].
    #[inline(always)]
    pub fn step(&mut self, sys: &System, ctx: &mut Ctx) -> StepResult {
        let node = || &sys.nodes[usize::from(self.node)];
        match self.pc {
            Pc::PassStart => Ok(self.pass_start(node(), ctx)),
            Pc::Age => self.age(sys, ctx, node()),
            Pc::Shrink => self.shrink(sys, ctx),
            Pc::PassEnd => Ok(self.pass_end(sys, node())),
            Pc::Sleep => Ok(self.sleep(sys, node())),
            Pc::Done => Ok(Outcome::Done),
        }
    }

    fn pass_start(&mut self, node: &Node, ctx: &mut Ctx) -> Outcome {
        self.progress_seen = node.progress();
        self.to_scan = node.lru().of(ROOT).sizes().inactive;
        (self.moved, self.freed) = (false, false);
        ctx.stat[Vm::Pageoutrun] += 1;
        self.pc = if self.to_scan == 0 { Pc::Age } else { Pc::Shrink };
        RAN
    }

    /// `shrink_active_list`, when the inactive list is empty: folios that were activated under writeback and have finished.
    /// Those in state `activated` could not go and are left where they are.
    fn age(&mut self, sys: &System, ctx: &mut Ctx, node: &Node) -> StepResult {
        let (mut lru, mut list) = (node.lru(), <Cluster>::default());
        for page in lru.of(ROOT).active.from_tail(&sys.folios).take(SWAP_CLUSTER_MAX * SWAP_CLUSTER_MAX) {
            let word = sys.folio(page).word.load();
            let busy = word.has(flag::LOCKED) || word.has(flag::WRITEBACK);
            let meant = self.only.is_none_or(|only| only == page);
            if meant && !busy && word.state() != State::Activated && list.len() < SWAP_CLUSTER_MAX {
                list.push(page);
            }
        }
        for &page in list.as_slice() {
            sys.must(ctx, sys.folio(page), Event::Deactivate, 0, Change::flags(0, flag::ACTIVE), 0)?;
            lru.of(ROOT).relocate(&sys.folios, page, true, false, false);
        }
        let aged: u64 = list.as_slice().iter().map(|&page| u64::from(sys.nr_pages(page))).sum();
        ctx.stat[Vm::Pgrefill] += aged;
        ctx.stat[Vm::Pgdeactivate] += aged;
        self.to_scan = aged as u32;
        self.pc = match (aged, self.only) {
            (0, None) => Pc::PassEnd,
            (0, Some(_)) => Pc::Done,
            _ => Pc::Shrink,
        };
        Ok(SCANNED)
    }

    /// One step of a batch from the inactive tail, or of the script's one folio.
    #[inline(always)]
    fn shrink(&mut self, sys: &System, ctx: &mut Ctx) -> StepResult {
        let outcome = self.batch.step(sys, ctx, self.to_scan, self.only, Scope::GLOBAL)?;
        if outcome != Outcome::Done {
            return Ok(outcome);
        }
        let tally = self.batch.take_tally();
        self.moved |= tally.moved > 0;
        self.freed |= tally.freed > 0;
        self.to_scan = self.to_scan.saturating_sub(tally.taken);
        self.pc = match (self.only, self.to_scan, tally.taken) {
            (Some(_), ..) => Pc::Done,
            (None, 0, _) | (None, _, 0) => Pc::PassEnd,
            _ => Pc::Shrink,
        };
        Ok(SCANNED)
    }

    fn pass_end(&mut self, sys: &System, node: &Node) -> Outcome {
        let (in_flight, empty) = (sys.in_flight() > 0, node.lru().of(ROOT).inactive.is_empty());
        let news = node.progress() != self.progress_seen;
        self.failures = if self.moved || news { 0 } else { self.failures + 1 };
        self.resent = if self.freed { 0 } else { self.resent + u8::from(self.moved) };
        self.pc = match (self.moved || news, in_flight, empty) {
            _ if self.resent >= 2 * MAX_RECLAIM_RETRIES => Pc::Done,
            (_, true, _) if self.resent >= MAX_RECLAIM_RETRIES => Pc::Sleep,
            (false, false, true) => Pc::Done,
            (false, true, _) => Pc::Sleep,
            (false, false, false) if self.failures >= MAX_RECLAIM_RETRIES => Pc::Done,
            _ => Pc::PassStart,
        };
        RAN
    }

    /// Sleeps until something that was in flight has arrived (the throttle on writeback, without its timeout), or all of it
    /// when nothing came of what was sent before.
    fn sleep(&mut self, sys: &System, node: &Node) -> Outcome {
        self.failures = 0;
        let seen = self.progress_seen;
        let any = self.resent < MAX_RECLAIM_RETRIES;
        let outcome =
            Outcome::wait_unless(&sys.wait, WaitKey::Memory, || any && node.progress() != seen || sys.in_flight() == 0);
        self.pc = if any || matches!(outcome, Outcome::Ran(_)) { Pc::PassStart } else { Pc::Sleep };
        outcome
    }

    /// The folio that it is writing out.
    pub fn swapout(&self) -> Option<&Swapout> {
        self.batch.swapout()
    }

    /// [`super::Actor::each_page`].
    pub fn each_page(&mut self, f: &mut dyn FnMut(&mut u32)) {
        let Self { batch, only, .. } = self;
        batch.each_page(f);
        only.iter_mut().for_each(f);
    }

    /// [`super::Actor::normalise`]: of the node's progress it only matters whether there was any since.
    pub fn normalise(&mut self, sys: &System) {
        let news = sys.nodes[usize::from(self.node)].progress() != self.progress_seen;
        self.progress_seen = if news { u32::MAX } else { 0 };
        self.batch.normalise();
    }
}
