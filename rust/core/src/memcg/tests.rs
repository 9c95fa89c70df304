//! The hierarchy.

use super::*;

fn family() -> (Memcgs, u16, u16) {
    let mut groups = Memcgs::default();
    let parent = groups.add("parent", ROOT).unwrap();
    let child = groups.add("child", parent).unwrap();
    (groups, parent, child)
}

#[test]
fn any_ancestor_limits_and_denies() {
    let (groups, parent, child) = family();
    assert!(groups.may_zswap(child) && groups.writeback_enabled(child));
    groups.get(parent).unwrap().set_zswap_max(2 * 4096);
    groups.charge_zswap(child, 2 * 4096);
    assert!(!groups.may_zswap(child) && groups.may_zswap(ROOT));
    groups.uncharge_zswap(child, 2 * 4096);
    groups.charge_zswap(child, 2 * 4096 - 1);
    assert!(groups.may_zswap(child), "one whole page and a part: below two");
    groups.get(parent).unwrap().set_zswap_max(4095);
    assert!(!groups.may_zswap(child), "less than a page is nothing");
    groups.get(ROOT).unwrap().set_writeback(false);
    assert!(!groups.writeback_enabled(child));
}

#[test]
fn a_walk_is_in_order_and_leaves_out_who_is_gone() {
    let (mut groups, parent, child) = family();
    let (aunt, cousin) = (groups.add("aunt", ROOT).unwrap(), groups.add("sibling", parent).unwrap());
    let walk = |groups: &Memcgs| -> Vec<u16> {
        std::iter::successors(groups.next_online(None), |&id| groups.next_online(Some(id))).collect()
    };
    assert_eq!(walk(&groups), [ROOT, parent, child, cousin, aunt]);
    groups.set_offline(child).unwrap();
    assert_eq!(walk(&groups), [ROOT, parent, cousin, aunt]);
    assert_eq!((groups.next_online(Some(child)), groups.online(child)), (Some(cousin), parent));
}

#[test]
fn only_a_childless_group_is_removed_and_its_charges_stay_its_parents() {
    let (groups, parent, child) = family();
    let why = |id| groups.set_offline(id).unwrap_err().to_string();
    assert_eq!(why(ROOT), r#"memcg "/" cannot be removed: it is the root"#);
    assert_eq!(why(parent), r#"memcg "parent" cannot be removed: it has children"#);
    groups.charge_zswap(child, 10);
    groups.set_offline(child).unwrap();
    assert_eq!(why(child), r#"memcg "child" cannot be removed: it is gone already"#);
    assert_eq!(groups.get(parent).unwrap().zswap_current_bytes(), 10);
    groups.uncharge_zswap(child, 10);
    assert_eq!(groups.get(parent).unwrap().zswapped(), 0);
}

#[test]
fn a_parent_comes_first() {
    let error = Memcgs::default().add("a", 3).unwrap_err();
    assert_eq!(error.to_string(), r#"memcg "a": parent 3 does not exist"#);
}
