//! The test before compression: is the page one machine word repeated?
//!
//! zram stores such a page as its word alone (`ZRAM_SAME`); the swap path skips pages of zeroes (`zeromap`). As in the
//! kernel the last word is compared first, which settles most pages that are not.

/// Bytes compared without a branch in between: long enough for vector code, short enough to stop early.
const CHUNK: usize = 128;

/// The word that the whole `page` repeats, in the machine's byte order, or `None`.
///
/// A page whose length is 0 or no multiple of 8 bytes is not same-filled.
pub fn same_filled(page: &[u8]) -> Option<u64> {
    let (words, []) = page.as_chunks::<8>() else { return None };
    let (first, last) = (words.first()?, words.last()?);
    if first != last {
        return None;
    }
    let word = u64::from_ne_bytes(*first);
    repeats(words, word).then_some(word)
}

/// Whether every byte of `page` is zero; true of an empty page.
pub fn is_zero(page: &[u8]) -> bool {
    let (words, rest) = page.as_chunks::<8>();
    rest.iter().all(|&byte| byte == 0) && words.last().is_none_or(|&last| last == [0; 8]) && repeats(words, 0)
}

/// Whether every one of `words` is `word`.
fn repeats(words: &[[u8; 8]], word: u64) -> bool {
    let differs = |chunk: &[[u8; 8]]| chunk.iter().fold(0, |bits, &w| bits | (u64::from_ne_bytes(w) ^ word)) != 0;
    let (chunks, rest) = words.as_chunks::<{ CHUNK / 8 }>();
    !chunks.iter().any(|chunk| differs(chunk)) && !differs(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_differing_byte_anywhere_is_seen() {
        let mut page = [0xa5_u8; 4096];
        assert_eq!(same_filled(&page), Some(0xa5a5_a5a5_a5a5_a5a5));
        for at in 0..page.len() {
            page[at] ^= 1;
            assert_eq!(same_filled(&page), None, "byte {at}");
            page[at] ^= 1;
        }
    }

    #[test]
    fn the_word_need_not_be_one_byte() {
        let word = 0x0123_4567_89ab_cdef_u64;
        let page: Vec<u8> = word.to_ne_bytes().repeat(512);
        assert_eq!(same_filled(&page), Some(word));
        assert!(!is_zero(&page));
    }

    #[test]
    fn zero_is_found_wherever_it_breaks() {
        for len in [0, 1, 7, 8, 9, 129, 4095, 4096] {
            let mut page = vec![0_u8; len];
            assert!(is_zero(&page));
            for at in 0..len {
                page[at] = 1;
                assert!(!is_zero(&page), "byte {at} of {len}");
                page[at] = 0;
            }
        }
    }

    #[test]
    fn odd_lengths_are_not_same_filled() {
        assert_eq!(same_filled(&[]), None);
        assert_eq!(same_filled(&[0; 4]), None);
        assert_eq!(same_filled(&[0; 4095]), None);
        assert_eq!(same_filled(&[7; 8]), Some(0x0707_0707_0707_0707));
    }
}
