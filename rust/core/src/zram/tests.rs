//! What comes back and what is counted, on a pool of its own.

use super::*;
use crate::codec::{CodecName, CodecSpec};
use crate::zsmalloc::{PoolConfig, Unlimited};

#[test]
fn pages_come_back_and_the_counters_add_up() {
    let zram = Zram::new(Pool::new(PoolConfig::default()).unwrap(), 4, 0);
    let mut codec = CodecSpec::new(CodecName::Lz4, None).unwrap().open();
    let mut x = 1u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        x = x.wrapping_mul(6364136223846793005).wrapping_add(1);
        (x >> 56) as u8
    })
    .take(4096)
    .collect();
    let text: Vec<u8> = (0..4096).map(|i| b"zram "[i % 5]).collect();
    let mut block = vec![0; 8192];
    for (slot, page) in [&noise, &text].into_iter().enumerate() {
        let len = codec.compress(page, &mut block);
        let data = Data::Block { len, bytes: len.map(|n| &block[..n]), page: Some(page) };
        zram.write(slot as u32, data, &Unlimited).unwrap();
    }
    zram.write(2, Data::Same(7), &Unlimited).unwrap();
    let stat = zram.mm_stat();
    assert_eq!((stat.orig_data_size, stat.same_pages, stat.huge_pages), (3 * 4096, 1, 1));
    let mut page = vec![0; 4096];
    for (slot, want) in [(0, noise), (1, text), (2, 7u64.to_ne_bytes().repeat(512)), (3, vec![0; 4096])] {
        zram.read(slot, &mut block, &mut page, |_, block, page| codec.decompress(block, page)).unwrap();
        assert!(page == want, "slot {slot}");
        zram.free(slot, &Unlimited);
    }
    let empty = zram.mm_stat();
    assert_eq!((empty.orig_data_size, empty.compr_data_size, empty.mem_used_total, empty.huge_pages), (0, 0, 0, 0));
    assert_eq!(empty.huge_pages_since, 1);
}

#[test]
fn the_memory_limit_refuses_and_leaves_nothing_behind() {
    let zram = Zram::new(Pool::new(PoolConfig::default()).unwrap(), 2, 1);
    let page = vec![1; 4096];
    let huge = Data::Block { len: None, bytes: None, page: Some(&page) };
    zram.write(0, huge, &Unlimited).unwrap();
    let refused = zram.write(1, huge, &Unlimited).unwrap_err();
    zram.undo(refused.beyond.unwrap(), &Unlimited);
    assert!(!zram.holds(1));
    assert_eq!(zram.mm_stat().mem_used_total, 4096);
    assert_eq!(zram.io_stat()[1], ("failed_writes", 1));
}
