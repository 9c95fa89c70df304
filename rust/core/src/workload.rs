//! What applications do, as data: which page is touched next, and whether it is written.
//!
//! A [`Program`] is a sequence of [`Phase`]s over a range of pages; it draws random numbers only from its own seed, so equal
//! programs touch equal pages. Nothing here knows memory or time.

mod random;

pub use random::{SplitMix, Zipf};

use std::ops::Range;
use std::sync::Arc;

/// Which page of a phase's range comes next.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Pattern {
    /// One after the other, and round again.
    InOrder,
    /// Any, with equal odds.
    Random,
    /// By a zipf law.
    Zipf(Zipf),
    /// As it was recorded, and round again.
    Trace(Trace),
}

/// Recorded touches.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Trace {
    /// Offsets into the phase's range; [`TRACE_WRITE`] says that the touch writes.
    pub touches: Arc<[u32]>,
    /// What the application computes after each, in nanoseconds; of one without times, empty.
    pub gaps_ns: Arc<[u32]>,
}

/// The bit of a trace's entry that says "written".
pub const TRACE_WRITE: u32 = 1 << 31;

/// A stretch of touches.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Phase {
    /// The pages it chooses from.
    pub pages: Range<u32>,
    /// Touches.
    pub touches: u64,
    /// Which page comes next.
    pub pattern: Pattern,
    /// Touches of a thousand that write; a trace says it itself.
    pub write_permille: u32,
    /// What the application computes after each touch, in nanoseconds.
    pub think_ns: u32,
    /// How long it sleeps before the first one, in nanoseconds.
    pub wait_ns: u64,
    /// The pages of a file that are read beside.
    pub file: Option<FilePart>,
}

/// Pages of a file, of which a phase's touches read some beside the phase's own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FilePart {
    /// The pages. A trace's numbers go on from the phase's own to them.
    pub pages: Range<u32>,
    /// Touches of a thousand that read one of them; a trace says it itself.
    pub permille: u32,
    /// By which law; `None`: any, with equal odds.
    pub law: Option<Zipf>,
}

impl Phase {
    /// Touches every page of `pages` once, in order, writing if `write`.
    pub fn once(pages: Range<u32>, write: bool) -> Self {
        let touches = u64::from(pages.end - pages.start);
        let write_permille = if write { 1000 } else { 0 };
        Self { pages, touches, pattern: Pattern::InOrder, write_permille, think_ns: 0, wait_ns: 0, file: None }
    }
}

/// What is done to a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// It is read.
    Read,
    /// It is written.
    Write,
    /// It is given up.
    Exit,
    /// It is brought in and its slot given up, so that the swap device can go (`try_to_unuse`).
    Unuse,
}

/// One touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Touch {
    /// The page.
    pub page: u32,
    /// What is done to it.
    pub access: Access,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Script {
    /// One thing to each of these pages.
    Each(Access, Arc<[u32]>),
    Phases(Arc<[Phase]>),
}

/// A program at some point of its run.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Program {
    script: Script,
    random: SplitMix,
    phase: usize,
    /// Touches of the phase that are done.
    done: u64,
    current: Option<Touch>,
}

impl Program {
    /// Does `access` to each page of `order`.
    pub fn each(access: Access, order: Arc<[u32]>) -> Self {
        Self::new(Script::Each(access, order), 0)
    }

    /// Phases one after the other; `seed` for those that draw.
    pub fn phases(phases: impl Into<Arc<[Phase]>>, seed: u64) -> Self {
        Self::new(Script::Phases(phases.into()), seed)
    }

    /// Fills `pages` in order, then reads all of them back in order: the "memory eater" of the ground truth.
    pub fn eater(pages: Range<u32>) -> Self {
        Self::phases([Phase::once(pages.clone(), true), Phase::once(pages, false)], 0)
    }

    /// Fills `pages`, then writes to `touches` of them at random, as usemem's random writers do.
    pub fn usemem(pages: Range<u32>, touches: u64, seed: u64) -> Self {
        let random = Phase { pattern: Pattern::Random, touches, ..Phase::once(pages.clone(), true) };
        Self::phases([Phase::once(pages, true), random], seed)
    }

    fn new(script: Script, seed: u64) -> Self {
        let mut program = Self { script, random: SplitMix(seed), phase: 0, done: 0, current: None };
        program.current = program.draw();
        program
    }

    /// The touch under way; `None` when the program has ended.
    #[inline]
    pub fn current(&self) -> Option<Touch> {
        self.current
    }

    /// The touch is done: on to the next.
    #[inline]
    pub fn advance(&mut self) {
        self.done += 1;
        if let Script::Phases(phases) = &self.script
            && self.done >= phases[self.phase].touches
        {
            (self.phase, self.done) = (self.phase + 1, 0);
        }
        self.current = self.draw();
    }

    /// Nanoseconds to sleep before the touch under way: only before a phase's first.
    #[inline]
    pub fn wait_ns(&self) -> u64 {
        if self.done == 0 { self.phase_now().map_or(0, |phase| phase.wait_ns) } else { 0 }
    }

    /// Nanoseconds to compute after the touch under way.
    #[inline]
    pub fn think_ns(&self) -> u32 {
        self.phase_now().map_or(0, |phase| phase.think_ns.saturating_add(phase.gap_ns(self.done)))
    }

    /// The pages that its phases name, each once, in order; none of a list of pages.
    pub fn pages(&self) -> Arc<[u32]> {
        let Script::Phases(phases) = &self.script else { return [].into() };
        let files = phases.iter().filter_map(|phase| Some(phase.file.as_ref()?.pages.clone()));
        let ranges = phases.iter().map(|phase| phase.pages.clone()).chain(files);
        let pages: std::collections::BTreeSet<u32> = ranges.flatten().collect();
        pages.into_iter().collect()
    }

    /// Calls `f` on every page that it names and has yet to touch; phases name ranges, and no page.
    pub fn each_page(&mut self, f: &mut dyn FnMut(&mut u32)) {
        let Script::Each(_, order) = &mut self.script else { return };
        let mut left = order[(self.done as usize).min(order.len())..].to_vec();
        left.iter_mut().for_each(f);
        (*order, self.done) = (left.into(), 0);
        self.current = self.draw();
    }

    /// Forgets the pages that it is done with.
    pub fn normalise(&mut self) {
        self.each_page(&mut |_| {});
    }

    fn phase_now(&self) -> Option<&Phase> {
        match &self.script {
            Script::Each(..) => None,
            Script::Phases(phases) => phases.get(self.phase),
        }
    }

    fn draw(&mut self) -> Option<Touch> {
        match &self.script {
            Script::Each(access, order) => {
                let page = *order.get(usize::try_from(self.done).ok()?)?;
                Some(Touch { page, access: *access })
            }
            Script::Phases(phases) => {
                while phases.get(self.phase).is_some_and(|phase| phase.touches == 0 || phase.pages.is_empty()) {
                    self.phase += 1;
                }
                Some(phases.get(self.phase)?.touch(self.done, &mut self.random))
            }
        }
    }
}

impl Phase {
    /// What a trace says of the time after touch `done`.
    fn gap_ns(&self, done: u64) -> u32 {
        match &self.pattern {
            Pattern::Trace(trace) if !trace.gaps_ns.is_empty() => {
                trace.gaps_ns[(done % trace.gaps_ns.len() as u64) as usize]
            }
            _ => 0,
        }
    }

    fn file_len(&self) -> u32 {
        self.file.as_ref().map_or(0, |file| file.pages.end - file.pages.start)
    }

    /// The page of the file that touch `done` reads, if it reads one.
    fn of_file(&self, file: &FilePart, done: u64, random: &mut SplitMix) -> Option<u32> {
        let (own, pages) = (self.pages.end - self.pages.start, file.pages.end - file.pages.start);
        let offset = match (&self.pattern, file.law) {
            (Pattern::Trace(trace), _) => {
                let entry = trace.touches[(done % trace.touches.len() as u64) as usize] & !TRACE_WRITE;
                (entry % (own + pages)).checked_sub(own)?
            }
            _ if random.below(1000) >= file.permille => return None,
            (_, Some(law)) => law.page(random) % pages,
            (_, None) => random.below(pages),
        };
        Some(file.pages.start + offset)
    }

    #[inline]
    fn touch(&self, done: u64, random: &mut SplitMix) -> Touch {
        if let Some(page) = self.file.as_ref().and_then(|file| self.of_file(file, done, random)) {
            return Touch { page, access: Access::Read };
        }
        let pages = self.pages.end - self.pages.start;
        let (offset, traced) = match &self.pattern {
            Pattern::InOrder => ((done % u64::from(pages)) as u32, None),
            Pattern::Random => (random.below(pages), None),
            Pattern::Zipf(zipf) => (zipf.page(random) % pages, None),
            Pattern::Trace(trace) => {
                let entry = trace.touches[(done % trace.touches.len() as u64) as usize];
                ((entry & !TRACE_WRITE) % (pages + self.file_len()) % pages, Some(entry & TRACE_WRITE != 0))
            }
        };
        let writes = traced.unwrap_or_else(|| match self.write_permille {
            0 => false,
            1000.. => true,
            share => random.below(1000) < share,
        });
        Touch { page: self.pages.start + offset, access: if writes { Access::Write } else { Access::Read } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(mut program: Program) -> Vec<Touch> {
        let mut touches = Vec::new();
        while let Some(touch) = program.current() {
            touches.push(touch);
            program.advance();
        }
        touches
    }

    #[test]
    fn the_eater_writes_every_page_and_then_reads_it() {
        let touch = |page, access| Touch { page, access };
        let all =
            [5, 6, 7].map(|p| touch(p, Access::Write)).into_iter().chain([5, 6, 7].map(|p| touch(p, Access::Read)));
        assert_eq!(run(Program::eater(5..8)), all.collect::<Vec<_>>());
    }

    #[test]
    fn equal_seeds_touch_equal_pages() {
        let usemem = |seed| run(Program::usemem(0..50, 100, seed));
        assert_eq!(usemem(1), usemem(1));
        assert_ne!(usemem(1), usemem(2));
        assert_eq!(usemem(1).len(), 150);
    }

    #[test]
    fn a_zipf_law_prefers_few_pages_and_misses_none_for_ever() {
        let zipf = Zipf::new(1000, 0.99);
        let phase = Phase {
            touches: 200_000,
            pattern: Pattern::Zipf(zipf),
            write_permille: 250,
            ..Phase::once(0..1000, false)
        };
        let touches = run(Program::phases([phase], 3));
        let mut counts = vec![0u32; 1000];
        touches.iter().for_each(|touch| counts[touch.page as usize] += 1);
        counts.sort_unstable();
        let top: u32 = counts[900..].iter().sum();
        assert!((120_000..150_000).contains(&top), "a tenth of the pages has two thirds of the touches: {top}");
        assert!(counts[0] > 0);
        let writes = touches.iter().filter(|touch| touch.access == Access::Write).count();
        assert!((48_000..52_000).contains(&writes), "{writes}");
    }

    #[test]
    fn a_trace_is_replayed_and_empty_phases_are_passed_over() {
        let trace = Trace { touches: [2, TRACE_WRITE | 1].into(), gaps_ns: [7, 0].into() };
        let replay = Phase { pattern: Pattern::Trace(trace), touches: 3, think_ns: 1, ..Phase::once(10..20, false) };
        let mut program = Program::phases([Phase::once(3..3, true), replay], 0);
        let touches = run(program.clone());
        let gaps = std::iter::from_fn(|| {
            program.current()?;
            let gap = program.think_ns();
            program.advance();
            Some(gap)
        });
        assert_eq!(gaps.collect::<Vec<_>>(), [8, 1, 8]);
        assert_eq!(touches.iter().map(|touch| touch.page).collect::<Vec<_>>(), [12, 11, 12]);
        assert_eq!(touches[1].access, Access::Write);
    }

    #[test]
    fn a_phase_reads_a_file_beside_its_own_pages_as_often_as_it_says_or_as_its_trace_does() {
        let file = FilePart { pages: 100..110, permille: 250, law: None };
        let random =
            Phase { touches: 40_000, pattern: Pattern::Random, file: Some(file.clone()), ..Phase::once(0..20, true) };
        let touches = run(Program::phases([random], 1));
        let reads = touches.iter().filter(|touch| (100..110).contains(&touch.page)).count();
        assert!((9_600..10_400).contains(&reads), "{reads}");
        assert!(touches.iter().all(|touch| (touch.access == Access::Read) == (touch.page >= 100)));
        let trace = Trace { touches: [19, 20, 29, 30, TRACE_WRITE | 50].into(), gaps_ns: [].into() };
        let replay =
            Phase { pattern: Pattern::Trace(trace), touches: 5, file: Some(file), ..Phase::once(0..20, false) };
        let pages: Vec<u32> = run(Program::phases([replay], 0)).iter().map(|touch| touch.page).collect();
        assert_eq!(pages, [19, 100, 109, 0, 100]);
        let file = FilePart { pages: 100..110, permille: 1000, law: Some(Zipf::new(10, 0.0)) };
        let all = Phase { touches: 1000, pattern: Pattern::Random, file: Some(file), ..Phase::once(0..20, true) };
        let touched: std::collections::BTreeSet<u32> = run(Program::phases([all], 1)).iter().map(|t| t.page).collect();
        assert_eq!(touched, (100..110).collect(), "a law of its own");
    }
}
