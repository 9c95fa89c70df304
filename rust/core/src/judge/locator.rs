//! Two sums that name the one altered record of a trace.
//!
//! Over the field of the prime p = 2^61 - 1 let h(r) be a polynomial hash of a record's words; kept are S = sum of h(r_i)
//! and W = sum of (i + 1) h(r_i). If only record k changed, both sums moved: S by d and W by (k + 1) d, so their ratio
//! is k + 1. Other damage gives a ratio out of range except with a chance of (records / 2^61). A digest says that a
//! trace was altered; this says where.

use crate::trace::Record;

const P: u64 = (1 << 61) - 1;
/// Where the hash polynomial is evaluated: any number below p that is not small.
const AT: u64 = 0x1b87_3593_9e37_79b9 % P;

/// The two sums, and the records they cover.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Locator {
    /// Sum of the hashes, below 2^61 - 1.
    pub sum: u64,
    /// Sum of the hashes, each times its record's number from 1.
    pub weighted: u64,
    /// Records so far.
    pub records: u64,
}

impl Locator {
    /// Adds a record.
    pub fn add(&mut self, r: &Record) {
        self.records += 1;
        let hash = hash(r);
        self.sum = add(self.sum, hash);
        self.weighted = add(self.weighted, mul(hash, self.records % P));
    }

    /// The record by which a trace differs from the one with the sums of `original`, when it is one record.
    pub fn altered(&self, original: &Self) -> Option<u64> {
        let moved = add(self.sum, P - original.sum % P);
        let weighted = add(self.weighted, P - original.weighted % P);
        let number = mul(weighted, inverse(moved));
        (moved != 0 && (1..=self.records).contains(&number)).then(|| number - 1)
    }
}

fn hash(r: &Record) -> u64 {
    let page = u64::from(r.folio) << 32 | u64::from(r.seq);
    let small = [r.event, r.from, r.to, r.guards].map(u64::from).iter().fold(0, |word, b| word << 8 | b);
    let who = u64::from(r.actor) << 48 | u64::from(r.flags) << 32 | small;
    // Halves, because a word may exceed p and two words that differ by p must not hash alike.
    let halves = [r.t_ns, r.aux, page, who].map(|w| [w >> 32, w & 0xffff_ffff]);
    halves.iter().flatten().fold(0, |hash, &half| add(mul(hash, AT), half))
}

const fn reduce(x: u128) -> u64 {
    let folded = (x & P as u128) as u64 + (x >> 61) as u64;
    if folded >= P { folded - P } else { folded }
}

const fn add(a: u64, b: u64) -> u64 {
    reduce(a as u128 + b as u128)
}

const fn mul(a: u64, b: u64) -> u64 {
    reduce(a as u128 * b as u128)
}

/// By Fermat: x^(p - 2).
fn inverse(x: u64) -> u64 {
    let (mut result, mut base, mut exponent) = (1, x, P - 2);
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = mul(result, base);
        }
        base = mul(base, base);
        exponent >>= 1;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::decode;
    use proptest::prelude::*;

    fn sums(records: &[[u8; 32]]) -> Locator {
        let mut locator = Locator::default();
        records.iter().for_each(|bytes| locator.add(&decode(bytes)));
        locator
    }

    proptest! {
        /// Whichever bit of it.
        #[test]
        fn one_altered_record_is_found(records in prop::collection::vec(any::<[u8; 32]>(), 1..20), k in any::<prop::sample::Index>()) {
            let (before, at) = (sums(&records), k.index(records.len()));
            for bit in 0..256 {
                let mut altered = records.clone();
                altered[at][bit / 8] ^= 1 << (bit % 8);
                prop_assert_eq!(sums(&altered).altered(&before), Some(at as u64), "bit {}", bit);
            }
        }
    }

    #[test]
    fn nothing_altered_is_nothing_found() {
        let records = [[0; 32]; 3];
        assert_eq!(sums(&records).altered(&sums(&records)), None);
    }
}
