//! Medians and quartiles: of times, and of the ratios of two subjects that run in turn.

use std::time::Duration;

/// The first quartile, the median and the third.
///
/// # Panics
/// When there are no values.
pub fn quartiles(values: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| sorted[(sorted.len() - 1) * quarter / 4])
}

/// Two subjects' figures of the same work, a pair a round.
#[derive(Default)]
pub struct Pairs(Vec<(f64, f64)>);

impl Pairs {
    /// Adds a round.
    pub fn push(&mut self, ours: f64, theirs: f64) {
        self.0.push((ours, theirs));
    }

    /// The medians of both.
    pub fn medians(&self) -> (f64, f64) {
        let median = |pick: fn(&(f64, f64)) -> f64| quartiles(self.0.iter().map(pick))[1];
        (median(|pair| pair.0), median(|pair| pair.1))
    }

    /// `theirs / ours` of each round, in quartiles: how many times as fast ours is when the figures are times.
    pub fn ratio(&self) -> [f64; 3] {
        quartiles(self.0.iter().map(|pair| pair.1 / pair.0))
    }
}

/// Runs both once to warm up, then `pairs` times in turn, each first every other time; times in seconds.
pub fn alternate(pairs: usize, mut ours: impl FnMut() -> Duration, mut rival: impl FnMut() -> Duration) -> Pairs {
    let _warm_up = (ours(), rival());
    let mut times = Pairs::default();
    for pair in 0..pairs {
        let first = (pair % 2 == 1).then(&mut rival);
        let mine = ours();
        let theirs = first.unwrap_or_else(&mut rival);
        times.push(mine.as_secs_f64(), theirs.as_secs_f64());
    }
    times
}

/// "1.02 (0.98 to 1.05)": a median between its quartiles.
pub fn show([low, median, high]: [f64; 3]) -> String {
    format!("{median:.2} ({low:.2} to {high:.2})")
}
