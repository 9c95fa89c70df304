//! How much of the last tens of milliseconds something was so: the kernel's per-entity load tracking.

/// After so long half is forgotten (`LOAD_AVG_PERIOD` of 1024 us).
const HALF_LIFE_NS: u64 = 32 * 1024 * 1000;

/// A mean over time in which the past counts half for every [`HALF_LIFE_NS`]; 0 to 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Average {
    mean: f64,
    is: f64,
    since_ns: u64,
}

impl Average {
    /// Was so for `mean` of the time, and is not now.
    pub fn new(mean: f64, now_ns: u64) -> Self {
        Self { mean, is: 0.0, since_ns: now_ns }
    }

    /// What it is at `now_ns`.
    pub fn at(&self, now_ns: u64) -> f64 {
        self.is + (self.mean - self.is) * left(now_ns.saturating_sub(self.since_ns))
    }

    /// What it was until `now_ns` counts `times` as much.
    pub fn scale(&mut self, times: f64, now_ns: u64) {
        self.mean = (self.at(now_ns) * times).min(1.0);
        self.since_ns = self.since_ns.max(now_ns);
    }

    /// From `now_ns` on it is so, or not.
    pub fn turn(&mut self, is: bool, now_ns: u64) {
        self.mean = self.at(now_ns);
        (self.is, self.since_ns) = (f64::from(u8::from(is)), self.since_ns.max(now_ns));
    }
}

/// What is left of 1 after so long: a power of two by series, since libraries differ in theirs.
fn left(ns: u64) -> f64 {
    let (halvings, rest) = (ns / HALF_LIFE_NS, ns % HALF_LIFE_NS);
    let x = -std::f64::consts::LN_2 * rest as f64 / HALF_LIFE_NS as f64;
    let part = 1.0 + x * (1.0 + x / 2.0 * (1.0 + x / 3.0 * (1.0 + x / 4.0 * (1.0 + x / 5.0))));
    part / (1u64 << halvings.min(63)) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_is_forgotten_in_a_half_life_however_it_is_looked_at() {
        let mut often = Average::new(0.0, 0);
        often.turn(true, 0);
        let once = often;
        for ns in (0..=2 * HALF_LIFE_NS).step_by(HALF_LIFE_NS as usize / 1000) {
            often.turn(true, ns);
        }
        for found in [often.at(2 * HALF_LIFE_NS), once.at(2 * HALF_LIFE_NS)] {
            assert!((found - 0.75).abs() < 1e-4, "{found}");
        }
        assert!((left(HALF_LIFE_NS / 2) - 0.5f64.sqrt()).abs() < 1e-3);
    }
}
