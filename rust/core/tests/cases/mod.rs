//! How many cases a property test runs.

use proptest::prelude::ProptestConfig;

/// Proptest's own number of cases.
const USUAL: u64 = 256;

/// `each` cases; with `PROPTEST_CASES` as many times that as it is of proptest's own number.
pub fn cases(each: u32) -> ProptestConfig {
    let whole = ProptestConfig::default();
    let cases = (u64::from(each) * u64::from(whole.cases)).div_ceil(USUAL);
    ProptestConfig { cases: u32::try_from(cases).expect("so many cases never end"), ..whole }
}
