//! Random numbers, and ranks by a zipf law.

/// A small generator: splitmix64 (Steele, Lea, Flood 2014).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SplitMix(pub u64);

impl SplitMix {
    /// The next 64 bits.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A number below `n`, which is not 0.
    #[inline]
    pub fn below(&mut self, n: u32) -> u32 {
        (((self.next_u64() >> 32) * u64::from(n)) >> 32) as u32
    }

    /// A number from 0 to just below 1.
    pub(super) fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Ranks drawn by a zipf law: rank `r` with a probability proportional to `1 / (r + 1)^theta`.
///
/// The method of Gray and others (Quickly generating billion-record synthetic databases, SIGMOD 1994), as YCSB uses it; which
/// page has which rank is scattered, so that hot pages are no neighbours.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Zipf {
    pages: u32,
    theta: f64,
    zeta: f64,
    eta: f64,
    half: f64,
}

// No number in a law is a NaN: its maker checks what it is made from.
impl Eq for Zipf {}

impl std::hash::Hash for Zipf {
    fn hash<H: std::hash::Hasher>(&self, hasher: &mut H) {
        (self.pages, self.theta.to_bits()).hash(hasher);
    }
}

/// A prime above every number of pages: multiplication by it permutes the ranks.
const SCATTER: u64 = 4_294_967_311;

impl Zipf {
    /// A law over `pages` pages; `theta` from 0 (uniform) to just below 1.
    ///
    /// # Panics
    /// If there are no pages or `theta` is out of range: callers check input and name it.
    pub fn new(pages: u32, theta: f64) -> Self {
        assert!(pages > 0 && (0.0..1.0).contains(&theta), "zipf over {pages} pages with theta {theta}");
        let term = |rank: u32| 1.0 / f64::from(rank).powf(theta);
        let zeta: f64 = (1..=pages).map(term).sum();
        let half = 1.0 + 0.5f64.powf(theta);
        let eta = (1.0 - (2.0 / f64::from(pages)).powf(1.0 - theta)) / (1.0 - half / zeta);
        Self { pages, theta, zeta, eta, half }
    }

    pub(super) fn page(&self, random: &mut SplitMix) -> u32 {
        let u = random.unit();
        let rank = match u * self.zeta {
            uz if uz < 1.0 => 0,
            uz if uz < self.half => 1,
            _ => (f64::from(self.pages) * (self.eta * u - self.eta + 1.0).powf(1.0 / (1.0 - self.theta))) as u32,
        };
        (u64::from(rank.min(self.pages - 1)) * SCATTER % u64::from(self.pages)) as u32
    }
}
