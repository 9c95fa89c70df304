//! The OOM killer in its minimum (mm/oom_kill.c): the application with the most pages is ended, one at a time.
//!
//! Whoever finds nothing to reclaim asks for it; the victim notices between two touches, in its own allocation or where it waits for a
//! folio, gives up its pages and ends. One that its program has asleep notices when it is time for the next touch. Kernel threads are no
//! victims, and ask for none: a request that may not enter the file system waits.
//! Source: Documentation/filesystems/proc.rst (`oom_score`: pages resident and swapped).

use crate::lifecycle::actor;
use crate::sync::{AtomicU32, Mutex, Ordering};
use crate::units::NIL;

/// Applications there can be.
const APPS: usize = 256;

/// Who has how many pages, and who is being ended.
#[derive(Debug)]
pub struct OomKiller {
    /// Pages of each application, wherever their contents are.
    pages: Box<[AtomicU32]>,
    /// The group of each one's last page.
    groups: Box<[AtomicU32]>,
    /// The actor that is being ended, or [`NIL`]; changes under `choice` alone.
    victim: AtomicU32,
    /// Held while somebody is chosen, or ends: who has ended is never chosen.
    choice: Mutex<()>,
}

impl Default for OomKiller {
    fn default() -> Self {
        let [pages, groups] = [(); 2].map(|()| (0..APPS).map(|_| AtomicU32::new(0)).collect());
        Self { pages, groups, victim: AtomicU32::new(NIL), choice: Mutex::default() }
    }
}

impl OomKiller {
    /// An application's place in `pages` and `groups`.
    fn place(app: u16) -> usize {
        usize::from(app & !actor::APP) % APPS
    }

    /// Application `app` has one more page, of `memcg`.
    #[inline]
    pub fn grow(&self, app: u16, memcg: u16) {
        // ORDERING: Relaxed: as below.
        self.groups[Self::place(app)].store(memcg.into(), Ordering::Relaxed);
        // ORDERING: Relaxed: a count that a choice weighs.
        self.pages[Self::place(app)].fetch_add(1, Ordering::Relaxed);
    }

    /// The group of application `app`'s last page.
    pub fn group(&self, app: u16) -> u16 {
        // ORDERING: Relaxed: as in `grow`.
        self.groups[Self::place(app)].load(Ordering::Relaxed) as u16
    }

    /// Chooses whom to end for `app`'s sake among the applications whose group `counts`: `app` itself among equals; `None`
    /// while somebody is being ended.
    pub fn kill(&self, app: u16, counts: impl Fn(u16) -> bool) -> Option<u16> {
        // ORDERING: Relaxed: as in `grow`.
        let pages = |other: u16| self.pages[Self::place(other)].load(Ordering::Relaxed);
        let all = (0..APPS as u16).map(|number| actor::APP | number);
        let others = all.filter(|&other| other == app || pages(other) > 0 && counts(self.group(other)));
        let _choice = self.choice.lock_within();
        if self.victim() != NIL {
            return None;
        }
        let victim = others.max_by_key(|&other| (pages(other), other == app))?;
        // ORDERING: Relaxed: the victim looks again and again; the lock orders whoever chooses.
        self.victim.store(victim.into(), Ordering::Relaxed);
        Some(victim)
    }

    #[inline]
    fn victim(&self) -> u32 {
        // ORDERING: Relaxed: as in `kill`.
        self.victim.load(Ordering::Relaxed)
    }

    /// Whether `app` is to end.
    #[inline]
    pub fn is_victim(&self, app: u16) -> bool {
        self.victim() == u32::from(app)
    }

    /// `app`, the victim, has given up its pages, but for those that others have in their hands; from now on another may be
    /// chosen (`MMF_OOM_SKIP`): those may wait for memory that this one no longer has.
    pub fn gone(&self, app: u16) {
        let _choice = self.choice.lock_within();
        if self.is_victim(app) {
            // ORDERING: Relaxed (both): as in `kill`.
            self.pages[Self::place(app)].store(0, Ordering::Relaxed);
            self.victim.store(NIL, Ordering::Relaxed); // ORDERING: as above.
        }
    }

    /// `app` has come to its end, and can be chosen no more; false: it has been chosen, and is to give its pages up.
    #[must_use]
    pub fn leave(&self, app: u16) -> bool {
        let _choice = self.choice.lock_within();
        let leaves = !self.is_victim(app);
        if leaves {
            // ORDERING: Relaxed: as in `kill`.
            self.pages[Self::place(app)].store(0, Ordering::Relaxed);
        }
        leaves
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_goes_first_and_one_at_a_time() {
        let oom = OomKiller::default();
        let [a, b] = [actor::APP, actor::APP + 1];
        (0..5).for_each(|_| oom.grow(b, 2));
        oom.grow(a, 1);
        assert_eq!((oom.kill(a, |_| true), oom.kill(a, |_| true)), (Some(b), None));
        assert!(oom.is_victim(b) && !oom.is_victim(a));
        oom.gone(b);
        assert_eq!(oom.kill(b, |_| true), Some(a));
        oom.gone(a);
        assert_eq!(oom.kill(b, |_| true), Some(b), "who asks, when nobody has anything");
    }

    #[test]
    fn who_has_ended_is_never_chosen_and_who_was_chosen_does_not_just_end() {
        let oom = OomKiller::default();
        let [a, b] = [actor::APP, actor::APP + 1];
        (0..5).for_each(|_| oom.grow(b, 2));
        oom.grow(a, 1);
        assert!(oom.leave(b));
        assert_eq!(oom.kill(a, |_| true), Some(a));
        assert!(!oom.leave(a));
    }

    #[test]
    fn a_group_out_of_memory_ends_one_of_its_own() {
        let oom = OomKiller::default();
        let [a, b] = [actor::APP, actor::APP + 1];
        (0..5).for_each(|_| oom.grow(b, 2));
        oom.grow(a, 1);
        assert_eq!(oom.kill(a, |memcg| memcg == 1), Some(a));
    }
}
