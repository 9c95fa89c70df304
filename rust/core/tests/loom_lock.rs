//! loom models of the spin lock: each is named for the race it looks for.
//!
//! `RUSTFLAGS="--cfg kcompressd_loom" cargo test --release -p kcompressd-core --test loom_lock`
#![cfg(kcompressd_loom)]

use kcompressd_core::sync::{Arc, SpinLock, thread};

/// Two sections on one value: neither is inside the other, and the second sees what the first has written.
#[test]
fn two_sections_exclude_each_other() {
    loom::model(|| {
        let lock = Arc::new(SpinLock::new((0, 0)));
        let add = |lock: &SpinLock<(u32, u32)>| {
            let mut value = lock.lock();
            assert_eq!(value.0, value.1, "a half of a section is seen");
            value.0 += 1;
            value.1 += 1;
        };
        let other = thread::spawn({
            let lock = Arc::clone(&lock);
            move || add(&lock)
        });
        add(&lock);
        other.join().unwrap();
        assert_eq!(*lock.lock_within(), (2, 2));
    });
}
