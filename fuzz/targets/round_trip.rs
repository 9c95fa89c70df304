//! Every encoder on any page: it comes back, whatever room the block had; damaged blocks are safe, too.
//!
//! An input is how often the page repeats its bytes, a few edits of the block, and the bytes.

#![no_main]

use arbitrary::Arbitrary;
use kcompressd_core::codec::lz4::bound_bytes;
use kcompressd_fuzz::{SPECS, liblz4_decode, open};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    /// The page is the bytes again and again, in a page of 4 KiB or as long as they are.
    whole_page: bool,
    edits: [(u16, u8); 3],
    bytes: &'a [u8],
}

impl Input<'_> {
    fn page(&self) -> Vec<u8> {
        let len = if self.whole_page { 4096 } else { self.bytes.len() };
        self.bytes.iter().copied().cycle().take(len).collect()
    }
}

fuzz_target!(|input: Input<'_>| {
    let page = input.page();
    for spec in SPECS {
        let mut codec = open(spec);
        let mut block = vec![0; page.len() + page.len() / 8 + 128];
        let len = codec.compress(&page, &mut block).expect("an eighth more than the page holds any block");
        let mut back = vec![0xaa; page.len()];
        assert_eq!(codec.decompress(&block[..len], &mut back), Ok(()), "{spec}");
        assert!(back == page, "{spec} changed the page");
        if spec.starts_with("lz4") {
            assert!(len <= bound_bytes(page.len()) && liblz4_decode(&block[..len], page.len()).as_ref() == Some(&page));
        }
        if ["lz4", "lz4:7", "lzo", "lzo-rle"].contains(&spec) {
            let mut tight = vec![0; len];
            assert_eq!(codec.compress(&page, &mut tight), Some(len), "{spec} needs just its own length");
            assert!(tight == block[..len]);
            assert_eq!(codec.compress(&page, &mut tight[..len - 1]), None, "{spec} has no room");
        }
        for (at, byte) in input.edits {
            block[usize::from(at) % len] ^= byte;
        }
        let _ = codec.decompress(&block[..len], &mut back);
    }
});
