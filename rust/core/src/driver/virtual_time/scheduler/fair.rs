//! Which actor of a queue runs next, and what sleeping earns.
//!
//! EEVDF (Documentation/scheduler/sched-eevdf.rst): who is not ahead of the queue's mean is eligible; of those the one with the
//! earliest deadline runs, and keeps the CPU while it is eligible and its slice lasts; after that it loses it to one with
//! the same deadline. An actor keeps its lag while it sleeps; who goes to sleep ahead stays in the queue until the others have caught up and
//! somebody looks. CFS: who has run least; who slept is behind by at most a slice.

use super::{Fair, Place, Scheduler};

impl Scheduler<'_> {
    /// The actors in the queue of CPU `c`, with the one on it.
    fn queue(&self, c: usize) -> impl Iterator<Item = usize> + '_ {
        (0..self.tasks.len()).filter(move |&i| self.tasks[i].cpu == c && self.tasks[i].is_queued())
    }

    pub(super) fn vruntime(&self, seat: usize) -> i64 {
        let task = &self.tasks[seat];
        task.vruntime + weighted(task.ran_ns, task.weight)
    }

    /// Turns what the actor ran into weighted run time.
    pub(super) fn settle(&mut self, seat: usize) {
        self.tasks[seat].vruntime = self.vruntime(seat);
        self.tasks[seat].ran_ns = 0;
        let c = self.tasks[seat].cpu;
        let least = self.queue(c).map(|i| self.vruntime(i)).min();
        self.cpus[c].floor = least.map_or(self.cpus[c].floor, |least| least.max(self.cpus[c].floor));
    }

    /// Weight in the queue of CPU `c`, and its mean weighted run time.
    fn mean(&self, c: usize) -> (i64, i64) {
        self.mean_of(c, |i| self.vruntime(i))
    }

    fn mean_of(&self, c: usize, vruntime: impl Fn(usize) -> i64) -> (i64, i64) {
        let floor = self.cpus[c].floor;
        let (mut weights, mut sum) = (0, 0);
        for i in self.queue(c) {
            weights += self.tasks[i].weight;
            sum += self.tasks[i].weight * (vruntime(i) - floor);
        }
        (weights, floor + sum.checked_div_euclid(weights).unwrap_or(0))
    }

    fn slice(&self, seat: usize) -> i64 {
        weighted(self.machine.scheduler.slice_ns, self.tasks[seat].weight)
    }

    /// How far the queued actor is behind the mean, within what the kernel keeps.
    pub(super) fn lag(&self, seat: usize) -> i64 {
        let scheduler = &self.machine.scheduler;
        let most_ns = scheduler.slice_ns.saturating_mul(2).max(scheduler.tick_ns);
        let most = weighted(most_ns, self.tasks[seat].weight);
        (self.mean(self.tasks[seat].cpu).1 - self.vruntime(seat)).clamp(-most, most)
    }

    /// Whether the queued actor, going to sleep, is to stay until the others have caught up.
    pub(super) fn is_ahead(&self, seat: usize) -> bool {
        self.machine.scheduler.fair == Fair::Eevdf && self.vruntime(seat) > self.mean(self.tasks[seat].cpu).1
    }

    /// Puts a blocked actor into the queue of CPU `c`.
    pub(super) fn enqueue(&mut self, seat: usize, c: usize, now_ns: u64) {
        self.carry(seat, c, now_ns);
        self.place(seat, c);
        self.tasks[seat].deadline = self.tasks[seat].vruntime.saturating_add(self.slice(seat));
        self.line_up(seat, now_ns);
    }

    /// What the actor used of its CPU is another part of a slower or faster one.
    fn carry(&mut self, seat: usize, c: usize, now_ns: u64) {
        let [from, to] = [self.tasks[seat].cpu, c].map(|c| self.cpus[c].slowness);
        if from != to {
            self.tasks[seat].util.scale(to as f64 / from as f64, now_ns);
        }
    }

    /// Takes a runnable actor from one queue to another; its deadline is as far away as before.
    pub(super) fn migrate(&mut self, seat: usize, c: usize, now_ns: u64) {
        let left = self.tasks[seat].deadline - self.vruntime(seat);
        self.tasks[seat].lag = self.lag(seat);
        self.tasks[seat].place = Place::Blocked;
        self.carry(seat, c, now_ns);
        self.place(seat, c);
        self.tasks[seat].deadline = self.tasks[seat].vruntime + left;
        self.line_up(seat, now_ns);
    }

    /// An actor that is asleep, but still in its queue, is runnable again: ahead as before, or level if the others have caught up. Both by the run
    /// times as they were last accounted: this wake-up accounts nobody's, and what the one on the CPU has run since then is gained.
    pub(super) fn requeue(&mut self, seat: usize, now_ns: u64) {
        let (c, accounted) = (self.tasks[seat].cpu, |sched: &Self, c| sched.mean_of(c, |i| sched.tasks[i].vruntime).1);
        if accounted(self, c) > self.tasks[seat].vruntime {
            self.tasks[seat].place = Place::Blocked;
            self.tasks[seat].vruntime = accounted(self, c);
            self.tasks[seat].deadline = self.tasks[seat].vruntime.saturating_add(self.slice(seat));
        }
        self.line_up(seat, now_ns);
    }

    fn line_up(&mut self, seat: usize, now_ns: u64) {
        self.turn += 1;
        self.tasks[seat].turn = self.turn;
        self.tasks[seat].becomes(Place::Runnable, now_ns);
    }

    /// Its run time on the scale of another queue, which its coming moves.
    fn place(&mut self, seat: usize, c: usize) {
        if let Some(current) = self.cpus[c].seat {
            self.settle(current);
        }
        let (floors, scheduler) =
            ((self.cpus[self.tasks[seat].cpu].floor, self.cpus[c].floor), &self.machine.scheduler);
        let vruntime = match scheduler.fair {
            Fair::Cfs => {
                let least = floors.1.saturating_sub_unsigned(scheduler.slice_ns);
                (self.vruntime(seat) - floors.0 + floors.1).max(least)
            }
            Fair::Eevdf => {
                let ((weights, mean), task) = (self.mean(c), &self.tasks[seat]);
                let lag = i128::from(task.lag) * i128::from(weights + task.weight);
                mean - lag.checked_div(weights.into()).unwrap_or(0) as i64
            }
        };
        let task = &mut self.tasks[seat];
        (task.vruntime, task.ran_ns, task.cpu) = (vruntime, 0, c);
    }

    /// The actor of its queue, or on it, that CPU `c` should run. Who sleeps and is no longer ahead leaves the queue.
    pub(super) fn pick(&mut self, c: usize, now_ns: u64) -> Option<usize> {
        loop {
            let seat = self.first(c)?;
            if self.tasks[seat].place != Place::Late {
                return Some(seat);
            }
            self.tasks[seat].lag = self.lag(seat).min(0);
            self.tasks[seat].becomes(Place::Blocked, now_ns);
        }
    }

    fn first(&self, c: usize) -> Option<usize> {
        if self.machine.scheduler.fair == Fair::Cfs {
            return self.queue(c).min_by_key(|&i| (self.vruntime(i), self.tasks[i].turn));
        }
        let (_, mean) = self.mean(c);
        let eligible = |&i: &usize| self.vruntime(i) <= mean;
        let current = self.cpus[c].seat.filter(eligible);
        if let Some(seat) = current.filter(|&seat| self.vruntime(seat) < self.tasks[seat].parity) {
            return Some(seat);
        }
        let order = |&i: &usize| (self.tasks[i].deadline, self.cpus[c].seat == Some(i), self.tasks[i].turn);
        self.queue(c).filter(eligible).min_by_key(order) // The one on the CPU must be earlier than the others to keep it.
    }

    /// The actor that woke takes the CPU of its queue if it is its turn.
    pub(super) fn preempt_for(&mut self, woken: usize) {
        let c = self.tasks[woken].cpu;
        let Some(seat) = self.cpus[c].seat else { return };
        self.settle(seat);
        self.end_slice(c, seat);
        let scheduler = &self.machine.scheduler;
        let ahead = self.vruntime(seat).saturating_sub(self.vruntime(woken));
        let granted = i64::try_from(scheduler.wakeup_granularity_ns).unwrap_or(i64::MAX);
        let takes = match scheduler.fair {
            Fair::Cfs => ahead > granted,
            Fair::Eevdf => ahead >= granted && self.first(c) == Some(woken),
        };
        self.cpus[c].need_resched |= takes;
    }

    /// Whether the slice of the actor on CPU `c` is over; if so the next begins, and another may take the CPU.
    pub(super) fn end_slice(&mut self, c: usize, seat: usize) {
        let over = match self.machine.scheduler.fair {
            Fair::Cfs => self.slice_left_ns(c) == 0,
            Fair::Eevdf => self.tasks[seat].vruntime >= self.tasks[seat].deadline,
        };
        if over {
            self.tasks[seat].deadline = self.tasks[seat].vruntime.saturating_add(self.slice(seat));
            self.cpus[c].since_ns = self.cpus[c].now_ns;
            self.cpus[c].need_resched = true;
        }
    }

    /// What the actor on CPU `c` has left of its slice.
    pub(super) fn slice_left_ns(&self, c: usize) -> u64 {
        let (cpu, slice_ns) = (&self.cpus[c], self.machine.scheduler.slice_ns);
        match (self.machine.scheduler.fair, cpu.seat) {
            (Fair::Eevdf, Some(seat)) => {
                let left = self.tasks[seat].deadline.saturating_sub(self.vruntime(seat)).max(0);
                (left as u64).saturating_mul(self.tasks[seat].weight as u64) / 1024
            }
            _ => cpu.since_ns.saturating_add(slice_ns).saturating_sub(cpu.now_ns),
        }
    }
}

/// CPU time for a weight: a nice level of 0 has 1024.
fn weighted(ns: u64, weight: i64) -> i64 {
    i64::try_from(ns.saturating_mul(1024)).unwrap_or(i64::MAX) / weight
}
