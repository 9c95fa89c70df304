//! The page cache's lists and refaults against a naive model of them: one application reads, reclaim takes its turns in between.
//!
//! The model is written from the documentation and not from the code: two lists, a second read activates, a shadow's distance decides.

use super::{ShrinkFile, shrink_active_list};
use crate::design::{Preset, StoreKind};
use crate::filemap::{File, FileAccess, flag};
use crate::lifecycle::{Table, actor};
use crate::list::Listed;
use crate::memcg::{Memcgs, ROOT};
use crate::reclaim::App;
use crate::reclaim::list::Scope;
use crate::stats::Vm;
use crate::swap::{Backing, Device, IoFaults};
use crate::system::{Config, Contents, Ctx, Memory, Outcome, Sizes, System};
use crate::trace::Log;
use crate::units::NIL;
use crate::workload::{Phase, Program};
use crate::zone::ZoneConfig;
use std::collections::VecDeque;

#[derive(Clone, Copy, Default)]
struct Page {
    cached: bool,
    active: bool,
    referenced: bool,
    workingset: bool,
    shadow: Option<u64>,
}

#[derive(Default)]
struct Cache {
    pages: Vec<Page>,
    inactive: VecDeque<usize>,
    active: VecDeque<usize>,
    age: u64,
    refaults: u64,
    activated: u64,
    restored: u64,
    reads: u64,
}

impl Cache {
    fn read(&mut self, page: usize) {
        if !self.pages[page].cached {
            self.reads += 1;
            self.add(page);
        }
        let found = &mut self.pages[page];
        match (found.referenced, found.active) {
            (false, _) => found.referenced = true,
            (true, true) => {}
            (true, false) => {
                (found.referenced, found.active) = (false, true);
                self.age += 1;
                self.inactive.retain(|&other| other != page);
                self.active.push_front(page);
            }
        }
    }

    fn add(&mut self, page: usize) {
        let active = self.pages[page].shadow.take().is_some_and(|shadow| self.refault(page, shadow));
        let workingset = active && self.pages[page].workingset;
        self.pages[page] = Page { cached: true, active, workingset, ..Page::default() };
        if active { self.active.push_front(page) } else { self.inactive.push_front(page) }
    }

    fn refault(&mut self, page: usize, shadow: u64) -> bool {
        self.refaults += 1;
        if self.age - shadow > self.active.len() as u64 {
            return false;
        }
        self.age += 1;
        self.activated += 1;
        self.restored += u64::from(self.pages[page].workingset);
        true
    }

    /// Takes `nr` pages from the inactive tail: they were only read, so that they go.
    fn shrink_inactive(&mut self, nr: usize) {
        for _ in 0..nr.min(self.inactive.len()) {
            let Some(page) = self.inactive.pop_back() else { return };
            let workingset = self.pages[page].workingset;
            self.pages[page] = Page { workingset, shadow: Some(self.age), ..Page::default() };
            self.age += 1;
        }
    }

    fn shrink_active(&mut self) {
        for _ in 0..32.min(self.active.len()) {
            let Some(page) = self.active.pop_back() else { return };
            (self.pages[page].active, self.pages[page].workingset) = (false, true);
            self.inactive.push_front(page);
        }
    }
}

const FILE: u32 = 96;

fn system() -> System {
    let zone = ZoneConfig {
        managed_pages: 1000,
        free_pages: 1000,
        watermarks: [10, 20, 30],
        boost_factor: 0,
        pcp_batch: 15,
        cpus: 1,
    };
    let memory = Some(Memory { pages: 8, zone, file_pages: 0, lru_gen: false, swappiness: 60 });
    let config = Config { memory, ..Config::new(Preset::Sync.design(StoreKind::Zram), StoreKind::Zram, 64) };
    let device = Device::new(Backing::Modelled, 4096, IoFaults::default());
    let sizes = Contents::Sizes(Sizes::uniform(8, 100));
    let system = System::new(config, Table::default(), Memcgs::default(), |_| ROOT, device, sizes).unwrap();
    system.with_files(&[File { pages: FILE, memcg: ROOT, access: FileAccess::Read }])
}

/// The system, and the actor whose steps it takes.
struct Real {
    sys: System,
    ctx: Ctx,
}

impl Real {
    fn new() -> Self {
        let sys = system();
        let ctx = Ctx::new(actor::APP, sys.config.codec, 4096, Log::new(false, 0));
        Self { sys, ctx }
    }

    /// An application reads one page, and nobody else does anything.
    fn read(&mut self, page: u32) {
        let page = self.sys.filemap.pages().start + page;
        let mut app = App::running(Program::phases([Phase::once(page..page + 1, false)], 0));
        while app.step(&self.sys, &mut self.ctx).unwrap() != Outcome::Done {}
        self.sys.lru_add_drain(&mut self.ctx).unwrap();
    }

    fn shrink_inactive(&mut self, nr: u32) {
        let mut batch = ShrinkFile::default();
        while batch.step(&self.sys, &mut self.ctx, ROOT, nr, Scope::GLOBAL) != Outcome::Done {}
    }

    /// A list from head to tail.
    fn list(&self, active: bool) -> Vec<usize> {
        let folios = self.sys.filemap.folios();
        let on_it = |folio: &crate::filemap::FileFolio| folio.has(flag::LRU) && folio.has(flag::ACTIVE) == active;
        let head = folios.iter().position(|folio| on_it(folio) && folio.links().prev() == NIL);
        let next = |&at: &usize| Some(folios[at].links().next()).filter(|&next| next != NIL).map(|next| next as usize);
        std::iter::successors(head, next).collect()
    }
}

/// Code in use stays active through a turn of aging, which the kernel counts as a move to the active list: the node grows older by it.
#[test]
fn code_that_stays_active_ages_what_has_left() {
    let files = [File { pages: FILE, memcg: ROOT, access: FileAccess::Executable }];
    let mut real = Real { sys: system().with_files(&files), ..Real::new() };
    (0..3).for_each(|page| real.read(page));
    real.shrink_inactive(32);
    assert_eq!((real.list(true).len(), real.sys.nodes[0].age(ROOT)), (3, 3), "in use at their first look");
    (0..2).for_each(|page| real.read(page));
    shrink_active_list(&real.sys, &mut real.ctx, ROOT);
    assert_eq!((real.list(true).len(), real.list(false).len(), real.sys.nodes[0].age(ROOT)), (2, 1, 5));
}

/// A read of a page, or a turn of reclaim at one of the lists.
#[derive(Clone, Copy, Debug)]
enum Step {
    Read(u32),
    Inactive(u32),
    Active,
}

fn steps() -> impl proptest::strategy::Strategy<Value = Vec<Step>> {
    use proptest::prelude::*;
    let step = prop_oneof![
        12 => (0..FILE).prop_map(Step::Read),
        1 => (1..33u32).prop_map(Step::Inactive),
        1 => Just(Step::Active),
    ];
    proptest::collection::vec(step, 0..400)
}

proptest::proptest! {
    /// Both lists in their order, ages and counters, after any reads and turns of reclaim.
    #[test]
    fn lists_and_refault_distances_are_those_of_a_naive_model(steps in steps()) {
        let mut real = Real::new();
        let mut model = Cache { pages: vec![Page::default(); FILE as usize], ..Cache::default() };
        for step in steps {
            match step {
                Step::Read(page) => { real.read(page); model.read(page as usize); }
                Step::Inactive(nr) => { real.shrink_inactive(nr); model.shrink_inactive(nr as usize); }
                Step::Active => { shrink_active_list(&real.sys, &mut real.ctx, ROOT); model.shrink_active(); }
            }
            proptest::prop_assert_eq!(real.list(false), Vec::from(model.inactive.clone()));
            proptest::prop_assert_eq!(real.list(true), Vec::from(model.active.clone()));
            proptest::prop_assert_eq!(u64::from(real.sys.nodes[0].age(ROOT)), model.age);
        }
        let stat = &real.ctx.stat;
        let counted = [Vm::WorkingsetRefaultFile, Vm::WorkingsetActivateFile, Vm::WorkingsetRestoreFile].map(|vm| stat[vm]);
        proptest::prop_assert_eq!(counted, [model.refaults, model.activated, model.restored]);
        proptest::prop_assert_eq!(stat[Vm::Pgpgin], 4 * model.reads);
        real.sys.invariant();
    }
}
