//! 842: what the format's description says each template does, round trips, and safety on any bytes.

mod cases;

use kcompressd_core::codec::{Compressor, DecodeError, p842::P842};
use proptest::{collection::vec, prelude::*, sample::Index};

/// The CRC of the format, bit by bit.
fn crc(bytes: &[u8]) -> u64 {
    let mut crc = 0u32;
    for bit in bytes.iter().flat_map(|b| (0..8).rev().map(move |i| b >> i & 1)) {
        let carry = crc >> 31 != u32::from(bit);
        crc = crc << 1 ^ if carry { 0x04c1_1db7 } else { 0 };
    }
    crc.into()
}

/// A value and its bits.
type Field = (u64, u32);

/// Packs fields, then zeros up to a multiple of eight bytes.
fn pack(fields: &[Field]) -> Vec<u8> {
    let bits: Vec<u8> = fields.iter().flat_map(|&(v, n)| (0..n).rev().map(move |i| (v >> i & 1) as u8)).collect();
    let mut bytes: Vec<u8> =
        bits.chunks(8).map(|c| c.iter().enumerate().fold(0, |byte, (i, bit)| byte | bit << (7 - i))).collect();
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

/// The stream of `fields`, which decode to `page`.
fn stream(fields: &[Field], page: &[u8]) -> Vec<u8> {
    pack(&[fields, &[(0x1e, 5), (crc(page), 32)]].concat())
}

fn decode(stream: &[u8], bytes: usize) -> Result<Vec<u8>, DecodeError> {
    let mut out = vec![0xee; bytes];
    P842::new().decompress(stream, &mut out).map(|()| out)
}

fn encode(page: &[u8]) -> Vec<u8> {
    let mut block = vec![0; 2 * page.len() + 64];
    let size = P842::new().compress(page, &mut block).expect("twice the page holds any block");
    block.truncate(size);
    block
}

fn data(bytes: &[u8]) -> [Field; 3] {
    let half = |b: &[u8]| b.iter().fold(0, |v, &b| v << 8 | u64::from(b));
    [(0, 5), (half(&bytes[..4]), 32), (half(&bytes[4..]), 32)]
}

#[test]
fn each_template_takes_its_arguments() {
    let first = *b"ABCDEFGH";
    // Each form of a half: its fields and the four bytes they stand for.
    let forms: [(&[Field], &[u8; 4]); 5] = [
        (&[(0x7778_797a, 32)], b"wxyz"),
        (&[(0x7778, 16), (2, 8)], b"wxEF"),
        (&[(3, 8), (0x797a, 16)], b"GHyz"),
        (&[(1, 8), (0, 8)], b"CDAB"),
        (&[(1, 9)], b"EFGH"),
    ];
    for (a, (left, left_bytes)) in forms.iter().enumerate() {
        for (b, (right, right_bytes)) in forms.iter().enumerate() {
            let page = [&first[..], *left_bytes, *right_bytes].concat();
            let fields = [&data(&first)[..], &[((5 * a + b) as u64, 5)], left, right].concat();
            assert_eq!(decode(&stream(&fields, &page), 16), Ok(page), "template {}", 5 * a + b);
        }
    }
}

#[test]
fn whole_blocks_repeats_zeros_and_short_data() {
    let page = [&b"ABCDEFGH"[..], &[0; 8], b"ABCDEFGHABCDEFGHABCDEFGHxyz"].concat();
    let tail = [(0x1c, 5), (0x19, 5), (0, 8), (0x1b, 5), (1, 6), (0x1d, 5), (3, 3), (0x78797a, 24)];
    let fields = [&data(b"ABCDEFGH")[..], &tail].concat();
    assert_eq!(stream(&fields, &page), encode(&page), "the encoder chooses the same");
    assert_eq!(decode(&stream(&fields, &page), page.len()), Ok(page));
}

#[test]
fn a_repeat_covers_64_blocks() {
    let page = b"ABCDEFGH".repeat(1 + 64 + 2);
    let fields = [&data(b"ABCDEFGH")[..], &[(0x1b, 5), (63, 6), (0x1b, 5), (1, 6)]].concat();
    assert_eq!(encode(&page), stream(&fields, &page));
    assert_eq!(decode(&encode(&page), page.len()), Ok(page));
}

#[test]
fn an_index_points_into_a_ring() {
    // After 520 bytes, two-byte entry 0 is at byte 512, entry 3 at 518, entry 4 still at byte 8.
    let bytes: Vec<u8> = (0..520u32).map(|i| (i * i / 7 + i) as u8).collect();
    let page = [&bytes[..], &bytes[512..514], &bytes[518..520], &bytes[8..10], &bytes[510..512]].concat();
    let blocks: Vec<_> = bytes.chunks(8).flat_map(data).collect();
    let fields = [&blocks[..], &[(5 * 3 + 3, 5), (0, 8), (3, 8), (4, 8), (255, 8)]].concat();
    assert_eq!(decode(&stream(&fields, &page), page.len()), Ok(page));
}

#[test]
fn the_encoder_uses_a_ring_to_its_oldest_entry() {
    // Blocks without a two-byte value in common; the first one again after 256 blocks, and after 257.
    let block = |i: u16| (0..4).flat_map(|k| (4 * i + k).wrapping_mul(40503).to_be_bytes()).collect::<Vec<u8>>();
    for (blocks, last) in [(256, [(0x19, 5), (0, 8), (0, 0)]), (257, data(&block(0)))] {
        let page: Vec<u8> = (0..blocks).chain([0]).flat_map(block).collect();
        let fields: Vec<Field> = (0..blocks).flat_map(|i| data(&block(i))).chain(last).collect();
        assert!(encode(&page) == stream(&fields, &page), "{blocks} blocks");
        assert!(decode(&encode(&page), page.len()).as_ref() == Ok(&page));
    }
}

#[test]
fn damaged_streams_are_refused_by_name() {
    let malformed = |at| Err(DecodeError::Malformed { codec: "842", at });
    let length = |got, want| Err(DecodeError::Length { codec: "842", got, want });
    let plain = stream(&data(b"ABCDEFGH"), b"ABCDEFGH");
    assert_eq!(decode(&plain, 8).as_deref(), Ok(&b"ABCDEFGH"[..]));
    assert_eq!(decode(&plain, 9), length(8, 9));
    assert_eq!(decode(&plain, 7), length(8, 7));
    assert_eq!(decode(&plain[..8], 8), malformed(8));
    assert_eq!(decode(&stream(&data(b"ABCDEFGH"), b"ABCDEFGX"), 8), malformed(13));
    assert_eq!(decode(&[], 0), malformed(0));
    for code in [0x1a, 0x1f] {
        assert_eq!(decode(&pack(&[(code, 5)]), 8), malformed(0), "no template {code:#x}");
    }
    assert_eq!(decode(&pack(&[(0x1b, 5), (0, 6)]), 8), malformed(1), "nothing to repeat");
    assert_eq!(decode(&pack(&[(0x19, 5), (0, 8)]), 8), malformed(1), "nothing to point to");
    assert_eq!(decode(&pack(&[&data(b"ABCDEFGH")[..], &[(0x19, 5), (1, 8)]].concat()), 16), malformed(10));
}

#[test]
fn small_outputs_are_refused() {
    let page: Vec<u8> = (0..4096u32).map(|i| ((i * i) >> 3) as u8).collect();
    let block = encode(&page);
    let mut exact = vec![0; block.len()];
    assert_eq!(P842::new().compress(&page, &mut exact), Some(block.len()));
    assert_eq!(exact, block);
    for short in [1, 7, 8, 9, block.len()] {
        assert_eq!(P842::new().compress(&page, &mut vec![0; block.len() - short]), None);
    }
}

/// Pages with repeated blocks, zeros, near and far entries, and noise.
fn pages() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        vec(any::<u8>(), 1..40),
        (vec(any::<u8>(), 8), 1usize..150).prop_map(|(block, n)| block.repeat(n)),
        vec(0u8..3, 1..200),
        (1usize..900).prop_map(|n| vec![0; n]),
    ];
    let size = prop_oneof![Just(4096usize), Just(65536), 0usize..5000];
    (vec(piece, 1..60), size).prop_map(|(pieces, n)| pieces.concat().iter().copied().cycle().take(n).collect())
}

proptest! {
    #![proptest_config(cases::cases(300))]

    #[test]
    fn round_trip(page in pages()) {
        let block = encode(&page);
        prop_assert!(block.len().is_multiple_of(8));
        prop_assert!(decode(&block, page.len()).as_ref() == Ok(&page));
    }

    #[test]
    fn a_reused_compressor_gives_the_same_bytes(first in pages(), second in pages()) {
        let mut codec = P842::new();
        let mut block = vec![0; 3 * 65536];
        codec.compress(&first, &mut block).expect("room");
        let size = codec.compress(&second, &mut block).expect("room");
        prop_assert!(block[..size] == encode(&second));
    }

    #[test]
    fn any_bytes_are_safe(stream in vec(any::<u8>(), 0..600), bytes in 0usize..5000) {
        let _ = decode(&stream, bytes);
    }

    #[test]
    fn any_templates_are_safe(codes in vec((0u64..0x1e, any::<u64>()), 0..300), bytes in 0usize..5000) {
        // Well-formed up to the indices: far more of a stream is decoded than of noise.
        let fields: Vec<_> = codes.iter().flat_map(|&(code, bits)| [(code, 5), (bits >> 40, 24)]).collect();
        let _ = decode(&stream(&fields, &[]), bytes);
    }

    #[test]
    fn damage_never_goes_unnoticed(page in pages(), at: Index, flip in 1u8..) {
        let mut block = encode(&page);
        let at = at.index(block.len());
        block[at] ^= flip;
        // Only the padding carries nothing.
        let same = decode(&block, page.len()).as_ref() == Ok(&page);
        prop_assert!(same == (decode(&block, page.len()).is_ok()));
    }
}
