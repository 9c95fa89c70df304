//! LZO: what the format's description says each instruction does, round trips, and safety on any bytes.

mod cases;

use kcompressd_core::codec::{Compressor, DecodeError, lzo::Lzo};
use proptest::{collection::vec, prelude::*, sample::Index};

const END: [u8; 3] = [17, 0, 0];

fn decode(stream: &[u8], bytes: usize) -> Result<Vec<u8>, DecodeError> {
    let mut out = vec![0xee; bytes];
    Lzo::new(false).decompress(stream, &mut out).map(|()| out)
}

fn encode(rle: bool, page: &[u8]) -> Vec<u8> {
    let mut block = vec![0; Lzo::bound(page.len())];
    let size = Lzo::new(rle).compress(page, &mut block).expect("the bound holds any block");
    block.truncate(size);
    block
}

fn stream(parts: &[&[u8]]) -> Vec<u8> {
    [&parts.concat()[..], &END].concat()
}

/// `n` bytes without a repeated pair within 255 bytes.
fn text(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i % 251 + i / 251) as u8).collect()
}

/// A stream that begins with `n` literals (19 or more), as a literal run with an extended length.
fn begin(n: usize) -> Vec<u8> {
    let mut s = vec![0; 1 + (n - 19) / 255];
    s.push(((n - 19) % 255 + 1) as u8);
    s.extend(text(n));
    s
}

#[test]
fn first_byte_counts_literals() {
    assert_eq!(decode(&stream(&[&[18, b'a']]), 1).as_deref(), Ok(&b"a"[..]));
    assert_eq!(decode(&stream(&[&[22], b"abcde"]), 5).as_deref(), Ok(&b"abcde"[..]));
    assert_eq!(decode(&stream(&[&[255], &text(238)]), 238), Ok(text(238)));
}

#[test]
fn literal_runs() {
    assert_eq!(decode(&stream(&[&[1], b"abcd"]), 4).as_deref(), Ok(&b"abcd"[..]));
    assert_eq!(decode(&stream(&[&[15], &text(18)]), 18), Ok(text(18)));
    assert_eq!(decode(&stream(&[&[0, 1], &text(19)]), 19), Ok(text(19)));
    assert_eq!(decode(&stream(&[&[0, 0, 2], &text(275)]), 275), Ok(text(275)));
}

#[test]
fn m1_means_two_bytes_after_few_literals() {
    // "ab" and one literal "x" of the state 3, then distance (0 << 2) + 2 + 1 = 3, no literals.
    assert_eq!(decode(&stream(&[&[20], b"abx", &[0b1000, 0]]), 5).as_deref(), Ok(&b"abxab"[..]));
}

#[test]
fn m1_means_three_bytes_from_beyond_2_kib_after_many_literals() {
    // distance (1 << 2) + 3 + 2049 = 2056, two literals.
    let out = decode(&stream(&[&begin(2100), &[0b1110, 1], b"yz"]), 2105).expect("valid");
    assert_eq!(out[2100..], [&text(2100)[44..47], b"yz"].concat());
}

#[test]
fn m2_copies_three_to_eight_bytes() {
    for (op, length) in [(0b0100_0000, 3), (0b0110_0000, 4), (0b1000_0000, 5), (0b1110_0000, 8)] {
        // distance (2 << 3) + 3 + 1 = 20, one literal.
        let out = decode(&stream(&[&begin(30), &[op | 0b1101, 2], b"q"]), 31 + length).expect("valid");
        assert_eq!(out[30..], [&text(30)[10..10 + length], b"q"].concat());
    }
}

#[test]
fn m3_copies_up_to_33_bytes_and_more_with_an_extension() {
    // distance D + 1 = 50: D = 49, two literals.
    let operand = (49u16 << 2 | 2).to_le_bytes();
    for (op, length) in [(&[32 + 5][..], 7), (&[63], 33), (&[32, 1], 34), (&[32, 0, 7], 33 + 262)] {
        let out = decode(&stream(&[&begin(60), op, &operand, b"uv"]), 62 + length).expect("valid");
        let mut want = text(60);
        (0..length).for_each(|_| want.push(want[want.len() - 50]));
        want.extend(b"uv");
        assert_eq!(out, want);
    }
}

#[test]
fn m4_copies_from_16_kib_and_beyond() {
    for (high, d) in [(0u8, 1u16), (0, 77), (1, 0), (1, 0x3fff)] {
        let distance = 16384 + usize::from(high) * 16384 + usize::from(d);
        let operand = (d << 2 | 1).to_le_bytes();
        for (op, length) in [(&[7][..], 9), (&[1], 3), (&[0, 250], 259)] {
            let op = [&[16 | high << 3 | op[0]], &op[1..]].concat();
            let out = decode(&stream(&[&begin(distance + 3), &op, &operand, b"w"]), distance + 4 + length);
            let at = distance + 3;
            assert_eq!(out.expect("valid")[at..], [&text(at)[3..3 + length], b"w"].concat());
        }
    }
}

#[test]
fn version_1_adds_zero_runs() {
    let run = |x: u8, l: u8, s: u8| [0x18 | l, 0xfc | s, 0xff, x];
    for (x, l, s, length) in [(0, 0, 0, 4), (0, 7, 1, 11), (1, 2, 3, 14), (255, 7, 2, 2051)] {
        let after = &b"bcd"[..usize::from(s)];
        let out = decode(&stream(&[&[17, 1, 18, b'a'], &run(x, l, s), after]), 1 + length + after.len());
        assert_eq!(out, Ok([b"a", &vec![0; length][..], after].concat()));
    }
    // Version 0, and no version, have none.
    assert!(decode(&stream(&[&[17, 0, 18, b'a'], &run(0, 0, 0)]), 5).is_err());
    assert!(decode(&stream(&[&[18, b'a'], &run(0, 0, 0)]), 5).is_err());
}

#[test]
fn damaged_streams_are_refused_by_name() {
    let malformed = |at| Err(DecodeError::Malformed { codec: "lzo", at });
    let length = |got, want| Err(DecodeError::Length { codec: "lzo", got, want });
    assert_eq!(decode(&[], 0), malformed(0));
    assert_eq!(decode(&[17, 0], 0), malformed(1));
    assert_eq!(decode(&[17, 2, 17, 0, 0], 0), malformed(1));
    assert_eq!(decode(&[17, 0, 0], 0), Ok(vec![]));
    assert_eq!(decode(&[17, 0, 0], 1), length(0, 1));
    assert_eq!(decode(&[18, b'a', 17, 0, 0], 0), length(1, 0));
    assert_eq!(decode(&[17, 0, 0, 9], 0), malformed(3));
    assert_eq!(decode(&[18, 0, 0], 0), length(1, 0));
    // The end has length 3 and no other; a copy cannot begin before the output.
    assert_eq!(decode(&[16 | 2, b'a', 16 | 2, 0, 0], 1), malformed(3));
    assert!(decode(&stream(&[&[21], b"abcd", &[0b0101_0000, 0]]), 7).is_err());
}

#[test]
fn short_sources_and_small_outputs() {
    for rle in [false, true] {
        for n in 0..300 {
            let page = text(n);
            assert_eq!(decode(&encode(rle, &page), n), Ok(page));
        }
        let block = encode(rle, &text(4096));
        let mut codec = Lzo::new(rle);
        assert_eq!(codec.compress(&text(4096), &mut vec![0; block.len() - 1]), None);
        let mut exact = vec![0; block.len()];
        assert_eq!(codec.compress(&text(4096), &mut exact), Some(block.len()));
        assert_eq!(exact, block);
    }
}

#[test]
fn the_first_probe_is_at_byte_5() {
    // A probe at byte 4 would see the first four bytes again; the next that does is at byte 8. The match is counted in
    // steps of eight up to byte 44, where the tail begins: 36 bytes, three more than M3 holds, from 8 back.
    let page = b"ABCD".repeat(16);
    assert_eq!(encode(false, &page), stream(&[&[5], b"ABCDABCD", &[32, 3, 7 << 2, 0], &[0, 2], &page[..20]]));
}

#[test]
fn probes_are_two_apart_after_32_literals() {
    // Bytes 10 to 25 repeat at byte 41, which no probe meets: the match is found at 42, 15 bytes from 31 back.
    let page = [&text(41)[..], &text(26)[10..], &text(140)[100..]].concat();
    let match_at_42 = [&[0, 42 - 18], &page[..42], &[32 + 13, 30 << 2, 0]].concat();
    assert_eq!(encode(false, &page), stream(&[&match_at_42, &[0, 40 - 18], &page[57..]]));
}

#[test]
fn zero_runs_end_where_probes_do_but_have_four_bytes() {
    let page = [&[1, 2, 3, 4, 5][..], &[0; 100]].concat();
    let run = [0x18 | 76 & 7, 0xfc, 0xff, 76 >> 3];
    assert_eq!(encode(true, &page), stream(&[&[17, 1, 2], &page[..5], &run, &[0, 2], &[0; 20]]));
    // Two bytes before the tail.
    let page = [&[1, 2, 3, 4, 5, 6, 7, 8][..], &[0; 22]].concat();
    let run = [0x18, 0xfc, 0xff, 0];
    assert_eq!(encode(true, &page), stream(&[&[17, 1, 5], &page[..8], &run, &[15], &[0; 18]]));
}

#[test]
fn the_worst_case_is_within_the_bound() {
    // Four literals and the shortest zero run, nine bytes for eight, while no literals repeat, the last one included.
    let page: Vec<u8> =
        (1..=255).flat_map(|i: u8| [[i ^ 0x5a | 1, i.wrapping_mul(181), !i | 1, i], [0; 4]]).flatten().collect();
    let block = encode(true, &page);
    assert!(block.len() > page.len() * 11 / 10, "{}", block.len());
    assert!(block.len() + 16 <= Lzo::bound(page.len()));
    assert!(decode(&block, page.len()).as_ref() == Ok(&page));
}

#[test]
fn copies_that_read_like_zero_runs_are_shortened() {
    // Over distance 0x80bf, a copy whose extension byte is 0xfc to 0xff and that three literals follow.
    for length in 258..270 {
        let block: Vec<u8> = text(300).iter().map(|b| b + 1).collect();
        let mut page = vec![0; 65536];
        page[..5].fill(255);
        page[5..305].copy_from_slice(&block);
        page[5 + 0x80bf..][..length].copy_from_slice(&block[..length]);
        page[5 + 0x80bf + length..][..3].copy_from_slice(&[253, 254, 255]);
        for rle in [false, true] {
            assert!(decode(&encode(rle, &page), page.len()).as_deref() == Ok(&page), "length {length}, rle {rle}");
        }
    }
}

/// Pages with runs, repeats, zeros and noise.
fn pages() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        vec(any::<u8>(), 1..40),
        (any::<u8>(), 1usize..300).prop_map(|(b, n)| vec![b; n]),
        (1usize..2500).prop_map(|n| vec![0; n]),
        (vec(0u8..4, 1..9), 1usize..60).prop_map(|(unit, n)| unit.repeat(n)),
    ];
    let size = prop_oneof![Just(4096usize), Just(16384), Just(65536), 0usize..5000];
    (vec(piece, 1..60), size).prop_map(|(pieces, n)| pieces.concat().iter().copied().cycle().take(n).collect())
}

/// `lzo1x_decompress_safe` of the machine's liblzo2: loaded, not linked, since it is GPL.
type Decompress = unsafe extern "C" fn(*const u8, usize, *mut u8, *mut usize, *mut std::ffi::c_void) -> i32;

fn liblzo2() -> Option<Decompress> {
    // SAFETY: a terminated name; the library's initialisers only fill its own tables.
    let library = unsafe { libc::dlopen(c"liblzo2.so.2".as_ptr(), libc::RTLD_NOW) };
    if library.is_null() {
        return None;
    }
    // SAFETY: an open handle and a terminated name.
    let symbol = unsafe { libc::dlsym(library, c"lzo1x_decompress_safe".as_ptr()) };
    assert!(!symbol.is_null(), "the library has its public functions");
    // SAFETY: the function's type in the public lzo1x.h.
    Some(unsafe { std::mem::transmute::<*mut std::ffi::c_void, Decompress>(symbol) })
}

proptest! {
    #![proptest_config(cases::cases(400))]

    /// liblzo2 reads what `lzo` writes; it knows no zero runs, so `lzo-rle` has no second reader.
    #[test]
    fn liblzo2_decodes_our_blocks(page in pages()) {
        let Some(decompress) = liblzo2() else {
            println!("skipped: no liblzo2.so.2 here");
            return Ok(());
        };
        let block = encode(false, &page);
        let mut back = vec![0xee; page.len()];
        let mut len = back.len();
        // SAFETY: both lengths are the buffers'; the decoder needs no work memory.
        let status =
            unsafe { decompress(block.as_ptr(), block.len(), back.as_mut_ptr(), &mut len, std::ptr::null_mut()) };
        prop_assert_eq!((status, len), (0, page.len()));
        prop_assert!(back == page);
    }
}

proptest! {
    #![proptest_config(cases::cases(400))]

    #[test]
    fn round_trip(page in pages(), rle: bool) {
        let block = encode(rle, &page);
        prop_assert!(block.len() + 16 <= Lzo::bound(page.len()));
        prop_assert!(decode(&block, page.len()).as_ref() == Ok(&page));
    }

    #[test]
    fn a_reused_compressor_gives_the_same_bytes(first in pages(), second in pages(), rle: bool) {
        let mut codec = Lzo::new(rle);
        let mut block = vec![0; 2 * 65536];
        codec.compress(&first, &mut block).expect("room");
        let size = codec.compress(&second, &mut block).expect("room");
        prop_assert!(block[..size] == encode(rle, &second));
    }

    #[test]
    fn any_bytes_are_safe(stream in vec(any::<u8>(), 0..600), bytes in 0usize..5000, versioned: bool) {
        let stream = if versioned { [&[17, 1], &stream[..]].concat() } else { stream };
        let _ = decode(&stream, bytes);
    }

    #[test]
    fn mutated_blocks_are_safe(page in pages(), rle: bool, edits in vec((any::<Index>(), any::<u8>()), 1..9), cut: Index) {
        let mut block = encode(rle, &page);
        for (at, byte) in edits {
            let at = at.index(block.len());
            block[at] = byte;
        }
        let _ = decode(&block, page.len());
        prop_assert!(decode(&block[..cut.index(block.len())], page.len()).is_err());
    }
}
