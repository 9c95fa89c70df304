//! Every codec on pages of all kinds: round trips, other libraries' decoders, and bytes that are no block at all.

mod cases;

use kcompressd_core::codec::lz4::{Lz4, bound_bytes};
use kcompressd_core::codec::{CodecName, CodecSpec, Compressor, DecodeError, is_zero, same_filled};
use proptest::prelude::*;
use std::ffi::{c_char, c_int};

const BUILT_IN: [&str; 11] =
    ["lz4", "lz4:7", "lz4hc", "lz4hc:1", "zstd", "zstd:-5", "deflate", "deflate:1", "lzo", "lzo-rle", "842"];
const PAGE_SIZE: usize = 4096;

fn open(spec: &str) -> Box<dyn Compressor> {
    spec.parse::<CodecSpec>().unwrap().open()
}

/// A small generator of numbers, so that pages are equal in every run.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn below(&mut self, end: u64) -> usize {
        (self.next() % end) as usize
    }
}

/// A page as processes have them: pointers into few regions, words of text, counters, copies of earlier parts, zeroes.
fn page_like(seed: u64, len: usize) -> Vec<u8> {
    let mut rng = Rng(seed ^ 0x9e37_79b9);
    let mut page = Vec::with_capacity(len + 256);
    while page.len() < len {
        match rng.next() % 6 {
            0 => page.extend((0x7f3a_1c00_0000 + (rng.next() & 0xffff8)).to_le_bytes()),
            1 => page.extend(["return ", "self.", "import ", "None", "\n    def "][rng.below(5)].bytes()),
            2 => page.extend((rng.next() as u32 & 0xff).to_le_bytes()),
            3 => page.extend((0..rng.below(20)).map(|_| 0).collect::<Vec<u8>>()),
            4 => page.extend((0..rng.below(12)).map(|_| rng.next() as u8).collect::<Vec<u8>>()),
            _ if page.is_empty() => page.push(0),
            _ => {
                let (from, bytes) = (rng.below(page.len() as u64), rng.below(200));
                (from..from + bytes).for_each(|at| page.push(page[at]));
            }
        }
    }
    page.truncate(len);
    page
}

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut rng = Rng(seed);
    (0..len).map(|_| rng.next() as u8).collect()
}

fn any_page() -> impl Strategy<Value = Vec<u8>> {
    let len = prop_oneof![Just(PAGE_SIZE), 0..300_usize, Just(16384), Just(65536)];
    (0..5, any::<u64>(), len).prop_map(|(kind, seed, len)| match kind {
        0 => noise(seed, len),
        1 => noise(seed, 1 + seed as usize % 40).into_iter().cycle().take(len).collect(),
        2 => noise(seed, len).into_iter().map(|byte| byte & 1).collect(),
        _ => page_like(seed, len),
    })
}

fn round_trip(codec: &mut dyn Compressor, page: &[u8]) -> Vec<u8> {
    let mut block = vec![0; page.len() + page.len() / 8 + 128];
    let bytes = codec.compress(page, &mut block).expect("an eighth more than the page holds any block");
    block.truncate(bytes);
    let mut back = vec![0xaa; page.len()];
    codec.decompress(&block, &mut back).unwrap();
    assert!(back == page, "the round trip changed a page of {} bytes", page.len());
    block
}

fn liblz4_decode(block: &[u8], len: usize) -> Option<Vec<u8>> {
    let mut page = vec![0_u8; len];
    let (from, to) = (block.as_ptr().cast::<c_char>(), page.as_mut_ptr().cast::<c_char>());
    // SAFETY: both lengths are the buffers'.
    let got = unsafe { lz4_sys::LZ4_decompress_safe(from, to, block.len() as c_int, len as c_int) };
    (got == len as c_int).then_some(page)
}

fn liblz4_encode(page: &[u8]) -> Vec<u8> {
    let mut block = vec![0_u8; bound_bytes(page.len())];
    let (from, to) = (page.as_ptr().cast::<c_char>(), block.as_mut_ptr().cast::<c_char>());
    // SAFETY: both lengths are the buffers'.
    let bytes = unsafe { lz4_sys::LZ4_compress_default(from, to, page.len() as c_int, block.len() as c_int) };
    block.truncate(bytes as usize);
    block
}

proptest! {
    #![proptest_config(cases::cases(96))]

    #[test]
    fn every_codec_gives_the_page_back(pages in prop::collection::vec(any_page(), 1..4)) {
        for spec in BUILT_IN {
            let mut codec = open(spec);
            for page in &pages {
                round_trip(codec.as_mut(), page);
            }
        }
    }

    #[test]
    fn liblz4_and_ours_read_each_other(page in any_page(), acceleration in 1..70_u32) {
        for acceleration in [1, acceleration] {
            let block = round_trip(&mut Lz4::new(acceleration), &page);
            prop_assert!(block.len() <= bound_bytes(page.len()));
            prop_assert!(liblz4_decode(&block, page.len()).as_ref() == Some(&page));
        }
        let mut back = vec![0; page.len()];
        Lz4::new(1).decompress(&liblz4_encode(&page), &mut back).unwrap();
        prop_assert!(back == page);
    }

    /// The result must not depend on the room, except that too little room gives `None`.
    #[test]
    fn lz4_needs_exactly_its_own_length(page in any_page(), less in 1..40_usize) {
        let mut codec = Lz4::new(1);
        let block = round_trip(&mut codec, &page);
        for room in [block.len(), block.len() + 1, block.len() + 7, block.len() + 30] {
            let mut dst = vec![0; room];
            prop_assert_eq!(codec.compress(&page, &mut dst), Some(block.len()));
            prop_assert!(dst[..block.len()] == block);
        }
        let mut dst = vec![0; block.len().saturating_sub(less)];
        prop_assert_eq!(codec.compress(&page, &mut dst), None);
    }

    #[test]
    fn a_page_does_not_depend_on_the_one_before(first in any_page(), second in any_page()) {
        for spec in BUILT_IN {
            let mut codec = open(spec);
            round_trip(codec.as_mut(), &first);
            prop_assert!(round_trip(codec.as_mut(), &second) == round_trip(open(spec).as_mut(), &second), "{}", spec);
        }
    }

    /// Where liblz4 accepts a block, ours gives the same page, or refuses the offset 0 that liblz4 lets pass; ours never
    /// writes beyond the page.
    #[test]
    fn lz4_decodes_mutated_blocks_as_liblz4_does(
        seed: u64,
        edits in prop::collection::vec((any::<u16>(), any::<u8>()), 1..6),
    ) {
        let page = page_like(seed, 1024);
        let mut block = round_trip(&mut Lz4::new(1), &page);
        for (at, byte) in edits {
            let at = usize::from(at) % block.len();
            block[at] = byte;
        }
        let mut guarded = vec![0x55; 1024 + 64];
        let ours = Lz4::new(1).decompress(&block, &mut guarded[..1024]);
        prop_assert!(guarded[1024..].iter().all(|&byte| byte == 0x55));
        if let Some(theirs) = liblz4_decode(&block, 1024) {
            match ours {
                Err(DecodeError::Malformed { at, .. }) => prop_assert_eq!(&block[at..at + 2], [0; 2]),
                ours => prop_assert_eq!(ours, Ok(())),
            }
            prop_assert!(ours.is_err() || theirs == guarded[..1024]);
        }
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..600), len in 0..5000_usize) {
        for spec in BUILT_IN {
            let _ = open(spec).decompress(&bytes, &mut vec![0; len]);
        }
    }

    #[test]
    fn cut_and_mutated_blocks_never_panic(seed: u64, cut: u16, at: u16, byte: u8) {
        let page = page_like(seed, PAGE_SIZE);
        for spec in BUILT_IN {
            let mut codec = open(spec);
            let mut block = round_trip(codec.as_mut(), &page);
            let (cut, at) = (usize::from(cut) % block.len(), usize::from(at) % block.len());
            let mut back = vec![0; PAGE_SIZE];
            // 842 pads its stream to whole words: what is cut may be padding, and then the page is whole.
            let padding = spec == "842" && block.len() - cut < 8;
            let accepted = codec.decompress(&block[..cut], &mut back).is_ok();
            prop_assert!(!accepted || padding && back == page, "{} accepts a cut block", spec);
            block[at] ^= byte;
            let _ = codec.decompress(&block, &mut back);
            // An error leaves no trace in the contexts.
            round_trip(codec.as_mut(), &page);
        }
    }

    #[test]
    fn same_filled_is_what_its_definition_says(page in any_page()) {
        let words: Vec<&[u8]> = page.chunks(8).collect();
        let same = page.len() % 8 == 0 && words.windows(2).all(|pair| pair[0] == pair[1]);
        let word = words.first().filter(|_| same).map(|word| u64::from_ne_bytes((*word).try_into().unwrap()));
        prop_assert_eq!(same_filled(&page), word);
        prop_assert_eq!(is_zero(&page), page.iter().all(|&byte| byte == 0));
    }
}

#[test]
fn all_short_pages_round_trip() {
    for len in 0..200 {
        for page in [vec![7; len], page_like(len as u64, len), noise(len as u64, len)] {
            for spec in BUILT_IN {
                let block = round_trip(open(spec).as_mut(), &page);
                if spec.starts_with("lz4") {
                    assert_eq!(liblz4_decode(&block, len).as_ref(), Some(&page), "{spec}, {len} bytes");
                }
            }
        }
    }
}

#[test]
fn a_page_of_another_length_is_refused_by_length() {
    let page = page_like(3, PAGE_SIZE);
    for spec in BUILT_IN {
        let mut codec = open(spec);
        let block = round_trip(codec.as_mut(), &page);
        for len in [0, 1, 13, PAGE_SIZE - 1, PAGE_SIZE + 1, 2 * PAGE_SIZE] {
            assert!(codec.decompress(&block, &mut vec![0; len]).is_err(), "{spec} fills {len} bytes");
        }
    }
    let block = round_trip(&mut Lz4::new(1), &page);
    let error = Lz4::new(1).decompress(&block, &mut [0; PAGE_SIZE + 1]);
    assert_eq!(error, Err(DecodeError::Length { codec: "lz4", got: PAGE_SIZE, want: PAGE_SIZE + 1 }));
}

#[test]
fn noise_grows_by_its_run_length_only() {
    // A token, and a length byte for each 255 literals after the first 15.
    assert_eq!(round_trip(&mut Lz4::new(1), &noise(1, PAGE_SIZE)).len(), PAGE_SIZE + 1 + (PAGE_SIZE - 15) / 255 + 1);
    assert_eq!(Lz4::new(1).compress(&noise(1, PAGE_SIZE), &mut [0; PAGE_SIZE]), None);
}

#[test]
fn lz4_takes_64_kib_and_no_more() {
    let mut dst = vec![0; 70_000];
    assert!(Lz4::new(1).compress(&vec![1; 65536], &mut dst).is_some());
    assert_eq!(Lz4::new(1).compress(&vec![1; 65537], &mut dst), None);
}

#[test]
fn more_acceleration_searches_less() {
    let pages: Vec<Vec<u8>> = (0..64).map(|seed| page_like(seed, PAGE_SIZE)).collect();
    let sum = |acceleration| -> usize {
        let mut codec = Lz4::new(acceleration);
        pages.iter().map(|page| round_trip(&mut codec, page).len()).sum()
    };
    let sums = [1, 4, 16, 64].map(sum);
    assert!(sums.is_sorted() && sums[0] < sums[3], "{sums:?}");
    assert_eq!(sum(0), sums[0]);
}

#[test]
fn malformed_lz4_names_the_byte() {
    let malformed = |at| Err(DecodeError::Malformed { codec: "lz4", at });
    let mut page = [0; 64];
    for (block, at) in [
        (&[][..], 0),                   // no token
        (&[0x40, 1, 2, 3][..], 4),      // three of four literals
        (&[0x10, 1, 0, 0, 0][..], 2),   // offset 0
        (&[0x10, 1, 2, 0, 0][..], 2),   // offset before the page
        (&[0x10, 1, 1][..], 3),         // half an offset
        (&[0xf0, 255][..], 2),          // a length without end
        (&[0x1f, 1, 1, 0, 255][..], 5), // the same in a match
        (&[0x10, 1, 1, 0][..], 4),      // ends with a match
    ] {
        assert_eq!(Lz4::new(1).decompress(block, &mut page), malformed(at), "{block:?}");
    }
}

#[test]
fn specs_parse_and_print() {
    let list = CodecSpec::parse_list("lz4, zstd:1,zstd:-3,deflate:6,lz4hc").unwrap();
    let text: Vec<String> = list.iter().map(ToString::to_string).collect();
    assert_eq!(text, ["lz4", "zstd:1", "zstd:-3", "deflate", "lz4hc"]);
    assert_eq!(list.iter().map(|spec| spec.level().unwrap()).collect::<Vec<_>>(), [1, 1, -3, 6, 9]);
    assert_eq!(list[1].name(), CodecName::Zstd);
}

#[test]
fn refused_specs_say_what_is_wrong() {
    let known = "known: lz4, lz4hc, lzo, lzo-rle, zstd, deflate, 842";
    for (text, message) in [
        ("", format!("a compressor's name is missing in \"\"; {known}")),
        ("lz4,,zstd", format!("a compressor's name is missing in \"lz4,,zstd\"; {known}")),
        (":3", format!("a compressor's name is missing in \":3\"; {known}")),
        ("lz5", format!("unknown compressor \"lz5\"; {known}")),
        ("LZ4", format!("unknown compressor \"LZ4\"; {known}")),
        ("zstd:", "level \"\" of zstd is not a whole number from -131072 to 22".into()),
        ("zstd:23", "level \"23\" of zstd is not a whole number from -131072 to 22".into()),
        ("lz4:0", "level \"0\" of lz4 is not a whole number from 1 to 65537".into()),
        ("deflate:x", "level \"x\" of deflate is not a whole number from 0 to 9".into()),
        ("lz4hc:99999999999", "level \"99999999999\" of lz4hc is not a whole number from 1 to 12".into()),
    ] {
        assert_eq!(CodecSpec::parse_list(text).unwrap_err().to_string(), message, "{text:?}");
    }
}

#[test]
fn every_name_opens() {
    for name in CodecName::ALL {
        let spec = CodecSpec::new(name, None).unwrap();
        drop(round_trip(spec.open().as_mut(), &page_like(1, PAGE_SIZE)));
    }
}
