//! The virtual clock: an event loop over virtual CPUs with their own speeds.
//!
//! A CPU runs an actor until it waits, ends, or its time slice is over while another could run. A step happens at its CPU's
//! time; what it cost passes on that CPU before the actor's next step, which holds the effect. Among CPUs the one with the
//! earliest time goes first, among equals the first; an idle CPU takes the next runnable actor in a circle after the one
//! it ran last. Nothing is random: equal inputs give equal counters, times and traces.
//!
//! Not modelled yet: a device read keeps the reader's CPU busy, wake-ups and switches cost nothing, no priorities.

use super::{Crew, Status};
use crate::lifecycle::State;
use crate::stats::VmStat;
use crate::system::{Contents, Outcome, StepError, System, Work};
use crate::trace::Record;

/// What work costs on a CPU of 100 % speed, in nanoseconds where nothing else is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Costs {
    /// Looking at a folio, or moving it.
    pub scan_ns: u64,
    /// Taking a page out of its page tables.
    pub unmap_ns: u64,
    /// A page fault, without what it reads.
    pub fault_ns: u64,
    /// Clearing a new page.
    pub zero_page_ns: u64,
    /// The application's reading or writing of a page.
    pub touch_ns: u64,
    /// A state change or a short critical section.
    pub commit_ns: u64,
    /// The zero test, picoseconds per byte of the page.
    pub zero_test_ps_per_byte: u64,
    /// Compressing any page; `None`: as the page's [`crate::system::Sizes`] say.
    pub compress_ns: Option<u64>,
    /// Decompressing any page; `None`: as the page's sizes say.
    pub decompress_ns: Option<u64>,
    /// Writing a page to the device.
    pub device_write_ns: u64,
    /// Reading a page from the device.
    pub device_read_ns: u64,
}

impl Default for Costs {
    /// Round numbers of a desktop CPU and an NVMe device, until `calibrate` measures them.
    fn default() -> Self {
        Self {
            scan_ns: 100,
            unmap_ns: 400,
            fault_ns: 500,
            zero_page_ns: 300,
            touch_ns: 200,
            commit_ns: 50,
            zero_test_ps_per_byte: 40,
            compress_ns: None,
            decompress_ns: None,
            device_write_ns: 20_000,
            device_read_ns: 80_000,
        }
    }
}

impl Costs {
    /// What `work` costs on a CPU of 100 % speed, nanoseconds.
    pub fn of(&self, sys: &System, work: Work) -> u64 {
        let sizes = match &sys.contents {
            Contents::Sizes(sizes) => Some(sizes),
            Contents::Frames(_) => None,
        };
        match work {
            Work::Scan => self.scan_ns,
            Work::Unmap => self.unmap_ns,
            Work::Fault => self.fault_ns,
            Work::ZeroPage => self.zero_page_ns,
            Work::Touch => self.touch_ns,
            Work::Think(ns) => u64::from(ns),
            Work::Commit => self.commit_ns,
            Work::ZeroTest(_) => self.zero_test_ps_per_byte * sys.config.page_size as u64 / 1000,
            Work::Compress(page) => per_page(self.compress_ns, sizes.map(|s| &s.compress_ns), page),
            Work::Decompress(page) => per_page(self.decompress_ns, sizes.map(|s| &s.decompress_ns), page),
            Work::DeviceWrite(_) => self.device_write_ns,
            Work::DeviceRead(_) => self.device_read_ns,
        }
    }
}

fn per_page(fixed: Option<u64>, table: Option<&Vec<u32>>, page: u32) -> u64 {
    let measured = || table.and_then(|ns| ns.get(page as usize)).map_or(0, |&ns| u64::from(ns));
    fixed.unwrap_or_else(measured)
}

/// The machine that a crew runs on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Speed of each CPU in per cent of the CPU that the costs were measured on; at least 1.
    pub cpu_speed_percent: Vec<u32>,
    /// How long an actor keeps a CPU that another wants, nanoseconds.
    pub slice_ns: u64,
    /// What work costs.
    pub costs: Costs,
}

impl Machine {
    /// `cpus` CPUs of 100 %, slices of 3 ms, default costs.
    pub fn new(cpus: usize) -> Self {
        Self { cpu_speed_percent: vec![100; cpus], slice_ns: 3_000_000, costs: Costs::default() }
    }
}

/// Why a virtual run ended early. What was done until then stays in the crew and the system.
#[derive(Debug, thiserror::Error)]
pub enum VirtualError {
    /// A step failed.
    #[error("at {at_ns} ns: {source}")]
    Step {
        /// Virtual time, nanoseconds.
        at_ns: u64,
        /// What the step said.
        source: StepError,
    },
    /// Every actor that is left waits.
    #[error("at {at_ns} ns: deadlock, actors {waiting:?} wait for ever")]
    Deadlock {
        /// Virtual time, nanoseconds.
        at_ns: u64,
        /// Seats that wait.
        waiting: Vec<usize>,
    },
    /// The machine has no CPU, or one without speed.
    #[error("a machine needs at least one CPU, and every CPU a speed of at least 1 %")]
    Machine,
}

/// What a virtual run came to.
#[derive(Debug)]
pub struct Run {
    /// Virtual time at the end, nanoseconds since the start.
    pub end_ns: u64,
    /// CPU time of each seat: actor id, nanoseconds.
    pub cpu_ns: Vec<(u16, u64)>,
    /// Steps taken.
    pub steps: u64,
    /// Counters of all actors.
    pub stat: VmStat,
    /// The trace in the order in which things happened; empty unless the crew logs.
    pub records: Vec<Record>,
    /// Pages in each state at the end.
    pub census: [u32; State::ALL.len()],
    /// Device and decode errors that cost no page.
    pub errors: Vec<StepError>,
}

#[derive(Clone, Copy, Debug)]
struct Cpu {
    speed_percent: u64,
    now_ns: u64,
    seat: Option<usize>,
    last: usize,
    slice_end_ns: u64,
}

struct Loop<'a> {
    sys: &'a System,
    crew: &'a mut Crew,
    machine: &'a Machine,
    cpus: Vec<Cpu>,
    cpu_ns: Vec<u64>,
    /// When each seat's sleep or wait ends by itself.
    due_ns: Vec<Option<u64>>,
    records: Vec<Record>,
    steps: u64,
}

/// Runs `crew` on `machine` from `start_ns` until every actor has finished.
///
/// # Errors
/// [`VirtualError`].
pub fn run(sys: &System, crew: &mut Crew, machine: &Machine, start_ns: u64) -> Result<Run, VirtualError> {
    let seats = crew.seats.len();
    let cpu = |&percent: &u32| Cpu {
        speed_percent: u64::from(percent),
        now_ns: start_ns,
        seat: None,
        last: seats.saturating_sub(1),
        slice_end_ns: 0,
    };
    let cpus: Vec<Cpu> = machine.cpu_speed_percent.iter().map(cpu).collect();
    if cpus.is_empty() || cpus.iter().any(|cpu| cpu.speed_percent == 0) {
        return Err(VirtualError::Machine);
    }
    let mut events = Loop {
        sys,
        crew,
        machine,
        cpus,
        cpu_ns: vec![0; seats],
        due_ns: vec![None; seats],
        records: Vec::new(),
        steps: 0,
    };
    let end_ns = events.run(start_ns)?;
    Ok(events.finish(end_ns))
}

impl Loop<'_> {
    fn run(&mut self, start_ns: u64) -> Result<u64, VirtualError> {
        let mut now_ns = start_ns;
        loop {
            self.fill(now_ns);
            let busy = (0..self.cpus.len()).filter(|&c| self.cpus[c].seat.is_some());
            let next = busy.min_by_key(|&c| self.cpus[c].now_ns);
            let until_ns = next.map_or(u64::MAX, |c| self.cpus[c].now_ns);
            match (self.next_due(now_ns, until_ns), next) {
                (Some(due_ns), _) => now_ns = due_ns,
                (None, Some(c)) => {
                    now_ns = until_ns;
                    self.step(c)?;
                }
                (None, None) => break,
            }
        }
        if self.crew.is_done() {
            return Ok(self.cpus.iter().map(|cpu| cpu.now_ns).max().unwrap_or(now_ns));
        }
        let waiting = (0..self.crew.seats.len()).filter(|&i| self.crew.seats[i].status != Status::Done);
        Err(VirtualError::Deadlock { at_ns: now_ns, waiting: waiting.collect() })
    }

    /// The first sleep or time-out to end after `now_ns` and before `until_ns`, where there is a CPU to run on.
    fn next_due(&self, now_ns: u64, until_ns: u64) -> Option<u64> {
        let idle = self.cpus.iter().any(|cpu| cpu.seat.is_none());
        let due = self.due_ns.iter().filter(|_| idle).flatten().copied();
        due.filter(|&due| due > now_ns && due < until_ns).min()
    }

    /// Whether seat `i` can step at `now_ns`: a sleeper when its time is over, a waiter also when it was woken.
    fn can_run(&self, i: usize, now_ns: u64) -> bool {
        let seat = &self.crew.seats[i];
        match self.due_ns[i] {
            Some(due_ns) if due_ns <= now_ns => true,
            Some(_) if seat.status == Status::Ready => false,
            _ => seat.is_ready(self.sys),
        }
    }

    /// Gives every idle CPU an actor, as far as there are any; it starts at `now_ns` or when the CPU is free.
    fn fill(&mut self, now_ns: u64) {
        for c in 0..self.cpus.len() {
            if self.cpus[c].seat.is_none()
                && let Some(seat) = self.next_seat(self.cpus[c].last, self.cpus[c].now_ns.max(now_ns))
            {
                self.due_ns[seat] = None;
                let cpu = &mut self.cpus[c];
                cpu.now_ns = cpu.now_ns.max(now_ns);
                cpu.slice_end_ns = cpu.now_ns.saturating_add(self.machine.slice_ns.max(1));
                (cpu.seat, cpu.last) = (Some(seat), seat);
            }
        }
    }

    /// The next runnable seat after `last` that no CPU runs.
    fn next_seat(&self, last: usize, now_ns: u64) -> Option<usize> {
        let n = self.crew.seats.len();
        let free = |i: &usize| self.cpus.iter().all(|cpu| cpu.seat != Some(*i));
        (1..=n).map(|i| (last + i) % n).find(|i| free(i) && self.can_run(*i, now_ns))
    }

    /// One step of the actor on CPU `c`, at that CPU's time.
    fn step(&mut self, c: usize) -> Result<(), VirtualError> {
        let Some(seat) = self.cpus[c].seat.filter(|_| !self.end_slice(c)) else { return Ok(()) };
        let at_ns = self.cpus[c].now_ns;
        self.crew.seats[seat].ctx.log.now_ns = at_ns;
        let stepped = self.crew.step(self.sys, seat);
        self.crew.collect(seat, &mut self.records);
        let outcome = stepped.map_err(|source| VirtualError::Step { at_ns, source })?;
        self.steps += 1;
        let Outcome::Ran(work) = outcome else {
            self.due_ns[seat] = match outcome {
                Outcome::Sleep(ns) => Some(at_ns.saturating_add(ns)),
                Outcome::Wait(wait) => wait.timeout_ns.map(|ns| at_ns.saturating_add(ns)),
                Outcome::Ran(_) | Outcome::Done => None,
            };
            self.cpus[c].seat = None;
            return Ok(());
        };
        let cost_ns = self.machine.costs.of(self.sys, work) * 100 / self.cpus[c].speed_percent;
        self.cpu_ns[seat] += cost_ns;
        self.cpus[c].now_ns += cost_ns;
        Ok(())
    }

    /// When the slice is over the actor makes room if another could run (true), else it goes on for a slice.
    fn end_slice(&mut self, c: usize) -> bool {
        if self.cpus[c].now_ns < self.cpus[c].slice_end_ns {
            return false;
        }
        let others = self.next_seat(self.cpus[c].last, self.cpus[c].now_ns).is_some();
        let cpu = &mut self.cpus[c];
        match others {
            true => cpu.seat = None,
            false => cpu.slice_end_ns = cpu.now_ns.saturating_add(self.machine.slice_ns.max(1)),
        }
        others
    }

    fn finish(self, end_ns: u64) -> Run {
        let ids = self.crew.seats.iter().map(|seat| seat.ctx.actor);
        Run {
            end_ns,
            cpu_ns: ids.zip(self.cpu_ns).collect(),
            steps: self.steps,
            stat: self.crew.stat(),
            records: self.records,
            census: self.sys.census(),
            errors: self.crew.seats.iter_mut().flat_map(|seat| seat.ctx.errors.drain(..)).collect(),
        }
    }
}
