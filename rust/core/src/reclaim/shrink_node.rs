//! One pass of reclaim over a node at one priority: `shrink_node`, `shrink_lruvec`, `shrink_active_list`,
//! and `shrink_slab` for zswap and zsmalloc (mm/vmscan.c).
//!
//! A pass takes a share of each list (its length >> priority) in rounds of 32, inactive lists first. The active list is
//! touched only where there is too little inactive or refaulted pages were activated. Anonymous and page-cache pages share
//! the work by what reclaiming each has cost.
//! Source: observed on 6.12 (docs/kernel-map.md); Documentation/admin-guide/sysctl/vm.rst (`swappiness`).

mod file;
mod scan_count;
mod slab;

use super::evict::{EvictFolios, Evicted, is_sizable};
use super::file::ShrinkFile;
use super::list::{ShrinkList, note_scan, note_steal};
use super::scan::{HZ_10_NS, ScanControl, wait_at_most};
use super::walk::Walk;
use super::{Cluster, RAN, SCANNED};
use crate::lifecycle::{Change, Event, flag};
use crate::memcg::{MemcgStat, ROOT};
use crate::node::{MemcgLruOp, Node};
use crate::stats::Vm;
use crate::swapout::writeback::Shrinking;
use crate::system::{Ctx, Outcome, StepResult, System, mark};
use crate::units::SWAP_CLUSTER_MAX;
use crate::wait::WaitKey;
use crate::zswap::shrink::ShrinkSlab;
use scan_count::in_proportion;
use slab::Compaction;

/// The lists in the order in which a round takes them.
const INACTIVE_ANON: usize = 0;
const ACTIVE_ANON: usize = 1;
const INACTIVE_FILE: usize = 2;
const ACTIVE_FILE: usize = 3;
/// The kinds of pages, in arrays of two.
const ANON: usize = 0;
const FILE: usize = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Pc {
    Age {
        group: u16,
    },
    Count,
    /// The multi-gen LRU's way with a group.
    Generations,
    Round {
        list: u8,
    },
    Isolated {
        kind: u8,
        stalled: bool,
    },
    Drain {
        then: Then,
    },
    Inactive,
    Active {
        then: After,
    },
    File,
    FileFree {
        pages: u32,
    },
    InactiveFile,
    ActiveFile,
    Slab,
    Zswap,
    Zsmalloc,
    /// Classes that are left.
    Compact {
        classes: u16,
    },
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Then {
    /// The multi-gen LRU drains once, before a pass.
    Count,
    Inactive,
    Active {
        then: After,
    },
    InactiveFile,
    ActiveFile,
}

impl Then {
    fn pc(self) -> Pc {
        match self {
            Self::Count => Pc::Count,
            Self::Inactive => Pc::Inactive,
            Self::Active { then } => Pc::Active { then },
            Self::InactiveFile => Pc::InactiveFile,
            Self::ActiveFile => Pc::ActiveFile,
        }
    }
}

/// What follows on a group's active list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum After {
    /// The same of the next group.
    Age,
    File,
    Slab,
}

impl After {
    /// Where a pass goes on that was at `memcg`'s active list.
    fn pc(self, sys: &System, memcg: u16) -> Pc {
        match self {
            Self::Age => sys.memcgs.next_below(ROOT, Some(memcg)).map_or(Pc::Count, |group| Pc::Age { group }),
            Self::File => Pc::Round { list: INACTIVE_FILE as u8 },
            Self::Slab => Pc::Slab,
        }
    }
}

/// Pages of a whole pass: isolated, met under writeback, and of those where kswapd should wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Sums {
    taken: u32,
    writeback: u32,
    immediate: u32,
}

/// A pass under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ShrinkNode {
    pc: Pc,
    walk: Walk,
    /// The parts of the anonymous and of the page-cache lists that are scanned.
    shares: [(u64, u64); 2],
    batch: ShrinkList,
    /// A batch of page cache.
    file_batch: Option<Box<ShrinkFile>>,
    /// Pages left to take from each list.
    nr: [u32; 4],
    /// What the anonymous and the page-cache lists had to give when the pass began.
    targets: [u32; 4],
    /// Pages to take in the round under way.
    now: u32,
    /// Whether each kind's active list may be scanned.
    may_deactivate: [bool; 2],
    /// Every target is to be met, whatever has been reclaimed.
    proportional: bool,
    /// Freed from this group, and in this pass before.
    reclaimed: u32,
    reclaimed_before: u32,
    sums: Sums,
    evict: EvictFolios,
    /// The turn of zswap's shrinker.
    zswap: Option<Box<Shrinking<ShrinkSlab>>>,
    /// The turn of zsmalloc's.
    compaction: Option<Box<Compaction>>,
}

type Step = StepResult<(Outcome, bool)>;

const GOES_ON: bool = false;
const BEGIN: Pc = Pc::Age { group: ROOT };

impl ShrinkNode {
    pub fn new() -> Self {
        Self {
            pc: BEGIN,
            walk: Walk::default(),
            shares: [(0, 1); 2],
            batch: ShrinkList::new(0),
            file_batch: None,
            nr: [0; 4],
            targets: [0; 4],
            now: 0,
            may_deactivate: [false; 2],
            proportional: false,
            reclaimed: 0,
            reclaimed_before: 0,
            sums: Sums::default(),
            evict: EvictFolios::default(),
            zswap: None,
            compaction: None,
        }
    }

    /// One step, and whether the pass has ended; then it can begin again.
    pub fn step(&mut self, sys: &System, ctx: &mut Ctx, sc: &mut ScanControl) -> Step {
        let node = &sys.nodes[0];
        match self.pc {
            Pc::Age { group } => Ok((self.kswapd_age_node(ctx, node, group), GOES_ON)),
            Pc::Count => Ok((self.get_scan_count(sys, ctx, node, sc), GOES_ON)),
            Pc::Generations => self.generations(sys, ctx, sc),
            Pc::Round { list } => Ok((self.round(sys, ctx, sc, list), GOES_ON)),
            Pc::Isolated { kind, stalled } => Ok((self.too_many_isolated(ctx, node, sc, (kind, stalled)), GOES_ON)),
            Pc::Drain { then } => {
                sys.lru_add_drain(ctx)?;
                self.pc = then.pc();
                Ok((RAN, GOES_ON))
            }
            Pc::Inactive => self.inactive(sys, ctx, sc),
            Pc::Active { then } => {
                self.shrink_active_list(sys, ctx, node)?;
                self.pc = then.pc(sys, self.batch.memcg);
                Ok((SCANNED, GOES_ON))
            }
            Pc::File => Ok((self.file(sys, ctx, node, sc), GOES_ON)),
            Pc::FileFree { pages } => Ok((self.file_free(sys, ctx, pages), GOES_ON)),
            Pc::InactiveFile => Ok((self.inactive_file(sys, ctx, sc), GOES_ON)),
            Pc::ActiveFile => Ok((self.active_file(sys, ctx), GOES_ON)),
            Pc::Slab => Ok((self.ask_shrinkers(sys, sc), GOES_ON)),
            Pc::Zswap => self.zswap(sys, ctx),
            Pc::Zsmalloc => Ok((self.zsmalloc(sys, sc), GOES_ON)),
            Pc::Compact { classes } => Ok((self.compact(sys, ctx, classes), GOES_ON)),
            Pc::End => Ok(self.end(sys, ctx, node, sc)),
        }
    }

    /// Before each of its passes kswapd ages 32 pages of every group, where little is inactive.
    fn kswapd_age_node(&mut self, ctx: &Ctx, node: &Node, group: u16) -> Outcome {
        let classic = node.lru().of(ROOT).generations.is_none();
        let ages = classic && ctx.current_is_kswapd() && node.lru().sizes(ROOT).inactive_is_low();
        self.batch.memcg = group;
        self.pc = match (classic, ages) {
            (false, _) => Pc::Drain { then: Then::Count },
            (true, true) => Pc::Drain { then: Then::Active { then: After::Age } },
            (true, false) => Pc::Count,
        };
        RAN
    }

    fn generations(&mut self, sys: &System, ctx: &mut Ctx, sc: &mut ScanControl) -> Step {
        let (outcome, how) = self.evict.step(sys, ctx, sc, (&mut self.batch, &mut self.file_batch))?;
        self.reclaimed = self.evict.reclaimed;
        match how {
            Evicted::GoesOn => {}
            Evicted::File(pages) => {
                note_scan(sys, ctx, sc.scope, Vm::PgscanFile, self.batch.memcg, pages);
                note_steal(sys, ctx, sc.scope, Vm::PgstealFile, self.batch.memcg, pages);
                self.pc = Pc::FileFree { pages };
            }
            Evicted::Done { aged } => {
                if aged {
                    self.walk.rotate(MemcgLruOp::Young);
                }
                self.pc = Pc::Slab;
            }
        }
        Ok((outcome, GOES_ON))
    }

    /// The next list of the round that has pages left, or the end of the lists.
    fn round(&mut self, sys: &System, ctx: &mut Ctx, sc: &mut ScanControl, list: u8) -> Outcome {
        let list = usize::from(list);
        if list > INACTIVE_FILE && self.nr.get(list).is_none_or(|&nr| nr == 0) {
            ctx.marks |= mark::COND_RESCHED;
            self.after_round(sc);
            return RAN;
        }
        if list == 0 && [INACTIVE_ANON, INACTIVE_FILE, ACTIVE_FILE].iter().all(|&list| self.nr[list] == 0) {
            self.lists_ended(sys);
            return RAN;
        }
        self.now = self.nr[list].min(SWAP_CLUSTER_MAX as u32);
        self.nr[list] -= self.now;
        self.pc = match (list, self.now) {
            (_, 0) => Pc::Round { list: list as u8 + 1 },
            (INACTIVE_ANON, _) => Pc::Isolated { kind: ANON as u8, stalled: false },
            (ACTIVE_ANON, _) if self.may_deactivate[ANON] => Pc::Drain { then: Then::Active { then: After::File } },
            (ACTIVE_FILE, _) if self.may_deactivate[FILE] => Pc::Drain { then: Then::ActiveFile },
            (INACTIVE_FILE, _) => Pc::File,
            _ => {
                sc.skipped_deactivate = true;
                Pc::Round { list: list as u8 + 1 }
            }
        };
        RAN
    }

    /// A round over the lists has ended: with enough reclaimed the kind with less left stops, the other's target is cut in
    /// proportion, and after one more round of it the lists end.
    fn after_round(&mut self, sc: &ScanControl) {
        self.pc = Pc::Round { list: 0 };
        if self.reclaimed >= sc.nr_to_reclaim && !self.proportional {
            self.nr = in_proportion(self.nr, self.targets);
        }
    }

    fn inactive(&mut self, sys: &System, ctx: &mut Ctx, sc: &mut ScanControl) -> Step {
        let outcome = self.batch.step(sys, ctx, self.now, None, sc.scope)?;
        if outcome != Outcome::Done {
            return Ok((outcome, GOES_ON));
        }
        let tally = self.batch.take_tally();
        sc.nr_scanned += tally.scanned;
        self.reclaimed += tally.freed;
        self.sums.taken += tally.taken;
        self.sums.writeback += tally.writeback;
        self.sums.immediate += tally.immediate;
        self.pc = Pc::Round { list: ACTIVE_ANON as u8 };
        Ok((SCANNED, GOES_ON))
    }

    /// `shrink_active_list`: 32 pages from the active tail to the inactive head, whether touched or not.
    fn shrink_active_list(&self, sys: &System, ctx: &mut Ctx, node: &Node) -> StepResult<()> {
        let mut lru = node.lru();
        let mut aged = <Cluster>::default();
        let lruvec = lru.of(self.batch.memcg);
        let mut pages = 0;
        for page in lruvec.active.from_tail(&sys.folios) {
            if pages >= SWAP_CLUSTER_MAX as u64 {
                break;
            }
            aged.push(page);
            pages += u64::from(sys.nr_pages(page));
        }
        for &page in aged.as_slice() {
            sys.must(ctx, sys.folio(page), Event::Deactivate, 0, Change::flags(0, flag::ACTIVE | flag::YOUNG), 0)?;
            lruvec.relocate(&sys.folios, page, true, false, false);
            sys.folio(page).set_workingset(1);
        }
        for counter in [MemcgStat::Pgrefill, MemcgStat::Pgdeactivate] {
            sys.count(ctx, self.batch.memcg, counter, pages);
        }
        Ok(())
    }

    /// Where little is inactive, 32 more are aged.
    fn lists_ended(&mut self, sys: &System) {
        // Read without the lock, as the kernel does: a hint.
        let low = sys.nodes[0].lru().sizes(self.batch.memcg).inactive_is_low();
        self.pc = if low { Pc::Drain { then: Then::Active { then: After::Slab } } } else { Pc::Slab };
    }

    /// The group is done with: on to the next one (`mem_cgroup_iter`), or the pass has ended. Then kswapd notes that it met
    /// nothing but writeback, and waits where it met pages that were to be freed by it.
    fn end(&mut self, sys: &System, ctx: &mut Ctx, node: &Node, sc: &mut ScanControl) -> (Outcome, bool) {
        sc.nr_reclaimed += self.reclaimed;
        self.reclaimed_before += self.reclaimed;
        self.pc = Pc::Count;
        let mut enough = sc.nr_reclaimed >= sc.nr_to_reclaim;
        if self.walk.is_memcg_lru() {
            self.walk.end_turn(node, is_sizable(sys, sc, self.batch.memcg));
            enough = self.evict.should_abort_scan(sys, ctx, sc);
        }
        if self.walk.next(sys, node, enough) {
            ctx.marks |= mark::COND_RESCHED;
            return (RAN, false);
        }
        self.pc = BEGIN;
        match self.reclaimed_before {
            0 => sc.cache_trim_mode_failed |= sc.cache_trim_mode,
            _ => node.set_failures(0),
        }
        if !ctx.current_is_kswapd() {
            return (RAN, true);
        }
        if self.sums.writeback > 0 && self.sums.writeback == self.sums.taken {
            node.set_all_writeback(true);
        }
        if self.sums.immediate == 0 {
            return (RAN, true);
        }
        node.throttle();
        (wait_at_most(sys, WaitKey::Throttle, HZ_10_NS, || !node.is_throttled()), true)
    }
}
