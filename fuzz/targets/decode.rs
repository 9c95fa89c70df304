//! Every decoder on any bytes: no panic, nothing written beyond the page, and lz4 accepts what liblz4 accepts, but for an offset of 0.
//!
//! The first two bytes choose the page's length, so that short and odd ones are tried as well as 4096.

#![no_main]

use kcompressd_core::codec::DecodeError;
use kcompressd_fuzz::{SPECS, liblz4_decode, open};
use libfuzzer_sys::fuzz_target;

/// Bytes after the page that must stay as they are.
const GUARD: usize = 64;

fuzz_target!(|input: &[u8]| {
    let Some((len, block)) = input.split_first_chunk::<2>() else { return };
    let len = match u16::from_le_bytes(*len) % 8192 {
        odd @ 1..4096 => usize::from(odd),
        _ => 4096,
    };
    for spec in SPECS {
        let mut page = vec![0x55; len + GUARD];
        let decoded = open(spec).decompress(block, &mut page[..len]);
        assert!(page[len..].iter().all(|&byte| byte == 0x55), "{spec} wrote beyond the page");
        if spec.starts_with("lz4")
            && let Some(theirs) = liblz4_decode(block, len)
        {
            match decoded {
                Ok(()) => assert!(theirs == page[..len], "{spec} decodes to another page than liblz4"),
                // The format forbids it, liblz4 lets it pass.
                Err(DecodeError::Malformed { at, .. }) if block.get(at..at + 2) == Some(&[0, 0]) => {}
                Err(error) => panic!("{spec} refuses what liblz4 accepts: {error}"),
            }
        }
    }
});
