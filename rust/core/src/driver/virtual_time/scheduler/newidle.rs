//! Whether a CPU that becomes idle looks for work elsewhere: by a throw of dice, as often as it found some lately.
//!
//! The kernel's rule since Linux 7.0, 6.18.5 and 6.12.65 ("sched/fair: Proportional newidle balance"; `newidle_ratio` of a scheduling domain).
//! Left out: that it does not look where its idle times are shorter than a look takes.

use crate::workload::SplitMix;

/// Sides of the dice, and calls after which the ratio is taken anew.
const SIDES: u32 = 1024;

#[derive(Clone, Copy, Debug)]
pub(super) struct Newidle {
    /// How often the CPU became idle while somebody waited, since the ratio was taken, with half of those before.
    calls: u32,
    /// How often it would have found work, by those times that it looked.
    hits: u32,
    /// Of [`SIDES`].
    ratio: u32,
    dice: SplitMix,
}

impl Newidle {
    /// Of CPU `c` after boot: every second time.
    pub fn new(c: usize) -> Self {
        Self { calls: SIDES / 2, hits: SIDES / 4, ratio: SIDES / 2, dice: SplitMix(c as u64) }
    }

    /// Throws the dice.
    pub fn looks(&mut self) -> bool {
        self.dice.below(SIDES) <= 1 + self.ratio
    }

    /// One call more; `found`: it looked, and got work. That stands for the times that it did not look, too.
    pub fn count(&mut self, found: bool) {
        let each = 1 + self.ratio;
        self.calls += 1;
        self.hits += if found { (SIDES + each / 2) / each } else { 0 };
        if self.calls >= SIDES {
            *self = Self { calls: self.calls / 2, hits: self.hits / 2, ratio: self.hits, dice: self.dice };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many calls, of which every `each`-th would find work: how many look.
    fn looks(cpu: &mut Newidle, calls: u32, each: u32) -> u32 {
        let call = |call| {
            let looks = cpu.looks();
            cpu.count(looks && call % each == 0);
            u32::from(looks)
        };
        (0..calls).map(call).sum()
    }

    #[test]
    fn a_cpu_looks_every_second_time_at_first_and_then_as_often_as_it_pays() {
        let mut cpu = Newidle::new(0);
        let first = looks(&mut cpu, 500, 8);
        assert!((200..300).contains(&first), "{first} of 500");
        looks(&mut cpu, 20_000, 8);
        let later = looks(&mut cpu, 8_000, 8);
        assert!((700..1_500).contains(&later), "{later} of 8000");
        looks(&mut cpu, 100_000, 1);
        let last = looks(&mut cpu, 1_000, 1);
        assert!(last > 900, "{last} of 1000");
    }
}
