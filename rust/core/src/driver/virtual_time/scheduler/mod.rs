//! Who runs where: a queue of runnable actors for each CPU, as in the kernel's fair class.
//!
//! [`fair`] says which actor of a queue runs next and what sleeping earns, [`balance`] in which queue a woken actor goes and what
//! moves from one queue to another. An actor whose CPU somebody else should have loses it when something wakes on that CPU, or
//! at a tick. Ties go to the first; the kernel's one throw of dice is a generator's that is each CPU's own, begun with its number.

mod balance;
mod fair;
mod load;
mod newidle;

use super::machine::{Fair, Machine, Preempt, weight};
use crate::driver::START;
use crate::lifecycle::actor;
use load::Average;
use newidle::Newidle;

/// Where an actor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// On this CPU.
    Running(usize),
    /// In its CPU's queue.
    Runnable,
    /// Asleep, and in its CPU's queue until it is no longer ahead (EEVDF's delayed dequeue): so long it stays on that CPU.
    Late,
    /// Waits or sleeps.
    Blocked,
    /// Finished.
    Done,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Task {
    pub place: Place,
    /// When its sleep or wait ends by itself; `u64::MAX`: never.
    pub due_ns: u64,
    /// CPU time.
    pub cpu_ns: u64,
    /// CPU time for its weight on the scale of its queue, without [`Task::ran_ns`].
    vruntime: i64,
    /// CPU time that is not yet in `vruntime`.
    ran_ns: u64,
    /// By when it should have had its slice.
    deadline: i64,
    /// Until when on that scale nobody who is eligible too takes the CPU that it has.
    parity: i64,
    /// How far it was behind the mean when it left a queue.
    lag: i64,
    weight: i64,
    /// CPUs it may run on, a bit each.
    cpus: u64,
    /// Whose queue it is in, or was last.
    pub cpu: usize,
    /// The CPU it was on before it last woke.
    recent: usize,
    /// When it last got or lost a CPU.
    seen_ns: u64,
    /// The turn in which it came to its queue, or last got the CPU.
    turn: u64,
    /// Its part of the time in a queue.
    load: Average,
    /// Its part of the time on a CPU.
    util: Average,
}

impl Task {
    fn new((nice, cpus): (i8, u64), start_ns: u64) -> Self {
        Self {
            place: Place::Blocked,
            due_ns: u64::MAX,
            cpu_ns: 0,
            vruntime: 0,
            ran_ns: 0,
            deadline: 0,
            parity: 0,
            lag: 0,
            weight: weight(nice) as i64,
            cpus,
            cpu: 0,
            recent: 0,
            seen_ns: 0,
            turn: 0,
            load: Average::new(1.0, start_ns), // Nobody knows it yet: as one that always runs.
            util: Average::new(0.0, start_ns),
        }
    }

    /// Waits or sleeps.
    pub fn is_asleep(&self) -> bool {
        matches!(self.place, Place::Blocked | Place::Late)
    }

    fn may_run_on(&self, cpu: usize) -> bool {
        self.cpus >> cpu & 1 == 1
    }

    fn is_queued(&self) -> bool {
        matches!(self.place, Place::Running(_) | Place::Runnable | Place::Late)
    }

    /// What it has of its load on the CPU that it is on, or was last.
    fn load(&self, now_ns: u64) -> f64 {
        self.load.at(now_ns) * self.weight as f64
    }

    fn becomes(&mut self, place: Place, now_ns: u64) {
        self.place = place;
        self.load.turn(matches!(place, Place::Running(_) | Place::Runnable), now_ns);
        self.util.turn(matches!(place, Place::Running(_)), now_ns);
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Cpu {
    /// When its next step begins.
    pub now_ns: u64,
    /// The actor on it.
    pub seat: Option<usize>,
    /// 65536 times the nanoseconds that one nanosecond's work takes.
    pub slowness: u64,
    /// When it looks whether its actor should go on: its next tick, or where there are none the end of the slice.
    look_ns: u64,
    /// When its actor got it.
    since_ns: u64,
    /// The actor should make room as soon as it may.
    pub need_resched: bool,
    /// The actor that ran on it last.
    last: Option<usize>,
    /// The least weighted run time in its queue; never falls.
    floor: i64,
    /// When it next compares its load with the others'.
    balance_ns: u64,
    /// How often in a row that moved nothing.
    failed: u32,
    /// Whether it looks for work elsewhere when it becomes idle.
    newidle: Newidle,
}

impl Cpu {
    /// Whether it ever had an actor.
    pub fn has_run(&self) -> bool {
        self.last.is_some()
    }
}

/// CPUs and actors.
#[derive(Debug)]
pub(super) struct Scheduler<'a> {
    machine: &'a Machine,
    pub cpus: Vec<Cpu>,
    pub tasks: Vec<Task>,
    turn: u64,
    /// Some CPU is faster than another. Every wake-up asks.
    unequal: bool,
}

impl<'a> Scheduler<'a> {
    /// Actors with these ids, all runnable, at `start_ns`: one after the other in the order of [`START`], where the fewest are.
    pub fn new(machine: &'a Machine, ids: impl Iterator<Item = u16>, start_ns: u64) -> Self {
        let period_ns = balance::period_ns(machine.cpu_speed_percent.len(), false);
        let cpu = |(c, &percent): (usize, &u32)| Cpu {
            now_ns: start_ns,
            seat: None,
            slowness: (100 << 16) / u64::from(percent.max(1)),
            look_ns: u64::MAX,
            since_ns: start_ns,
            need_resched: false,
            last: None,
            floor: 0,
            balance_ns: start_ns + period_ns,
            failed: 0,
            newidle: Newidle::new(c),
        };
        let cpus: Vec<Cpu> = machine.cpu_speed_percent.iter().enumerate().map(cpu).collect();
        let unequal = cpus.iter().any(|cpu| cpu.slowness != cpus[0].slowness);
        let ids: Vec<u16> = ids.collect();
        let tasks = ids.iter().map(|&id| Task::new(machine.policy(id), start_ns)).collect();
        let mut order: Vec<usize> = (0..ids.len()).collect();
        order.sort_by_key(|&seat| START.iter().position(|&kind| kind == actor::kind(ids[seat])));
        let mut made = Self { machine, cpus, tasks, turn: 0, unequal };
        for seat in order {
            if machine.is_interrupt(ids[seat]) {
                (made.tasks[seat].due_ns, made.tasks[seat].load) = (start_ns, Average::new(0.0, start_ns));
                made.ask(seat, 0);
                continue;
            }
            let c = made.emptiest(seat);
            let used = made.used(c, start_ns);
            made.tasks[seat].util = Average::new((1.0 - used) / 2.0, start_ns); // Nobody knows it yet: half of what is left.
            (made.tasks[seat].recent, made.tasks[seat].lag) = (c, 0);
            made.enqueue(seat, c, start_ns);
        }
        made
    }

    /// Gives every idle CPU an actor of its queue.
    pub fn fill(&mut self, now_ns: u64) {
        (0..self.cpus.len()).for_each(|c| self.next(c, now_ns));
    }

    /// Gives CPU `c`, if idle, an actor of its queue, else perhaps one that waits elsewhere.
    pub fn next(&mut self, c: usize, now_ns: u64) {
        if self.cpus[c].seat.is_some() {
            return;
        }
        if let Some(seat) = self.pick(c, now_ns).or_else(|| self.newidle(c, now_ns)) {
            self.start(c, seat, now_ns);
        }
    }

    /// Puts a runnable actor of its queue on an idle CPU, not before `now_ns`.
    fn start(&mut self, c: usize, seat: usize, now_ns: u64) {
        self.turn += 1;
        let cpu = &mut self.cpus[c];
        cpu.now_ns = cpu.now_ns.max(now_ns);
        let switches = cpu.last.is_some_and(|last| last != seat);
        (cpu.seat, cpu.last, cpu.need_resched, cpu.since_ns) = (Some(seat), Some(seat), false, cpu.now_ns);
        let task = &mut self.tasks[seat];
        (task.seen_ns, task.turn, task.parity) = (cpu.now_ns, self.turn, task.deadline);
        task.becomes(Place::Running(c), cpu.now_ns);
        if switches {
            self.charge(c, seat, self.machine.scheduler.switch_ns);
        }
        self.look_later(c);
    }

    /// When CPU `c` looks again.
    fn look_later(&mut self, c: usize) {
        let (now_ns, scheduler) = (self.cpus[c].now_ns, &self.machine.scheduler);
        let since_tick_ns = now_ns.saturating_add(scheduler.since_tick_ns).checked_rem(scheduler.tick_ns);
        self.cpus[c].look_ns = match since_tick_ns {
            Some(since_ns) => now_ns.saturating_add(scheduler.tick_ns - since_ns),
            None => now_ns.saturating_add(self.slice_left_ns(c).max(1)),
        };
    }

    /// Charges the actor on CPU `c` for work that takes `cost_ns` at 100 %.
    #[inline]
    pub fn charge(&mut self, c: usize, seat: usize, cost_ns: u64) {
        let cost_ns = (cost_ns * self.cpus[c].slowness) >> 16;
        self.cpus[c].now_ns += cost_ns;
        self.tasks[seat].cpu_ns += cost_ns;
        self.tasks[seat].ran_ns += cost_ns;
    }

    /// The device is asked on CPU `c`, which its interrupts come to if they may.
    pub fn ask(&mut self, seat: usize, c: usize) {
        let task = &mut self.tasks[seat];
        task.cpu = if task.may_run_on(c) { c } else { task.cpus.trailing_zeros() as usize };
    }

    /// CPU `c` works `cost_ns` for the device, and not for the actor that it has.
    pub fn interrupt(&mut self, c: usize, seat: usize, cost_ns: u64) {
        let cost_ns = (cost_ns * self.cpus[c].slowness) >> 16;
        self.cpus[c].now_ns += if self.cpus[c].seat.is_some() { cost_ns } else { 0 };
        self.tasks[seat].cpu_ns += cost_ns;
    }

    /// Takes the actor off CPU `c`: it waits until woken or `due_ns`, or has finished.
    pub fn block(&mut self, c: usize, place: Place, due_ns: u64) {
        let Some(seat) = self.cpus[c].seat.take() else { return };
        let now_ns = self.cpus[c].now_ns;
        self.settle(seat);
        self.tasks[seat].lag = self.lag(seat);
        let late = place == Place::Blocked && self.is_ahead(seat);
        let task = &mut self.tasks[seat];
        (task.due_ns, task.seen_ns) = (due_ns, now_ns);
        task.becomes(if late { Place::Late } else { place }, now_ns);
    }

    /// The blocked actor can run from `now_ns` on, `waker`'s CPU says so; returns whether an idle CPU takes it.
    pub fn wake(&mut self, seat: usize, now_ns: u64, waker: Option<usize>) -> bool {
        self.tasks[seat].due_ns = u64::MAX;
        let late = self.tasks[seat].place == Place::Late;
        let c = if late { self.tasks[seat].cpu } else { self.select(seat, now_ns, waker) };
        match late {
            true => self.requeue(seat, now_ns),
            false => self.enqueue(seat, c, now_ns),
        }
        if self.cpus[c].seat.is_none() {
            self.start(c, seat, now_ns + self.machine.scheduler.idle_exit_ns);
            return true;
        }
        self.preempt_for(seat);
        false
    }

    /// Between two steps of CPU `c`: whether who runs where has changed. `may`: its actor may give it up here even if the kernel is
    /// not preemptible.
    #[inline]
    pub fn resched(&mut self, c: usize, may: bool) -> bool {
        let cpu = &self.cpus[c];
        (cpu.need_resched || cpu.now_ns >= cpu.look_ns) && self.look(c, may)
    }

    #[cold]
    fn look(&mut self, c: usize, may: bool) -> bool {
        let ticks = self.cpus[c].now_ns >= self.cpus[c].look_ns;
        if let Some(seat) = self.cpus[c].seat.filter(|_| ticks) {
            self.settle(seat);
            self.end_slice(c, seat);
            self.look_later(c);
        }
        let free = may || self.machine.scheduler.preempt == Preempt::Full;
        let switched = self.cpus[c].need_resched && free && self.give_way(c);
        let moved = ticks && (free && self.move_misfit(c) || self.balance(c));
        switched | moved // An idle CPU that is told of the tick comes too late for who has just got this one.
    }

    /// The actor goes on if it is still its turn, else another takes over.
    fn give_way(&mut self, c: usize) -> bool {
        let Some(seat) = self.cpus[c].seat else { return false };
        let now_ns = self.cpus[c].now_ns;
        self.settle(seat);
        self.cpus[c].need_resched = false;
        match self.pick(c, now_ns).filter(|&next| next != seat) {
            None => false,
            Some(next) => {
                self.leave(c, now_ns);
                self.start(c, next, now_ns);
                true
            }
        }
    }

    /// The actor on CPU `c` goes back to its queue.
    fn leave(&mut self, c: usize, now_ns: u64) {
        let Some(seat) = self.cpus[c].seat.take() else { return };
        self.tasks[seat].seen_ns = now_ns;
        self.tasks[seat].becomes(Place::Runnable, now_ns);
    }

    /// The busy CPU whose next step begins first, and when the next of the others does.
    pub fn earliest(&self) -> Option<(usize, u64)> {
        let mut first: Option<usize> = None;
        let mut horizon = u64::MAX;
        for (c, cpu) in self.cpus.iter().enumerate().filter(|(_, cpu)| cpu.seat.is_some()) {
            match first {
                Some(f) if self.cpus[f].now_ns <= cpu.now_ns => horizon = horizon.min(cpu.now_ns),
                _ => {
                    horizon = horizon.min(first.map_or(u64::MAX, |f| self.cpus[f].now_ns));
                    first = Some(c);
                }
            }
        }
        first.map(|c| (c, horizon))
    }

    /// The first sleep or time-out to end.
    pub fn next_due(&self) -> u64 {
        self.tasks.iter().map(|task| task.due_ns).min().unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests;
