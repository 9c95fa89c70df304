//! In which queue a woken actor goes, and what moves from one queue to another.
//!
//! A woken actor goes to the CPU that it was on if that is idle; else to an idle one, for which the others are looked through the
//! less the busier all are (`SIS_UTIL`): on two CPUs not at all when both are used by more than 60 %; else to the less loaded of its
//! own and the waker's CPU. (A guest whose idle CPUs its host takes away at once sees none of them: `vcpu_is_preempted`.) A CPU that becomes idle takes a waiting actor of another that has not run just now, if it looks at all ([`super::newidle`]); an idle one does at a tick of
//! the others. A busy CPU compares its load with the others' after 16 ms for each CPU, after twice as long where all was in balance,
//! and takes an actor only when it has nothing to spare itself and the other CPU is overloaded.
//!
//! On CPUs of unequal speed (Documentation/scheduler/sched-capacity.rst) a woken actor goes to an idle CPU that it fits on, else to the fastest idle one;
//! and one that needs more than its CPU can do (a misfit) moves at a tick to the fastest idle CPU, if that can do more.

use super::{Place, Scheduler, Task};

/// How much busier than its part of all CPUs a CPU must be to be busy, in per cent (`imbalance_pct` where CPUs share a cache).
const IMBALANCE_PERCENT: f64 = 117.0;
/// What an actor uses of a CPU that it fits on, in per cent (`fits_capacity`).
const FITS_PERCENT: f64 = 80.0;
/// What a CPU can do more than another to be one of greater capacity, in per cent (`capacity_greater`).
const GREATER_PERCENT: f64 = 105.0;
/// Vain attempts after which a balancing CPU takes an actor although it has run just now (`cache_nice_tries` of such CPUs).
const NICE_TRIES: u32 = 1;

/// Nanoseconds between two comparisons of a busy CPU, from the least to the most `balance_interval`, times `busy_factor`.
pub(super) fn period_ns(cpus: usize, balanced: bool) -> u64 {
    16_000_000 * cpus as u64 * if balanced { 2 } else { 1 }
}

impl Scheduler<'_> {
    /// The CPU that the actor may run on with the fewest others in its queue, the fastest of those.
    pub(super) fn emptiest(&self, seat: usize) -> usize {
        let allowed = (0..self.cpus.len()).filter(|&c| self.tasks[seat].may_run_on(c));
        allowed.min_by_key(|&c| (self.queued(c), self.cpus[c].slowness, c)).unwrap_or(0)
    }

    fn queued(&self, c: usize) -> usize {
        self.tasks.iter().filter(|task| task.cpu == c && task.is_queued()).count()
    }

    /// The part of CPU `c` that those in its queue are taken to use.
    pub(super) fn used(&self, c: usize, now_ns: u64) -> f64 {
        let queue = self.tasks.iter().filter(|task| task.cpu == c && task.is_queued());
        queue.map(|task| task.util.at(now_ns)).sum()
    }

    fn is_idle(&self, c: usize) -> bool {
        self.cpus[c].seat.is_none()
    }

    /// Whether who wakes up finds CPU `c` idle.
    fn is_available(&self, c: usize) -> bool {
        self.is_idle(c) && !self.machine.scheduler.vcpu_is_preempted
    }

    /// Whose queue the woken actor goes to.
    pub(super) fn select(&mut self, seat: usize, now_ns: u64, waker: Option<usize>) -> usize {
        let task = &mut self.tasks[seat];
        let (last, recent) = (task.cpu, std::mem::replace(&mut task.recent, task.cpu));
        let task = self.tasks[seat];
        let target = match waker.filter(|&w| w != last && task.may_run_on(w)) {
            Some(waker) if !self.is_available(last) && self.is_lighter(waker, seat, now_ns) => waker,
            _ => last,
        };
        let idle = |c: &usize| self.is_available(*c) && task.may_run_on(*c) && self.fits(seat, *c, now_ns);
        let near = [target, last, recent].into_iter().find(idle);
        near.or_else(|| self.look_through(target, seat, now_ns)).unwrap_or(target)
    }

    /// Whether `waker`'s CPU with the actor has less to do than the actor's own without it.
    fn is_lighter(&self, waker: usize, seat: usize, now_ns: u64) -> bool {
        let (own, load) = (self.tasks[seat].cpu, self.tasks[seat].load(now_ns));
        let there = (self.load(waker, now_ns) + load) / self.capacity(waker) * 100.0;
        let here = (self.load(own, now_ns) - load) / self.capacity(own) * (100.0 + (IMBALANCE_PERCENT - 100.0) / 2.0);
        there < here
    }

    /// Over all whose CPU it is, asleep or not.
    fn sum(&self, c: usize, of: impl Fn(&Task) -> f64) -> f64 {
        self.tasks.iter().filter(|task| task.cpu == c).map(of).sum()
    }

    /// Load of all whose CPU it is, and of those that sleep what is left of it.
    fn load(&self, c: usize, now_ns: u64) -> f64 {
        self.sum(c, |task| task.load(now_ns))
    }

    /// What CPU `c` can do: 1 at 100 %.
    fn capacity(&self, c: usize) -> f64 {
        65536.0 / self.cpus[c].slowness as f64
    }

    /// Whether CPU `c` can do what the actor used where it was; where all are equal there is no better one.
    fn fits(&self, seat: usize, c: usize, now_ns: u64) -> bool {
        let used = || self.tasks[seat].util.at(now_ns) * self.capacity(self.tasks[seat].cpu);
        !self.unequal || used() * 100.0 < self.capacity(c) * FITS_PERCENT
    }

    /// At a tick of CPU `c`: its actor, if it is a misfit, goes to an idle CPU that can do more; whether it went.
    pub(super) fn move_misfit(&mut self, c: usize) -> bool {
        let now_ns = self.cpus[c].now_ns;
        let Some(seat) = self.cpus[c].seat.filter(|&seat| !self.fits(seat, c, now_ns)) else { return false };
        let greater = |other| self.capacity(other) * 100.0 > self.capacity(c) * GREATER_PERCENT;
        let takes = |&other: &usize| self.is_idle(other) && self.tasks[seat].may_run_on(other) && greater(other);
        let fastest = (0..self.cpus.len()).filter(takes).min_by_key(|&other| self.cpus[other].slowness);
        let Some(other) = fastest else { return false };
        self.leave(c, now_ns);
        self.migrate(seat, other, now_ns);
        self.start(other, seat, now_ns + self.machine.scheduler.idle_exit_ns);
        self.next(c, now_ns);
        true
    }

    /// An idle CPU among the others, as many as their use allows; where they are unequal among all, one that the actor fits on or the fastest.
    fn look_through(&self, target: usize, seat: usize, now_ns: u64) -> Option<usize> {
        let cpus = self.cpus.len();
        let idle = |&c: &usize| self.is_available(c) && self.tasks[seat].may_run_on(c);
        let others = (1..cpus).map(|i| (target + i) % cpus);
        if self.unequal {
            let fit = others.filter(idle).find(|&c| self.fits(seat, c, now_ns));
            return fit.or_else(|| (0..cpus).filter(idle).min_by_key(|&c| self.cpus[c].slowness));
        }
        let used = self.tasks.iter().map(|task| task.util.at(now_ns)).sum::<f64>() / cpus as f64;
        let looks = cpus as f64 * (1.0 - (used * IMBALANCE_PERCENT / 100.0).powi(2));
        others.filter(|&c| self.tasks[seat].may_run_on(c)).take(looks.max(0.0) as usize).find(idle)
    }

    /// Whether the actor waits in a queue that CPU `c` may take it from; `hot`: although it has run just now.
    fn may_move(&self, seat: usize, c: usize, now_ns: u64, hot: bool) -> bool {
        let task = &self.tasks[seat];
        let cold = now_ns.saturating_sub(task.seen_ns) >= self.machine.scheduler.migration_cost_ns;
        task.place == Place::Runnable && task.may_run_on(c) && (hot || cold)
    }

    /// An actor that waits elsewhere and may run on CPU `c`: of the longest queue the one that has waited longest. `hot`: also one that
    /// has run just now.
    pub(super) fn pull(&mut self, c: usize, now_ns: u64, hot: bool) -> Option<usize> {
        let elsewhere = (0..self.tasks.len()).filter(|&i| self.tasks[i].cpu != c && self.may_move(i, c, now_ns, hot));
        let order = |&i: &usize| (std::cmp::Reverse(self.queued(self.tasks[i].cpu)), self.tasks[i].turn);
        let seat = elsewhere.min_by_key(order)?;
        self.migrate(seat, c, now_ns);
        Some(seat)
    }

    /// CPU `c` has become idle: an actor that waits elsewhere, if it looks and may move one.
    pub(super) fn newidle(&mut self, c: usize, now_ns: u64) -> Option<usize> {
        if !(0..self.cpus.len()).any(|other| self.queued(other) > 1) {
            return None;
        }
        let looks = self.cpus[c].newidle.looks();
        let pulled = looks.then(|| self.pull_cold(c, now_ns)).flatten();
        self.cpus[c].newidle.count(looks && pulled.is_some());
        pulled
    }

    /// An actor for idle CPU `c`, one that has run just now after vain attempts only.
    fn pull_cold(&mut self, c: usize, now_ns: u64) -> Option<usize> {
        let pulled = self.pull(c, now_ns, self.cpus[c].failed > NICE_TRIES);
        if pulled.is_some() {
            self.cpus[c].failed = 0;
        }
        pulled
    }

    /// At a tick of CPU `c`: an idle CPU takes over who waits here, or this one compares its load; whether an idle CPU got an actor.
    pub(super) fn balance(&mut self, c: usize) -> bool {
        let now_ns = self.cpus[c].now_ns;
        if self.queued(c) > 1
            && let Some(idle) = (0..self.cpus.len()).find(|&c| self.is_idle(c))
        {
            let pulled = self.pull_cold(idle, now_ns);
            self.count(idle, pulled.is_some());
            if let Some(seat) = pulled {
                self.start(idle, seat, now_ns + self.machine.scheduler.idle_exit_ns);
            }
            return pulled.is_some();
        }
        if now_ns >= self.cpus[c].balance_ns {
            let balanced = !self.take_load(c, now_ns);
            let early_ns = self.machine.scheduler.tick_ns; // Lest it meets that of a higher domain (`get_sd_balance_interval`).
            self.cpus[c].balance_ns = now_ns + period_ns(self.cpus.len(), balanced).saturating_sub(early_ns);
        }
        false
    }

    /// How many of CPU `c`'s actors were in its queue on the mean, those that sleep counted by what is left.
    fn runnable(&self, c: usize, now_ns: u64) -> f64 {
        self.sum(c, |task| task.load.at(now_ns))
    }

    /// And how much of its time they used.
    fn util(&self, c: usize, now_ns: u64) -> f64 {
        self.sum(c, |task| task.util.at(now_ns))
    }

    /// More wait on CPU `c` than it can do (`group_is_overloaded`).
    fn is_overloaded(&self, c: usize, now_ns: u64) -> bool {
        let most = IMBALANCE_PERCENT / 100.0;
        self.queued(c) > 1 && (self.util(c, now_ns) * most > 1.0 || self.runnable(c, now_ns) > most)
    }

    /// It could do more than it does (`group_has_capacity`): no balancing for such a one while it is busy.
    fn has_spare(&self, c: usize, now_ns: u64) -> bool {
        let most = IMBALANCE_PERCENT / 100.0;
        self.runnable(c, now_ns) <= most && self.util(c, now_ns) * most < 1.0
    }

    fn count(&mut self, c: usize, moved: bool) {
        self.cpus[c].failed = if moved { 0 } else { self.cpus[c].failed + 1 };
    }

    /// The overloaded CPU with the most load for what it can do, and what it has too much of it and busy CPU `c` too little.
    fn busiest(&self, c: usize, now_ns: u64) -> Option<(usize, f64)> {
        let cpus = 0..self.cpus.len();
        let loads: Vec<f64> = cpus.clone().map(|c| self.load(c, now_ns) / self.capacity(c)).collect();
        let all: f64 = cpus.clone().map(|c| self.load(c, now_ns)).sum();
        let mean = all / cpus.map(|c| self.capacity(c)).sum::<f64>();
        let crowded = (0..loads.len()).filter(|&b| b != c && self.is_overloaded(b, now_ns));
        let busiest = crowded.max_by(|&a, &b| loads[a].total_cmp(&loads[b]).then(b.cmp(&a)))?;
        let near = self.is_overloaded(c, now_ns) && loads[busiest] * 100.0 <= loads[c] * IMBALANCE_PERCENT;
        let too_much = ((loads[busiest] - mean) * self.capacity(busiest)).min((mean - loads[c]) * self.capacity(c));
        (!near && !self.has_spare(c, now_ns) && too_much > 0.0).then_some((busiest, too_much))
    }

    /// CPU `c` takes an actor of the most loaded one, if what that has too much and this has too little is worth it: the more
    /// attempts were in vain the less. Whether there was anything to even out.
    pub(super) fn take_load(&mut self, c: usize, now_ns: u64) -> bool {
        let Some((busiest, imbalance)) = self.busiest(c, now_ns) else {
            self.cpus[c].failed = 0;
            return false;
        };
        let failed = self.cpus[c].failed;
        let fits = |i: &usize| self.tasks[*i].load(now_ns) / f64::from(1 << failed.min(16)) <= imbalance;
        let movable = |i: &usize| self.tasks[*i].cpu == busiest && self.may_move(*i, c, now_ns, failed > NICE_TRIES);
        let all = (0..self.tasks.len()).filter(|i| movable(i) && fits(i));
        let taken = all.min_by_key(|&i| self.tasks[i].turn);
        self.count(c, taken.is_some());
        if let Some(seat) = taken {
            self.migrate(seat, c, now_ns);
            self.preempt_for(seat);
        }
        true
    }
}
