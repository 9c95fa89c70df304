//! Who runs where: one queue of runnable actors ordered by weighted run time, as of a perfectly balanced machine.
//!
//! A CPU that needs an actor takes the runnable one, allowed on it, that has run least for its weight. A woken actor goes
//! to its last CPU if that is idle, else to the fastest idle one (the first of equals); where none is idle it may take the
//! CPU of the actor that has run most, if it is behind by more than the wake-up granularity. What sleeping earns is
//! [`Fair`]'s. Ties go to who became runnable first. Nothing is random.

use super::machine::{Fair, Machine, Preempt, weight};

/// Where an actor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// On this CPU.
    Running(usize),
    /// In the queue since turn `.0`.
    Runnable(u64),
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
    /// CPU time for its weight, up to when it last got a CPU.
    vruntime: u64,
    /// CPU time since then.
    ran_ns: u64,
    weight: u64,
    cpus: u64,
    last_cpu: usize,
    /// How far it was behind the mean when it went to sleep; 0 where that is forgotten.
    lag: u64,
}

impl Task {
    fn new((nice, cpus): (i8, u64)) -> Self {
        let (place, weight) = (Place::Runnable(0), weight(nice));
        Self { place, due_ns: u64::MAX, cpu_ns: 0, vruntime: 0, ran_ns: 0, weight, cpus, last_cpu: 0, lag: 0 }
    }

    fn vruntime(&self) -> u64 {
        self.vruntime.saturating_add(self.ran_ns.saturating_mul(1024) / self.weight)
    }

    fn may_run_on(&self, cpu: usize) -> bool {
        self.cpus >> cpu & 1 == 1
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
    pub slice_end_ns: u64,
    /// The actor should make room as soon as it may.
    pub need_resched: bool,
    /// The actor that ran on it last.
    last: Option<usize>,
}

/// CPUs and actors.
#[derive(Debug)]
pub(super) struct Scheduler<'a> {
    machine: &'a Machine,
    pub cpus: Vec<Cpu>,
    pub tasks: Vec<Task>,
    /// Actors in the queue.
    waiting: usize,
    turn: u64,
    /// The least weighted run time of those that can run; never falls.
    floor: u64,
}

impl<'a> Scheduler<'a> {
    /// Actors with these ids, all runnable, in order, at `start_ns`.
    pub fn new(machine: &'a Machine, ids: impl Iterator<Item = u16>, start_ns: u64) -> Self {
        let cpu = |&percent: &u32| Cpu {
            now_ns: start_ns,
            seat: None,
            slowness: (100 << 16) / u64::from(percent.max(1)),
            slice_end_ns: 0,
            need_resched: false,
            last: None,
        };
        let cpus = machine.cpu_speed_percent.iter().map(cpu).collect();
        let tasks: Vec<Task> = ids.map(|id| Task::new(machine.policy(id))).collect();
        let mut made = Self { machine, cpus, waiting: tasks.len(), tasks, turn: 0, floor: 0 };
        for seat in 0..made.tasks.len() {
            made.tasks[seat].place = Place::Runnable(made.next_turn());
        }
        made
    }

    fn next_turn(&mut self) -> u64 {
        self.turn += 1;
        self.turn
    }

    /// Gives every idle CPU an actor, as far as there are any, the fastest CPUs first.
    pub fn fill(&mut self, now_ns: u64) {
        while self.waiting > 0 {
            let idle = (0..self.cpus.len()).filter(|&c| self.cpus[c].seat.is_none());
            let taken = idle.filter_map(|c| self.next_for(c).map(|seat| (c, seat)));
            let Some((c, seat)) = taken.min_by_key(|&(c, _)| (self.cpus[c].slowness, c)) else { return };
            self.start(c, seat, now_ns);
        }
    }

    /// The runnable actor that CPU `c` should run.
    fn next_for(&self, c: usize) -> Option<usize> {
        let runnable = |&i: &usize| matches!(self.tasks[i].place, Place::Runnable(_)) && self.tasks[i].may_run_on(c);
        let order = |&i: &usize| match self.tasks[i].place {
            Place::Runnable(turn) => (self.tasks[i].vruntime(), turn),
            _ => (u64::MAX, u64::MAX),
        };
        (0..self.tasks.len()).filter(runnable).min_by_key(order)
    }

    /// Puts a runnable actor on an idle CPU, not before `now_ns`.
    fn start(&mut self, c: usize, seat: usize, now_ns: u64) {
        let cpu = &mut self.cpus[c];
        cpu.now_ns = cpu.now_ns.max(now_ns);
        if cpu.last.is_some_and(|last| last != seat) {
            cpu.now_ns += self.machine.scheduler.switch_ns;
        }
        cpu.slice_end_ns = cpu.now_ns.saturating_add(self.machine.scheduler.slice_ns.max(1));
        (cpu.seat, cpu.last, cpu.need_resched) = (Some(seat), Some(seat), false);
        self.settle(seat);
        self.tasks[seat].place = Place::Running(c);
        self.tasks[seat].last_cpu = c;
        self.waiting -= 1;
    }

    /// Turns what the actor ran into weighted run time.
    fn settle(&mut self, seat: usize) {
        let task = &mut self.tasks[seat];
        task.vruntime = task.vruntime();
        task.ran_ns = 0;
        let live = self.tasks.iter().filter(|task| matches!(task.place, Place::Running(_) | Place::Runnable(_)));
        self.floor = live.map(Task::vruntime).min().unwrap_or(self.floor).max(self.floor);
    }

    /// Charges the actor on CPU `c` for work that takes `cost_ns` at 100 %.
    #[inline]
    pub fn charge(&mut self, c: usize, seat: usize, cost_ns: u64) {
        let cost_ns = (cost_ns * self.cpus[c].slowness) >> 16;
        self.cpus[c].now_ns += cost_ns;
        self.tasks[seat].cpu_ns += cost_ns;
        self.tasks[seat].ran_ns += cost_ns;
    }

    /// Takes the actor off CPU `c`: it waits until woken or `due_ns`, or has finished.
    pub fn block(&mut self, c: usize, place: Place, due_ns: u64) {
        if let Some(seat) = self.cpus[c].seat.take() {
            self.settle(seat);
            let lag = match self.machine.scheduler.fair {
                Fair::Cfs => 0,
                Fair::Eevdf => self.mean().saturating_sub(self.tasks[seat].vruntime),
            };
            let task = &mut self.tasks[seat];
            (task.place, task.due_ns, task.lag) = (place, due_ns, lag);
        }
    }

    /// The mean weighted run time of those that can run, by weight.
    fn mean(&self) -> u64 {
        let live = self.tasks.iter().filter(|task| matches!(task.place, Place::Running(_) | Place::Runnable(_)));
        let (mut weights, mut sum) = (0, 0);
        for task in live {
            weights += u128::from(task.weight);
            sum += u128::from(task.weight) * u128::from(task.vruntime());
        }
        u128::checked_div(sum, weights).map_or(self.floor, |mean| mean as u64)
    }

    /// The blocked actor can run from `now_ns` on; returns whether an idle CPU takes it.
    pub fn wake(&mut self, seat: usize, now_ns: u64) -> bool {
        let turn = self.next_turn();
        let least = match self.machine.scheduler.fair {
            Fair::Cfs => self.floor.saturating_sub(self.machine.scheduler.slice_ns),
            Fair::Eevdf => self.mean().saturating_sub(self.tasks[seat].lag),
        };
        let task = &mut self.tasks[seat];
        task.vruntime = task.vruntime.max(least);
        (task.place, task.due_ns) = (Place::Runnable(turn), u64::MAX);
        self.waiting += 1;
        let task = self.tasks[seat];
        let idle = (0..self.cpus.len()).filter(|&c| self.cpus[c].seat.is_none() && task.may_run_on(c));
        let best = idle.min_by_key(|&c| (c != task.last_cpu, self.cpus[c].slowness, c));
        match best {
            Some(c) => self.start(c, seat, now_ns + self.machine.scheduler.idle_exit_ns),
            None => self.preempt_for(&task),
        }
        best.is_some()
    }

    /// Asks the actor that has run most to make room, if it is far enough ahead.
    fn preempt_for(&mut self, woken: &Task) {
        let busy = (0..self.cpus.len()).filter(|&c| woken.may_run_on(c));
        let ran = busy.filter_map(|c| self.cpus[c].seat.map(|seat| (self.tasks[seat].vruntime(), c)));
        let scheduler = &self.machine.scheduler;
        let limit = woken.vruntime.saturating_add(scheduler.wakeup_granularity_ns);
        let even = scheduler.fair == Fair::Eevdf;
        if let Some((most, c)) = ran.max_by_key(|&(vruntime, c)| (vruntime, std::cmp::Reverse(c)))
            && (most > limit || even && most == limit)
        {
            self.cpus[c].need_resched = true;
        }
    }

    /// Between two steps of CPU `c`: whether its actor lost the CPU. `may`: it may give it up here even if the kernel is not
    /// preemptible.
    #[inline]
    pub fn resched(&mut self, c: usize, may: bool) -> bool {
        let cpu = &self.cpus[c];
        let due = cpu.need_resched || cpu.now_ns >= cpu.slice_end_ns;
        due && (may || self.machine.scheduler.preempt == Preempt::Full) && self.give_way(c)
    }

    /// The actor goes on for a slice if it has still run least, else the other takes over.
    fn give_way(&mut self, c: usize) -> bool {
        let (Some(seat), next) = (self.cpus[c].seat, self.next_for(c)) else { return false };
        let now_ns = self.cpus[c].now_ns;
        self.settle(seat);
        self.cpus[c].need_resched = false;
        match next.filter(|&next| self.tasks[next].vruntime() <= self.tasks[seat].vruntime()) {
            None => {
                self.cpus[c].slice_end_ns = now_ns.saturating_add(self.machine.scheduler.slice_ns.max(1));
                false
            }
            Some(next) => {
                self.tasks[seat].place = Place::Runnable(self.next_turn());
                self.waiting += 1;
                self.cpus[c].seat = None;
                self.start(c, next, now_ns);
                true
            }
        }
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
mod tests {
    use super::*;
    use crate::lifecycle::actor;

    /// On one CPU the first of two ran so long and slept while the second ran so long, and wakes: how far it is behind, and whether it
    /// takes the CPU.
    fn after_a_sleep(fair: Fair, first_ns: u64, second_ns: u64) -> (i64, bool) {
        let mut machine = Machine::new(1);
        (machine.scheduler.fair, machine.scheduler.wakeup_granularity_ns) = (fair, 0);
        let mut sched = Scheduler::new(&machine, [actor::KSWAPD, actor::APP].into_iter(), 0);
        sched.fill(0);
        sched.charge(0, 0, first_ns);
        sched.block(0, Place::Blocked, u64::MAX);
        sched.fill(first_ns);
        sched.charge(0, 1, second_ns);
        assert!(!sched.wake(0, sched.cpus[0].now_ns), "no CPU is idle");
        let [first, second] = [0, 1].map(|seat| sched.tasks[seat].vruntime() as i64);
        (second - first, sched.cpus[0].need_resched)
    }

    #[test]
    fn sleeping_earns_under_cfs_alone_and_who_is_even_takes_a_cpu() {
        let (behind_ns, takes) = after_a_sleep(Fair::Cfs, 1_000, 10_000_000);
        assert!(behind_ns > 3_000_000 && takes, "{behind_ns} ns");
        assert_eq!(after_a_sleep(Fair::Eevdf, 1_000, 10_000_000), (0, true));
    }

    #[test]
    fn who_went_ahead_is_ahead_until_the_others_have_caught_up() {
        assert!(!after_a_sleep(Fair::Eevdf, 50_000, 10_000).1, "40 us ahead");
    }
}
