//! A page's entry, by swap slot.
//!
//! `handle` and `meta` belong to the slot's page, that is to the actor that won its state word; the links and the `referenced`
//! bit belong to the lock of the LRU list that the entry is on, and to that actor until it is added there.

use crate::list::{Links, Listed};
use crate::snapshot::{Reader, Saved};
use crate::sync::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use crate::units::NIL;
use crate::zsmalloc::Handle;

/// What the bits of an entry's `meta` say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    /// Stored bytes.
    pub len: u32,
    /// The pool, by number.
    pub pool: u32,
    /// The contents are the page itself.
    pub raw: bool,
}

impl Meta {
    const LEN_BITS: u32 = 24;

    fn pack(self) -> u32 {
        self.len << 1 | u32::from(self.raw) | self.pool << (Self::LEN_BITS + 1)
    }

    fn unpack(word: u32) -> Self {
        let len = word >> 1 & ((1 << Self::LEN_BITS) - 1);
        Self { len, pool: word >> (Self::LEN_BITS + 1), raw: word & 1 == 1 }
    }
}

/// One entry.
#[derive(Debug)]
pub(super) struct Entry {
    handle: AtomicU64,
    meta: AtomicU32,
    folio: AtomicU32,
    /// The memcg it is charged to, and its node: which LRU it is on.
    place: AtomicU32,
    links: Links,
    pub referenced: AtomicBool,
    /// Queued after the first half of its store: what a worker looks up instead of a tag.
    pub expected: AtomicBool,
}

// ORDERING (all of Entry): Relaxed: every field is ordered by its owner, the state word of the slot's page or the LRU lock.
pub(super) const OWNED: Ordering = Ordering::Relaxed;

impl Default for Entry {
    fn default() -> Self {
        Self {
            handle: AtomicU64::new(0),
            meta: AtomicU32::new(0),
            folio: AtomicU32::new(NIL),
            place: AtomicU32::new(0),
            links: Links::default(),
            referenced: AtomicBool::new(false),
            expected: AtomicBool::new(false),
        }
    }
}

impl Entry {
    pub fn handle(&self) -> Option<Handle> {
        Handle::from_raw(self.handle.load(OWNED))
    }

    pub fn meta(&self) -> Meta {
        Meta::unpack(self.meta.load(OWNED))
    }

    /// Puts contents in, which are nobody's until [`Entry::belong`].
    pub fn fill(&self, handle: Handle, meta: Meta) {
        self.meta.store(meta.pack(), OWNED);
        self.handle.store(handle.to_raw(), OWNED);
        self.belong(NIL, 0, 0);
        self.referenced.store(false, OWNED);
    }

    /// Takes the contents out.
    pub fn empty(&self) -> Option<(Handle, Meta)> {
        let handle = self.handle()?;
        self.handle.store(0, OWNED);
        Some((handle, self.meta()))
    }

    /// The folio whose contents it has.
    pub fn folio(&self) -> u32 {
        self.folio.load(OWNED)
    }

    /// The memcg it is charged to, and its node.
    pub fn place(&self) -> (u16, u8) {
        let place = self.place.load(OWNED);
        ((place >> 8) as u16, place as u8)
    }

    pub fn belong(&self, folio: u32, memcg: u16, node: u8) {
        self.folio.store(folio, OWNED);
        self.place.store(u32::from(memcg) << 8 | u32::from(node), OWNED);
    }

    /// Appends what it has, if anything; returns two bits: whether it has, and whether it is expected.
    pub fn save(&self, out: &mut Saved) -> u64 {
        let expected = u64::from(self.expected.load(OWNED)) << 1;
        let Some(handle) = self.handle() else { return expected };
        out.state.push(out.names.handle(self.meta().pool, handle.to_raw()));
        out.state.push(u64::from(self.meta.load(OWNED)) << 32 | out.page(self.folio()));
        out.state.push(u64::from(self.place.load(OWNED)) << 1 | u64::from(self.referenced.load(OWNED)));
        expected | 1
    }

    /// Takes back what [`Entry::save`] appended, and the bits that it returned.
    pub fn restore(&self, bits: u64, from: &mut Reader<'_>) {
        self.expected.store(bits & 2 != 0, OWNED);
        if bits & 1 == 0 {
            // What an entry was before it was empty decides nothing.
            return self.handle.store(0, OWNED);
        }
        self.handle.store(from.state(), OWNED);
        // The links of a listed entry are its list's to restore.
        self.links.clear();
        let (meta, place) = (from.state(), from.state());
        self.meta.store((meta >> 32) as u32, OWNED);
        self.folio.store(meta as u32, OWNED);
        self.place.store((place >> 1) as u32, OWNED);
        self.referenced.store(place & 1 == 1, OWNED);
    }
}

impl Listed for Entry {
    #[inline]
    fn links(&self) -> &Links {
        &self.links
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meta_holds_the_largest_page_and_every_pool() {
        for (len, pool, raw) in [(65536, 7, true), (1, 0, false), (4096, 3, false)] {
            let meta = Meta { len, pool, raw };
            assert_eq!(Meta::unpack(meta.pack()), meta);
        }
    }
}
