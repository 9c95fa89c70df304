//! A folio pointer that says in bit 0 where its folio was queued from.
//!
//! This is the one place with pointer-bit arithmetic. A [`TaggedFolio`] is the address of a [`Folio`] with
//! bit 0 set when zswap queued it and clear when zram did; `Folio`'s alignment keeps that bit free, which is
//! asserted at compile time. Provenance is kept throughout (`map_addr`), so the untagged pointer may be
//! dereferenced by whoever may dereference the original.
//!
//! An untagged entry (the design that looks the origin up in the zswap entry instead) is the plain pointer,
//! which is [`Origin::Zram`]'s representation; its origin must then not be asked.
//!
//! A tagged pointer borrows nothing and dereferences nothing: [`TaggedFolio::index_in`] turns it back into an
//! index of the folio table by address arithmetic alone, so users need no unsafe code.

use std::fmt;
use std::ptr::{self, NonNull};

use crate::folio::Folio;

/// The bit that says "queued by zswap".
const ZSWAP_BIT: usize = 1;

const _: () = assert!(align_of::<Folio>() > ZSWAP_BIT, "bit 0 of a folio's address must be free for the tag");
const _: () = assert!(size_of::<TaggedFolio>() == 8 && size_of::<Option<TaggedFolio>>() == 8);

/// Which store queued a folio.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// Queued by a zram device's write path; also what an untagged pointer reads as.
    Zram,
    /// Queued by zswap's store path.
    Zswap,
}

/// The address of a folio with its [`Origin`] in bit 0. Eight bytes; `Option` of it too.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TaggedFolio(NonNull<Folio>);

// SAFETY: the value is an address; nothing here dereferences it, and `Folio` itself is `Sync`.
unsafe impl Send for TaggedFolio {}
// SAFETY: as for `Send`; a shared `TaggedFolio` can only be copied and compared.
unsafe impl Sync for TaggedFolio {}

impl TaggedFolio {
    /// Tags `folio` with its origin.
    #[inline]
    pub fn new(folio: &Folio, origin: Origin) -> Self {
        let plain = NonNull::from(folio);
        match origin {
            Origin::Zram => Self(plain),
            Origin::Zswap => Self(plain.map_addr(|address| address | ZSWAP_BIT)),
        }
    }

    /// Whether zswap queued it (bit 0 is set).
    #[inline]
    pub fn is_zswap(self) -> bool {
        self.0.addr().get() & ZSWAP_BIT != 0
    }

    /// The folio's pointer without the tag, with the provenance of the reference it was made from.
    #[inline]
    pub fn as_ptr(self) -> NonNull<Folio> {
        let plain = self.0.as_ptr().map_addr(|address| address & !ZSWAP_BIT);
        NonNull::new(plain).expect("a folio's address is a multiple of its alignment and not zero")
    }

    /// The index of the folio in `folios`, or `None` when it lies elsewhere.
    #[inline]
    pub fn index_in(self, folios: &[Folio]) -> Option<usize> {
        let bytes = self.as_ptr().addr().get().checked_sub(folios.as_ptr().addr())?;
        let index = bytes / size_of::<Folio>();
        (index < folios.len() && bytes % size_of::<Folio>() == 0).then_some(index)
    }

    /// The word a queue slot holds.
    #[inline]
    pub(crate) fn into_word(self) -> *mut Folio {
        self.0.as_ptr()
    }
}

impl fmt::Debug for TaggedFolio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let store = if self.is_zswap() { "zswap" } else { "zram" };
        write!(f, "folio {:p} queued by {store}", self.as_ptr())
    }
}

/// What a queue slot's word means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    /// Nothing published.
    Vacant,
    /// Reserved and given up: to be skipped.
    Tombstone,
    /// A queued folio.
    Folio(TaggedFolio),
}

impl Slot {
    /// The word of a vacant slot: null.
    pub(crate) const VACANT: *mut Folio = ptr::null_mut();
    /// The word of a tombstone: null with the tag, an address that no folio has.
    pub(crate) const TOMBSTONE: *mut Folio = ptr::without_provenance_mut(ZSWAP_BIT);

    /// Reads a slot's word.
    #[inline]
    pub(crate) fn of(word: *mut Folio) -> Self {
        match NonNull::new(word) {
            None => Self::Vacant,
            Some(tombstone) if tombstone.as_ptr() == Self::TOMBSTONE => Self::Tombstone,
            Some(folio) => Self::Folio(TaggedFolio(folio)),
        }
    }
}
