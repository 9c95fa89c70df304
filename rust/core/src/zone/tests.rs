//! The allocator against the numbers of a real guest (256 MiB, 2 CPUs, Linux 6.12).

use super::*;
use Migrate::{Movable, Unmovable};

const GUEST: ZoneConfig = ZoneConfig {
    managed_pages: 55_400,
    free_pages: 55_400,
    watermarks: [490, 612, 734],
    boost_factor: 15_000,
    pcp_batch: 15,
    cpus: 2,
};

/// Takes until `free_pages` are left in the buddy lists, whoever holds the rest.
fn down_to(zone: &Zone, free_pages: u32) {
    while zone.buddy.lock().0.free_pages() > free_pages {
        assert!(zone.take(0, Movable, Mark::None).is_some());
    }
}

#[test]
fn marks_are_base_and_boost() {
    let zone = Zone::new(GUEST);
    assert_eq!([0, 1, 2].map(|mark| zone.wmark(mark)), [490, 612, 734]);
    assert!(zone.take(0, Unmovable, Mark::Min).is_some(), "the last, incomplete block has the smallest chunks");
    assert_eq!((zone.boost(), zone.take_boosted()), (0, false), "a whole block is no boost");
    down_to(&zone, 900);
    while zone.boost() == 0 {
        assert!(zone.take(1, Unmovable, Mark::None).is_some(), "claims what is left of a movable block");
    }
    assert_eq!(zone.boost(), 1024);
    assert!(zone.take_boosted() && !zone.take_boosted());
    while zone.take(1, Unmovable, Mark::None).is_some() {}
    zone.give(0, Movable, 5000..5400);
    while zone.take(1, Unmovable, Mark::None).is_some() {}
    assert_eq!([0, 1, 2].map(|mark| zone.wmark(mark)), [1591, 1713, 1835]);
    zone.lower_boost(1024);
    assert_eq!(zone.boost(), 77);
}

#[test]
fn a_refill_tries_once_to_claim_a_block() {
    let zone = Zone::new(ZoneConfig { managed_pages: 4 * PAGEBLOCK_PAGES, free_pages: 4 * PAGEBLOCK_PAGES, ..GUEST });
    while zone.take(0, Movable, Mark::None).is_some() {}
    (0..32).for_each(|page| zone.give(0, Movable, [128 * page]));
    zone.drain(0);
    assert!(zone.take(1, Unmovable, Mark::None).is_some());
    assert_eq!((zone.cached(1), zone.stat().boosts), (14, 1), "15 pages out of blocks that stay movable");
}

#[test]
fn without_a_boost_factor_nothing_is_boosted() {
    let zone = Zone::new(ZoneConfig { boost_factor: 0, ..GUEST });
    down_to(&zone, 900);
    assert!(zone.take(1, Unmovable, Mark::None).is_some());
    assert_eq!((zone.boost(), zone.take_boosted()), (0, false));
    assert_eq!(zone.stat().boosts, 1, "the event is counted all the same");
}

#[test]
fn whether_a_zone_is_boosted_is_a_matter_of_its_size_and_not_of_what_is_free() {
    let block = PAGEBLOCK_PAGES;
    for (managed_pages, free_pages, boosted) in [
        (4 * block, 4 * block, true),
        (4 * block, 4000, true),
        (4 * block, 1500, true),
        (4 * block - 1, 4000, false),
        (2047, 2047, false),
        (2047, 1500, false),
    ] {
        let zone = Zone::new(ZoneConfig { managed_pages, free_pages, ..GUEST });
        down_to(&zone, 900);
        while zone.take(1, Unmovable, Mark::None).is_some() {}
        assert!(zone.stat().boosts > 0, "{managed_pages} {free_pages}: nothing was claimed");
        assert_eq!((zone.boost() > 0, zone.take_boosted()), (boosted, boosted), "{managed_pages} {free_pages}");
    }
}

#[test]
fn a_boost_is_no_more_than_a_mark_can_be_raised_by() {
    let zone = Zone::new(ZoneConfig { watermarks: [490, 612, 60_000_000], boost_factor: 1_000_000, ..GUEST });
    (0..5).for_each(|_| zone.raise_boost(1 << 20));
    assert_eq!(zone.wmark(2), u32::MAX);
}

#[test]
fn a_request_stops_at_the_mark_that_its_rights_allow() {
    let zone = Zone::new(ZoneConfig { managed_pages: 3000, free_pages: 3000, ..GUEST });
    for (mark, floor) in [(Mark::Low, 612), (Mark::Min, 490), (Mark::HalfMin, 245), (Mark::None, 0)] {
        while zone.take(0, Movable, mark).is_some() {}
        let (free, cached) = (zone.free_pages(), zone.cached(0));
        // A refill may cross the mark by its size, and a CPU keeps up to 8 changes to itself.
        assert!(free <= floor + 8 && free + 306 >= floor, "{mark:?}: {free} free");
        assert_eq!(cached > 0, mark != Mark::None, "{mark:?}: the pages on the own list do not help below the mark");
    }
    assert_eq!(zone.total_free(), 0);
}

#[test]
fn pairs_on_a_cpu_s_list_are_there_when_no_page_is() {
    let zone = Zone::new(ZoneConfig { managed_pages: 3000, free_pages: 3000, ..GUEST });
    let first = zone.take_pair(0, Mark::None).unwrap();
    assert_eq!((first % 2, zone.cached(0)), (0, 12), "half a batch of pairs, less one");
    for cpu in [0, 1] {
        while zone.take(cpu, Unmovable, Mark::None).is_some() {}
    }
    let pairs: Vec<u32> = std::iter::from_fn(|| zone.take_pair(0, Mark::None)).collect();
    assert_eq!((pairs.len(), zone.take_pair(1, Mark::None), zone.total_free()), (6, None, 0));
    pairs.into_iter().for_each(|pair| zone.give_pair(0, pair));
    assert_eq!((zone.cached(0), zone.take(0, Unmovable, Mark::None)), (12, None));
    zone.drain(0);
    assert!(zone.take(0, Unmovable, Mark::None).is_some(), "drained, they are pages as any");
}

#[test]
fn a_drain_begins_with_unmovable_pages() {
    let zone = Zone::new(ZoneConfig { managed_pages: 3000, free_pages: 3000, ..GUEST });
    for cpu in [0, 1] {
        while zone.take(cpu, Unmovable, Mark::None).is_some() {}
    }
    zone.give_pair(0, 16);
    zone.give(0, Unmovable, [8, 9]);
    zone.drain(0);
    assert_eq!(zone.take_pair(0, Mark::None), Some(16), "freed after the others, and so taken before them");
}

#[test]
fn a_refill_doubles_until_it_is_as_large_as_the_list() {
    let zone = Zone::new(GUEST);
    let mut refills = Vec::new();
    for _ in 0..900 {
        let before = zone.cached(0);
        assert!(zone.take(0, Movable, Mark::Low).is_some());
        if before == 0 {
            refills.push(zone.cached(0) + 1);
        }
    }
    assert_eq!(refills[..6], [15, 30, 60, 120, 240, 291]);
    zone.give(0, Movable, [0]);
    zone.drain(0);
    assert!(zone.take(0, Movable, Mark::Low).is_some());
    assert_eq!(zone.cached(0) + 1, 60, "one page freed halves the factor: 15 << 2");
}

#[test]
fn while_kswapd_runs_a_cpu_keeps_60_pages() {
    let zone = Zone::new(GUEST);
    let mut pages: Vec<u32> = (0..2000).map(|_| zone.take(0, Movable, Mark::Low).expect("a page")).collect();
    zone.give(1, Movable, pages.drain(..300));
    assert_eq!(zone.cached(1), 300, "below 306 nothing leaves the list");
    zone.set_reclaim_active(true);
    zone.give(1, Movable, pages.drain(..200));
    assert!(zone.cached(1) < 60, "{}", zone.cached(1));
}

#[test]
fn each_page_taken_halves_what_a_full_list_gives_up() {
    for (taken, left) in [(0, 15), (1, 149), (2, 223)] {
        let zone = Zone::new(GUEST);
        let mut pages: Vec<u32> = (0..2000).map(|_| zone.take(0, Movable, Mark::Low).expect("a page")).collect();
        zone.give(1, Movable, pages.drain(..300));
        (0..taken).for_each(|_| assert!(zone.take(1, Movable, Mark::Low).is_some()));
        zone.give(1, Movable, pages.drain(..6 + taken));
        assert_eq!(zone.cached(1), left, "306 less all that were freed lately, of which {taken} were taken");
    }
}

#[test]
fn a_pair_taken_halves_it_too() {
    let zone = Zone::new(GUEST);
    let mut pages: Vec<u32> = (0..301).map(|_| zone.take(0, Movable, Mark::Low).expect("a page")).collect();
    zone.give(1, Movable, pages.drain(..300));
    assert!(zone.take_pair(1, Mark::Low).is_some());
    zone.give(1, Movable, pages);
    assert_eq!(zone.cached(1), 300 + 12 + 1 - 151);
}

#[test]
fn while_kswapd_runs_the_60th_page_sends_all_but_a_batch_away() {
    let zone = Zone::new(GUEST);
    let mut pages: Vec<u32> = (0..60).map(|_| zone.take(0, Movable, Mark::Low).expect("a page")).collect();
    zone.set_reclaim_active(true);
    zone.give(1, Movable, pages.drain(..59));
    assert_eq!(zone.cached(1), 59);
    zone.give(1, Movable, pages);
    assert_eq!(zone.cached(1), 15);
}

/// CONFIG_PCP_BATCH_SCALE_MAX; and of batches of one page the first is one.
#[test]
fn a_refill_is_no_more_than_32_batches() {
    let large = ZoneConfig { watermarks: [3500, 4000, 4500], ..GUEST };
    for (config, want) in
        [(large, [15, 30, 60, 120, 240, 480, 480]), (ZoneConfig { pcp_batch: 1, ..large }, [1, 2, 4, 8, 16, 32, 32])]
    {
        let zone = Zone::new(config);
        let refills = want.map(|_| {
            while zone.cached(0) > 0 {
                assert!(zone.take(0, Movable, Mark::Low).is_some());
            }
            assert!(zone.take(0, Movable, Mark::Low).is_some());
            zone.cached(0) + 1
        });
        assert_eq!(refills, want);
    }
}

/// Else a block would count as movable for good.
#[test]
fn what_came_back_is_in_nobody_s_use() {
    let zone = Zone::new(GUEST);
    let in_use =
        || (0..GUEST.free_pages).step_by(PAGEBLOCK_PAGES as usize).map(|page| zone.map.movable_pages(page)).sum();
    let pages: Vec<u32> = (0..100).map(|_| zone.take(0, Movable, Mark::Low).expect("a page")).collect();
    let [first, second] = [0, 1].map(|cpu| zone.take_order(cpu, Movable, Mark::Low, 4).expect("16 in a row"));
    let counted: u32 = in_use();
    assert_eq!(counted, 132);
    zone.give(1, Movable, pages);
    assert_eq!(in_use(), 32);
    zone.give_order(1, Movable, first, 4);
    assert_eq!(in_use(), 16);
    zone.give_order(0, Movable, second, 4);
    assert_eq!(in_use(), 0);
}

#[test]
fn a_drain_names_the_next_cpu_until_the_last() {
    let zone = Zone::new(GUEST);
    assert_eq!([zone.drain(0), zone.drain(1)], [Some(1), None]);
}

#[test]
fn all_pages_or_none() {
    let zone = Zone::new(ZoneConfig { managed_pages: 6, free_pages: 6, ..GUEST });
    let first = zone.take_all(0, Unmovable, Mark::None, 4).expect("four pages");
    assert_eq!(zone.take_all(0, Unmovable, Mark::None, 4), None);
    assert_eq!(zone.total_free(), 2);
    assert_eq!(zone.take_all(1, Unmovable, Mark::None, 1), None, "they are on the other CPU's list");
    zone.drain(0);
    assert!(zone.take_all(1, Unmovable, Mark::None, 1).is_some());
    let mut pages: Vec<u32> = zone.chain(first, 4).collect();
    zone.give(0, Unmovable, zone.chain(first, 4));
    pages.sort_unstable();
    pages.dedup();
    assert_eq!((pages.len(), zone.total_free()), (4, 5));
}

#[test]
fn what_is_held_grows_and_goes_back() {
    let zone = Zone::new(ZoneConfig { managed_pages: 8, free_pages: 8, watermarks: [3, 4, 5], pcp_batch: 1, ..GUEST });
    let mut held = Held::default();
    assert!(!zone.take_more(&mut held, 0, Unmovable, Mark::None, 9), "there are eight");
    assert_eq!((held.pages, zone.total_free()), (8, 0));
    zone.give_held(&mut held, 0, Unmovable);
    assert_eq!((held, zone.total_free()), (Held::default(), 8));
    assert!(
        zone.take_more(&mut held, 0, Unmovable, Mark::None, 2)
            && zone.take_more(&mut held, 0, Unmovable, Mark::None, 3)
    );
    assert_eq!(held.pages, 3, "one more than before");
}

#[test]
fn a_small_zone_is_counted_exactly_where_it_is_low() {
    let small = ZoneConfig { managed_pages: 11, free_pages: 11, watermarks: [4, 6, 8], pcp_batch: 1, ..GUEST };
    let large = ZoneConfig { managed_pages: 737, free_pages: 737, pcp_batch: 1, ..GUEST };
    for (config, exact) in [(small, true), (large, false)] {
        let zone = Zone::new(config);
        down_to(&zone, zone.wmark(2)); // Fewer than a CPU keeps to itself: nothing is in the common count yet.
        assert_eq!(zone.free_pages(), zone.wmark(2) + 3);
        assert_eq!(zone.is_balanced(), !exact, "{config:?}");
    }
}

#[test]
fn a_cpu_s_limits_are_the_zone_s_by_size_and_cpus() {
    let limits = |managed_pages, watermarks, cpus| {
        let limits = PcpLimits::new(&ZoneConfig { managed_pages, watermarks, cpus, ..GUEST });
        (limits.high, limits.normal_threshold, limits.pressure_threshold)
    };
    assert_eq!(limits(61_237, [490, 612, 734], 2), (306, 8, 61));
    assert_eq!(limits(2_000, [50, 62, 75], 2), (60, 4, 6), "four batches");
    assert_eq!(limits(1 << 24, [16_384, 33_161, 49_938], 64), (518, 125, 125), "64 GiB: no more than 125");
}

#[test]
fn a_request_that_may_use_half_of_the_reserve_ignores_the_boost_and_the_throttle_does_not() {
    let zone = Zone::new(GUEST);
    zone.raise_boost(2);
    while zone.allows_direct_reclaim() {
        assert!(zone.take_order(0, Movable, Mark::None, 3).is_some());
    }
    assert_eq!((zone.exact_free_pages() / 8, zone.boost()), (795 / 8, 1101), "half of 490 and 1101");
    assert!(zone.watermark_ok(Mark::HalfMin) && !zone.watermark_ok(Mark::Min));
}

#[test]
fn pages_in_use_leave_the_rest_of_their_last_block_to_unmovable_requests() {
    let zone = Zone::new(ZoneConfig { managed_pages: 3000 + PAGEBLOCK_PAGES + 1000, free_pages: 3000, ..GUEST });
    let first = zone.take(0, Unmovable, Mark::None).unwrap();
    assert_eq!(first, 2 * PAGEBLOCK_PAGES - 24, "24 pages are left of it");
    let movable = zone.take(1, Movable, Mark::None).unwrap();
    assert!(movable >= 2 * PAGEBLOCK_PAGES, "{movable}");
    (1..24).for_each(|_| assert!(zone.take(0, Unmovable, Mark::None).unwrap() < 2 * PAGEBLOCK_PAGES));
    assert!(zone.take(0, Unmovable, Mark::None).unwrap() >= 2 * PAGEBLOCK_PAGES, "a movable block");
    assert_eq!(zone.total_free(), 3000 - 26);
}

#[test]
fn a_cpu_keeps_more_to_itself_while_kswapd_is_awake_and_a_throttle_counts_exactly() {
    let zone = Zone::new(ZoneConfig { managed_pages: 3000, free_pages: 3000, ..GUEST });
    assert!(zone.take(0, Movable, Mark::None).is_some());
    assert_eq!(zone.free_pages(), 2985, "more than 8 are told at once");
    zone.set_kswapd_awake(true);
    assert!(zone.take(1, Movable, Mark::None).is_some());
    assert_eq!(zone.free_pages(), 2985, "up to 61 are not, and a nap is no sleep");
    while zone.buddy.lock().0.free_pages() > 245 {
        assert!(zone.take_order(0, Movable, Mark::None, 3).is_some());
    }
    assert!(zone.free_pages() > 245 && !zone.allows_direct_reclaim());
}

proptest::proptest! {
    /// What each mark lets pass, at the last count that is too few and the first that is enough; and the boost beside a plain sum.
    #[test]
    fn a_mark_is_passed_by_one_page_more_than_it_says(
        (min, above) in (1u32..3000, (0u32..100, 0u32..3000)), (boost_factor, cpus) in (0u32..30_000, 1u16..9),
        raises in proptest::collection::vec(1u32..4, 0..4), lowered in 0u32..3000, near in 0u32..3,
    ) {
        let (low, high) = (min + above.0, min + above.0 + above.1);
        let most = match high * boost_factor / 10_000 {
            0 => 0,
            most => most.max(PAGEBLOCK_PAGES),
        };
        let raised = raises.iter().fold(0, |boost, times| most.min(boost + times * PAGEBLOCK_PAGES));
        let boost = raised.saturating_sub(lowered);
        let free_pages = (min.midpoint(boost) + near).saturating_sub(1);
        let zone = Zone::new(ZoneConfig { free_pages, watermarks: [min, low, high], boost_factor, cpus, ..GUEST });
        raises.iter().for_each(|&times| zone.raise_boost(times));
        proptest::prop_assert_eq!((zone.boost(), zone.take_boosted()), (raised, raised > 0));
        zone.lower_boost(lowered);
        proptest::prop_assert_eq!(zone.boost(), boost);
        proptest::prop_assert_eq!(zone.allows_direct_reclaim(), free_pages > (min + boost) / 2);
        // What a CPU keeps to itself may hide the gap between min and low.
        let drift = u32::from(cpus) * zone.limits.normal_threshold;
        let marks = [low + boost, min + boost, min / 2, high + boost, high + drift];
        for free in marks.into_iter().flat_map(|mark| mark.saturating_sub(1)..mark + 2) {
            zone.nr_free.store(free.into(), Ordering::Relaxed); // ORDERING: Relaxed: this test is alone.
            let passed = [Mark::Low, Mark::Min, Mark::HalfMin, Mark::None].map(|mark| zone.watermark_ok(mark));
            proptest::prop_assert_eq!(passed, [free > low + boost, free > min + boost, free > min / 2, true]);
            let counted = if drift > low - min && free < high + drift { free_pages } else { free };
            proptest::prop_assert_eq!(zone.is_balanced(), counted > high + boost);
        }
    }

    #[test]
    fn pages_add_up(ops in proptest::collection::vec((0u16..2, 0u8..7), 0..600)) {
        let zone = Zone::new(ZoneConfig { managed_pages: 2500, free_pages: 2500, ..GUEST });
        let mut out = [vec![], vec![]];
        for (cpu, op) in ops {
            let of = if op & 1 == 0 { Unmovable } else { Movable };
            match op {
                0..4 => out[of as usize].extend(zone.take(cpu, of, if op < 2 { Mark::Min } else { Mark::None })),
                4 | 5 => zone.give(cpu, of, out[of as usize].pop()),
                _ => {
                    zone.drain(cpu);
                }
            }
            proptest::prop_assert_eq!(zone.total_free() as usize + out[0].len() + out[1].len(), 2500);
        }
    }
}
