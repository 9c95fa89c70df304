//! What only all actors of a run know together: who is stalled on memory, and how many watermarks the free pages are above.

/// Pressure: who is stalled, and since when.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pressure {
    /// Applications that have not ended.
    pub apps: u32,
    /// Of those, the stalled.
    pub stalled: u32,
    pub since_ns: u64,
    /// Time with at least one stalled.
    pub some_ns: u64,
    /// Time with every one stalled.
    pub full_ns: u64,
    /// The stalls of all, added up.
    pub stall_ns: u64,
}

impl Pressure {
    /// Counts the time until `now_ns` as things are.
    pub fn advance(&mut self, now_ns: u64) {
        let passed = now_ns.saturating_sub(self.since_ns);
        self.since_ns = self.since_ns.max(now_ns);
        self.stall_ns += passed * u64::from(self.stalled);
        self.some_ns += if self.stalled > 0 { passed } else { 0 };
        self.full_ns += if self.stalled > 0 && self.stalled >= self.apps { passed } else { 0 };
    }
}

/// Free pages: how many watermarks they are above, and since when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Level {
    pub above: u8,
    since_ns: u64,
    /// Time with no more free pages than min, low and high.
    pub below_ns: [u64; 3],
}

impl Level {
    pub fn new(above: u8, since_ns: u64) -> Self {
        Self { above, since_ns, below_ns: [0; 3] }
    }

    /// Free pages are above so many watermarks from `now_ns` on.
    pub fn pass(&mut self, above: u8, now_ns: u64) {
        let passed = now_ns.saturating_sub(self.since_ns);
        self.below_ns[usize::from(self.above)..].iter_mut().for_each(|below_ns| *below_ns += passed);
        (self.above, self.since_ns) = (above, now_ns.max(self.since_ns));
    }
}
