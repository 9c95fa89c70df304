//! Tagged folio pointers: the tag round-trips, the pointer and its provenance survive, indices are exact.
#![cfg(not(any(kcompressd_loom, kcompressd_shuttle)))]

use kcompressd_core::folio::Folio;
use kcompressd_core::tagged::{Origin, TaggedFolio};

fn folios(n: usize) -> Vec<Folio> {
    (0..n).map(|_| Folio::new(0, 0)).collect()
}

#[test]
fn origin_and_pointer_round_trip() {
    for folio in &folios(3) {
        for origin in [Origin::Zram, Origin::Zswap] {
            let tagged = TaggedFolio::new(folio, origin);
            assert_eq!(tagged.is_zswap(), origin == Origin::Zswap);
            assert!(std::ptr::eq(tagged.as_ptr().as_ptr(), folio));
        }
    }
}

#[test]
fn untagged_is_the_plain_pointer() {
    let folio = Folio::new(0, 0);
    let plain = TaggedFolio::new(&folio, Origin::Zram);
    let tagged = TaggedFolio::new(&folio, Origin::Zswap);
    assert_ne!(plain, tagged);
    assert_eq!(plain.as_ptr(), tagged.as_ptr());
    // SAFETY: both are eight bytes without padding; only the bits are compared.
    let bits = [plain, tagged].map(|value| unsafe { std::mem::transmute::<TaggedFolio, usize>(value) });
    assert_eq!(bits, [&raw const folio as usize, &raw const folio as usize | 1]);
}

#[test]
fn index_is_found_only_in_its_own_table() {
    let (ours, theirs) = (folios(5), folios(5));
    for (i, folio) in ours.iter().enumerate() {
        for origin in [Origin::Zram, Origin::Zswap] {
            let tagged = TaggedFolio::new(folio, origin);
            assert_eq!(tagged.index_in(&ours), Some(i));
            assert_eq!(tagged.index_in(&theirs), None);
            assert_eq!(tagged.index_in(&ours[..i]), None);
            assert_eq!(tagged.index_in(&ours[i..]), Some(0));
            assert_eq!(tagged.index_in(&ours[i + 1..]), None);
            assert_eq!(tagged.index_in(&[]), None);
        }
    }
}

#[test]
fn debug_says_who_queued_it() {
    let folio = Folio::new(0, 0);
    assert!(format!("{:?}", TaggedFolio::new(&folio, Origin::Zswap)).ends_with("queued by zswap"));
    assert!(format!("{:?}", TaggedFolio::new(&folio, Origin::Zram)).ends_with("queued by zram"));
}
