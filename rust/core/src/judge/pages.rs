//! What the judge remembers of each page: 8 bytes, and 4 of the size of its copy, in chunks made as folio numbers are met.

use super::breach::Reason;
use crate::lifecycle::effect::KEPT;
use crate::lifecycle::generated::INITIAL;
use crate::lifecycle::{State, flag, guard};
use crate::sync::prefetch;
use crate::trace::Record;

/// A page's past: what the next record must continue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(8))]
pub(super) struct Page {
    /// Its next sequence number.
    pub seq: u32,
    /// Its flags.
    pub flags: u16,
    /// Its state's id in bits 0..5, where its copy is above them.
    place: u8,
    /// Who brought it to its state ([`owner`]).
    pub owner: u8,
}

const _: () = assert!(size_of::<Page>() == 8);
const _: () = assert!(flag::MAPPED >> 8 == guard::MAPPED as u16, "`Page::guards` moves one to the other by a shift");
const COPY: u8 = guard::IN_POOL | guard::ZERO;
const _: () = assert!(COPY == 0x18 && State::ALL.len() <= 32, "`Page::place` holds a state and a copy");

/// Every page's beginning.
const RESIDENT: Page = Page { seq: 0, flags: INITIAL.1, place: INITIAL.0 as u8, owner: 0 };
const HEAD: Page = Page { flags: INITIAL.1 | flag::HEAD, ..RESIDENT };
const TAIL: Page = Page { seq: 0, flags: 0, place: State::Tail as u8, owner: 0 };
const ABSENT: Page = Page { seq: 0, flags: 0, place: State::Freed as u8, owner: 0 };

/// An actor in 8 bits: its kind, and its number modulo 32.
#[inline(always)]
pub(super) const fn owner(actor: u16) -> u8 {
    (actor >> 3) as u8 & 0xe0 | actor as u8 & 0x1f
}

/// The actor that [`owner`] made so.
pub(super) const fn actor_of(owner: u8) -> u16 {
    (owner as u16 & 0xe0) << 3 | owner as u16 & 0x1f
}

impl Page {
    /// Its state's id.
    #[inline(always)]
    pub(super) const fn state(self) -> u8 {
        self.place & 0x1f
    }

    /// Where its copy is, as guard bits.
    #[inline(always)]
    pub(super) const fn copy(self) -> u8 {
        self.place >> 2 & COPY
    }

    /// The guards that its past decides.
    #[inline(always)]
    pub(super) const fn guards(self) -> u8 {
        self.copy() | ((self.flags & flag::MAPPED) >> 8) as u8
    }

    /// The page after `r`.
    #[inline(always)]
    pub(super) const fn after(self, r: &Record, copy: u8) -> Self {
        let copy = if copy == KEPT { self.copy() } else { copy };
        let owner = if r.from == r.to { self.owner } else { owner(r.actor) };
        Self { seq: r.seq.wrapping_add(1), flags: r.flags, place: r.to & 0x1f | (copy & COPY) << 2, owner }
    }
}

const CHUNK_BITS: u32 = 14;
const CHUNK: usize = 1 << CHUNK_BITS;
/// Chunks made for any trace: 2^28 pages, 2 GiB of memory here and 1 of their copies' sizes, 1 TiB of memory traced.
const MOST_CHUNKS: usize = 1 << (28 - CHUNK_BITS);
/// Chunks made for a trace of unknown size however short it is, 16 GiB of memory traced; and the records that account for one more.
const FIRST_CHUNKS: usize = 256;
const RECORDS_A_CHUNK: usize = 128;

type Chunk = Box<[Page; CHUNK]>;
/// No memory until one of its pages has a copy.
type Sizes = Box<[u32]>;

#[derive(Debug)]
pub(super) struct Pages {
    chunks: Vec<Option<Chunk>>,
    /// Bytes of each page's copy in the store, by chunk.
    sizes: Vec<Sizes>,
    made: usize,
    /// Chunks that may be made.
    most: usize,
    known: Option<usize>,
    named: usize,
    start: Page,
    /// log2 of the pages of a folio at the start.
    order: u8,
}

impl Pages {
    pub(super) fn new(known: Option<usize>, absent: bool, order: u8) -> Self {
        let (start, order) = if absent { (ABSENT, 0) } else { (RESIDENT, order.min(CHUNK_BITS as u8)) };
        let most = if known.is_some() { MOST_CHUNKS } else { FIRST_CHUNKS };
        Self { chunks: Vec::new(), sizes: Vec::new(), made: 0, most, known, named: 0, start, order }
    }

    /// The trace has so many records at least: they account for pages of a trace of unknown size.
    pub(super) fn account(&mut self, records: u64) {
        self.most = self.most.max(FIRST_CHUNKS + records as usize / RECORDS_A_CHUNK).min(MOST_CHUNKS);
    }

    /// The page, if its chunk exists.
    #[inline(always)]
    pub(super) fn get(&mut self, folio: u32) -> Option<&mut Page> {
        let chunk = self.chunks.get_mut((folio >> CHUNK_BITS) as usize)?.as_mut()?;
        let page = &mut chunk[folio as usize & (CHUNK - 1)];
        // The last chunk may reach beyond the pages that exist; those are never handed out.
        if (folio as usize) < self.named { Some(page) } else { None }
    }

    /// Asks for the page's cache line, if its chunk exists.
    #[inline(always)]
    pub(super) fn prefetch(&self, folio: u32) {
        if let Some(Some(chunk)) = self.chunks.get((folio >> CHUNK_BITS) as usize) {
            prefetch(&chunk[folio as usize & (CHUNK - 1)]);
        }
    }

    /// Makes `folio` known.
    ///
    /// # Errors
    /// [`Reason::Folio`] when the trace has no such page, or names more than its records account for.
    pub(super) fn make(&mut self, folio: u32) -> Result<(), Reason> {
        let beyond = self.known.is_some_and(|known| folio as usize >= known);
        let chunk = (folio >> CHUNK_BITS) as usize;
        let absent = self.chunks.get(chunk).is_none_or(Option::is_none);
        if beyond || folio >= u32::MAX - 1 || (absent && self.made >= self.most) {
            return Err(Reason::Folio { pages: self.known });
        }
        if self.chunks.len() <= chunk {
            self.chunks.resize_with(chunk + 1, || None);
            self.sizes.resize_with(chunk + 1, Sizes::default);
        }
        self.chunks[chunk].get_or_insert_with(|| new_chunk(self.start, self.order, self.known, chunk));
        self.made += usize::from(absent);
        // Once the size is known, every page of a chunk that exists is: the next one takes the fast way.
        self.named = self.named.max(self.known.unwrap_or(folio as usize + 1));
        Ok(())
    }

    /// The size of the page's copy; its chunk exists.
    pub(super) fn size(&mut self, folio: u32) -> &mut u32 {
        let sizes = &mut self.sizes[(folio >> CHUNK_BITS) as usize];
        if sizes.is_empty() {
            *sizes = vec![0; CHUNK].into();
        }
        &mut sizes[folio as usize & (CHUNK - 1)]
    }

    /// Pages that the trace has, or one more than the highest named.
    pub(super) fn count(&self) -> usize {
        self.known.unwrap_or(self.named)
    }

    /// Every page of the chunks that exist, with its number.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Page)> {
        let made = self.chunks.iter().enumerate().filter_map(|(i, c)| c.as_ref().map(|c| (i, c)));
        made.flat_map(|(i, chunk)| chunk.iter().enumerate().map(move |(k, p)| ((i << CHUNK_BITS | k) as u32, p)))
    }
}

fn new_chunk(start: Page, order: u8, known: Option<usize>, number: usize) -> Chunk {
    let mut chunk: Chunk = vec![start; CHUNK].try_into().expect("made with this length");
    if order > 0 {
        let pages = known.map_or(CHUNK, |known| known.saturating_sub(number << CHUNK_BITS)).min(CHUNK);
        for folio in chunk[..pages].chunks_exact_mut(1 << order) {
            folio.fill(TAIL);
            folio[0] = HEAD;
        }
    }
    chunk
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_has_its_pages_and_whole_folios_of_them_and_no_more() {
        for (known, order) in [(CHUNK - 3, 0), (CHUNK - 3, 2), (2 * CHUNK + 7, 2), (2 * CHUNK, 9)] {
            let (mut pages, size) = (Pages::new(Some(known), false, order), 1 << order);
            for folio in 0..known {
                let start = match (folio % size, folio - folio % size + size <= known) {
                    (_, whole) if order == 0 || !whole => RESIDENT,
                    (0, _) => HEAD,
                    _ => TAIL,
                };
                assert_eq!(pages.make(folio as u32), Ok(()));
                assert_eq!(pages.get(folio as u32), Some(&mut { start }), "{folio} of {known}");
            }
            assert_eq!(pages.get(known as u32), None);
            assert_eq!(pages.make(known as u32), Err(Reason::Folio { pages: Some(known) }));
        }
    }
}
