//! The machine that a crew runs on.

use super::Costs;
use crate::lifecycle::actor;

/// When an actor in the kernel may lose its CPU to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preempt {
    /// `PREEMPT_NONE`: at `cond_resched()` and on the way back to user mode only.
    None,
    /// `PREEMPT`: after any step.
    Full,
}

/// Who of a CPU's queue runs next, and what an actor that wakes up has of having slept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fair {
    /// Until Linux 6.5: who has run least. Who wakes up is behind by at most a slice, if others ran meanwhile.
    Cfs,
    /// Since 6.6 (6.12 for who sleeps ahead): who is not ahead of the mean and has the earliest deadline. Who wakes up is as far behind as
    /// it was, or ahead until the others have caught up (Documentation/scheduler/sched-eevdf.rst).
    Eevdf,
}

/// The scheduler's numbers, nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scheduler {
    /// How long an actor keeps a CPU that another wants; until the tick after that, where there are ticks.
    pub slice_ns: u64,
    /// Between two ticks, at which a CPU looks whether a slice is over; 0: it is told at once.
    pub tick_ns: u64,
    /// How long before the start of a run the last tick was. [`Scheduler::booted`] sets it.
    pub since_tick_ns: u64,
    /// An actor that ran so short a time ago stays in its queue when others look for work.
    pub migration_cost_ns: u64,
    /// How far behind a woken actor's weighted run time must be to take a CPU before the slice is over: 0 under EEVDF.
    pub wakeup_granularity_ns: u64,
    /// What waking another costs the waker.
    pub wake_ns: u64,
    /// What it costs more where an idle CPU is to be interrupted.
    pub ipi_ns: u64,
    /// From the wake-up until an idle CPU runs the woken.
    pub idle_exit_ns: u64,
    /// Switching a CPU to another actor, who pays.
    pub switch_ns: u64,
    /// An idle CPU of this guest counts as one that its host has taken away: nobody who wakes up looks for it.
    pub vcpu_is_preempted: bool,
    /// Preemption in the kernel.
    pub preempt: Preempt,
    /// Who is next, and what sleeping earns.
    pub fair: Fair,
}

impl Default for Scheduler {
    /// Linux's base slice with 8 and more CPUs, `HZ` 250, its `migration_cost_ns`; round numbers for the rest.
    fn default() -> Self {
        Self {
            slice_ns: 3_000_000,
            tick_ns: 4_000_000,
            since_tick_ns: 0,
            migration_cost_ns: 500_000,
            wakeup_granularity_ns: 0,
            wake_ns: 1_000,
            ipi_ns: 0,
            idle_exit_ns: 2_000,
            switch_ns: 1_000,
            vcpu_is_preempted: false,
            preempt: Preempt::Full,
            fair: Fair::Eevdf,
        }
    }
}

impl Scheduler {
    /// The scheduler at boot `number` of its machine, whose run begins at another time between two ticks: at a tick for 0, and those of many
    /// boots are spread evenly (multiples of the golden ratio).
    #[must_use]
    pub fn booted(self, number: u64) -> Self {
        let part = u128::from(number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        Self { since_tick_ns: ((part * u128::from(self.tick_ns)) >> 64) as u64, ..self }
    }
}

/// What the scheduler is told about a kind of actors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// An actor's id ([`actor`]), of which only the bits of `mask` are looked at: 0xff00 names a kind, 0xffff one actor.
    pub actor: u16,
    /// Bits of `actor` that count.
    pub mask: u16,
    /// -20 to 19.
    pub nice: i8,
    /// CPUs it may run on, a bit each.
    pub cpus: u64,
}

/// CPUs, their scheduler, and what work costs on them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Speed of each CPU in per cent of the CPU that the costs were measured on; at least 1. At most 64 CPUs.
    pub cpu_speed_percent: Vec<u32>,
    /// The scheduler.
    pub scheduler: Scheduler,
    /// Nice levels and affinities; the last that names an actor or its kind holds.
    pub policies: Vec<Policy>,
    /// What work costs.
    pub costs: Costs,
}

impl Machine {
    /// `cpus` CPUs of 100 %, everything else by default.
    pub fn new(cpus: usize) -> Self {
        Self {
            cpu_speed_percent: vec![100; cpus],
            scheduler: Scheduler::default(),
            policies: Vec::new(),
            costs: Costs::default(),
        }
    }

    /// As [`Machine::new`], each actor running until it waits.
    pub fn without_slices(cpus: usize) -> Self {
        let whole = Scheduler { slice_ns: u64::MAX, wakeup_granularity_ns: u64::MAX, ..Scheduler::default() };
        Self { scheduler: whole, ..Self::new(cpus) }
    }

    /// What holds for actor `id`: nice level and CPUs.
    pub(super) fn policy(&self, id: u16) -> (i8, u64) {
        let all = u64::MAX >> (64 - self.cpu_speed_percent.len().clamp(1, 64));
        let named = self.policies.iter().rev().find(|p| p.actor == id & p.mask);
        named.map_or((0, all), |policy| (policy.nice, policy.cpus & all))
    }

    /// Whether actor `id` needs no CPU: the swap device, if a write takes the device's own time.
    pub(super) fn is_interrupt(&self, id: u16) -> bool {
        actor::kind(id) == actor::DEVICE && self.costs.device_write_ns > 0
    }

    pub(super) fn is_possible(&self, ids: impl Iterator<Item = u16>) -> bool {
        let cpus = &self.cpu_speed_percent;
        let each = cpus.iter().all(|&percent| percent > 0);
        (1..=64).contains(&cpus.len()) && each && ids.into_iter().all(|id| self.policy(id).1 != 0)
    }
}

/// The weight of a nice level: each level is a quarter more or less CPU time than its neighbour
/// (Documentation/scheduler/sched-nice-design.rst), 1024 at 0.
pub(super) fn weight(nice: i8) -> u64 {
    (1024.0 * 1.25f64.powi(-i32::from(nice.clamp(-20, 19)))).round() as u64
}

/// Whether an actor is an application.
pub(super) fn is_app(id: u16) -> bool {
    actor::kind(id) == actor::APP
}
