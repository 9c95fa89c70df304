//! zswap by itself, one whole operation at a time, in front of a swap device that never fails: for scripts, and for the test
//! against a naive model. The halves and the decisions are those that the actors take in steps.
//!
//! A slot's contents are in a pool, on the device, or nowhere (never stored, freed, or still in memory because the store was
//! refused and the device denied). Without bytes ([`Page::Len`]) everything but the contents is the same.

mod kinds;

pub use kinds::{DirectError, Loaded, Page, Stored};

use super::shrink::{Next, NotShrunk, Outcome, Round, Scan, ShrinkMemcg};
use super::{Block, Form, Refusal, Zswap, ZswapConfig};
use crate::codec::{Codecs, DecodeError};
use crate::memcg::{MemcgError, Memcgs};
use crate::stats::{Vm, VmStat};
use crate::zsmalloc::ConfigError;
use kinds::Budget;
use std::collections::{BTreeMap, BTreeSet};

/// A page on the device.
#[derive(Debug)]
struct Written {
    memcg: u16,
    node: u8,
    bytes: Option<Box<[u8]>>,
}

/// zswap, its memory cgroups and its device.
#[derive(Debug)]
pub struct Direct {
    /// The store.
    pub zswap: Zswap,
    /// The groups.
    pub memcgs: Memcgs,
    slots: u32,
    nodes: u8,
    page_size: usize,
    codecs: Codecs,
    block: Vec<u8>,
    device: BTreeMap<u32, Written>,
    swapcache: BTreeSet<u32>,
    frames: Budget,
    stat: VmStat,
}

impl Direct {
    /// An empty store with the root group alone.
    ///
    /// # Errors
    /// [`ConfigError`]: zsmalloc's parameters.
    pub fn new(config: ZswapConfig) -> Result<Self, ConfigError> {
        Ok(Self {
            zswap: Zswap::new(config, 1)?,
            memcgs: Memcgs::new(config.pool.page_size),
            slots: config.slots,
            nodes: config.nodes,
            page_size: config.pool.page_size,
            codecs: Codecs::default(),
            block: vec![0; 2 * config.pool.page_size],
            device: BTreeMap::new(),
            swapcache: BTreeSet::new(),
            frames: Budget::new(u64::MAX / 2),
            stat: VmStat::default(),
        })
    }

    /// Adds a group; returns its index.
    ///
    /// # Errors
    /// [`MemcgError::NoParent`].
    pub fn add_memcg(&mut self, name: &str, parent: u16) -> Result<u16, MemcgError> {
        let id = self.memcgs.add(name, parent)?;
        self.zswap.grow(usize::from(id) + 1);
        Ok(id)
    }

    /// Removes a group: its entries and charges are its parent's.
    ///
    /// # Errors
    /// [`MemcgError::Busy`].
    pub fn remove_memcg(&mut self, id: u16) -> Result<(), MemcgError> {
        self.memcgs.set_offline(id)?;
        self.zswap.forget(&self.memcgs, id);
        (0..self.nodes).for_each(|node| self.zswap.reparent(&self.memcgs, id, node));
        Ok(())
    }

    /// Sets how many pages the pools may still take.
    pub fn set_free_pages(&mut self, pages: u64) {
        self.frames = Budget::new(pages);
    }

    /// Counters of /proc/vmstat: zswpin, zswpout, zswpwb, pswpin, pswpout.
    pub fn vmstat(&self) -> [(&'static str, u64); 5] {
        [Vm::Zswpin, Vm::Zswpout, Vm::Zswpwb, Vm::Pswpin, Vm::Pswpout].map(|vm| (vm.name(), self.stat[vm]))
    }

    /// Slots whose pages are on the device, in order.
    pub fn on_device(&self) -> Vec<u32> {
        self.device.keys().copied().collect()
    }

    /// Says whether a slot's folio is in the swap cache: such an entry is not written back.
    ///
    /// # Errors
    /// [`DirectError::NoSlot`].
    pub fn set_in_swapcache(&mut self, slot: u32, there: bool) -> Result<(), DirectError> {
        self.check(slot, 1)?;
        if there {
            self.swapcache.insert(slot)
        } else {
            self.swapcache.remove(&slot)
        };
        Ok(())
    }

    fn check(&self, first: u32, pages: usize) -> Result<(), DirectError> {
        let last = (u64::from(first) + pages as u64).saturating_sub(1);
        match last < u64::from(self.slots) {
            true => Ok(()),
            false => Err(DirectError::NoSlot { first: first.into(), last, slots: self.slots }),
        }
    }

    /// Refuses a group or a node that there is not.
    ///
    /// # Errors
    /// [`DirectError::NoMemcg`], [`DirectError::NoNode`].
    pub fn check_place(&self, memcg: u16, node: u8) -> Result<(), DirectError> {
        self.memcgs.get(memcg).ok_or(DirectError::NoMemcg(memcg))?;
        if node < self.nodes { Ok(()) } else { Err(DirectError::NoNode(node, self.nodes)) }
    }

    /// Swaps a folio of one or more pages out to the slots from `slot` on: into the pool as a whole, or not at all.
    ///
    /// # Errors
    /// [`DirectError`] for a slot, group, node or page that cannot be.
    pub fn store(&mut self, slot: u32, pages: &[Page<'_>], memcg: u16, node: u8) -> Result<Stored, DirectError> {
        self.check(slot, pages.len())?;
        self.check_place(memcg, node)?;
        let wrong = pages.iter().find_map(|page| match page {
            Page::Bytes(bytes) if bytes.len() != self.page_size => Some(bytes.len()),
            _ => None,
        });
        if let Some(got) = wrong.or(pages.is_empty().then_some(0)) {
            return Err(DirectError::PageSize { got, want: self.page_size });
        }
        let slots = || (slot..).take(pages.len());
        slots().for_each(|slot| drop(self.device.remove(&slot)));
        // The folio is in the swap cache meanwhile: what makes room for it does not write back what its slots held.
        let added: Vec<u32> = slots().filter(|&slot| self.swapcache.insert(slot)).collect();
        let stored = self.zswap_store(slot, pages, memcg, node);
        added.iter().for_each(|slot| _ = self.swapcache.remove(slot));
        if stored {
            self.stat[Vm::Zswpout] += pages.len() as u64;
            return Ok(Stored::Pool);
        }
        self.zswap.queue_shrink_work();
        slots().for_each(|slot| self.zswap.invalidate(slot, &self.memcgs, &self.frames));
        if !self.memcgs.writeback_enabled(memcg) {
            return Ok(Stored::Activated);
        }
        for (slot, page) in slots().zip(pages) {
            let bytes = match page {
                Page::Bytes(bytes) => Some((*bytes).into()),
                Page::Len(_) => None,
            };
            self.device.insert(slot, Written { memcg, node, bytes });
            self.stat[Vm::Pswpout] += 1;
        }
        Ok(Stored::Device)
    }

    /// `zswap_store`: whether every page is in the pool; if not, what there is is the caller's to invalidate.
    fn zswap_store(&mut self, slot: u32, pages: &[Page<'_>], memcg: u16, node: u8) -> bool {
        let begun = match self.zswap.store_begin(&self.memcgs, memcg) {
            Err(Refusal::Memcg) => match self.shrink_memcg(self.memcgs.online(memcg)) {
                Ok(()) => self.zswap.store_begin_charged(),
                Err(NotShrunk::Nothing | NotShrunk::Kept) => Err(Refusal::Memcg),
            },
            begun => begun,
        };
        let Ok(pool) = begun else { return false };
        let stored = (slot..).zip(pages).all(|(slot, page)| self.store_page(slot, pool, *page, memcg, node));
        self.zswap.store_end(pool);
        stored
    }

    fn store_page(&mut self, slot: u32, pool: u32, page: Page<'_>, memcg: u16, node: u8) -> bool {
        let (zswap, memcgs) = (&self.zswap, &self.memcgs);
        let (bytes, len) = match page {
            Page::Bytes(bytes) => {
                let len = self.codecs.get(zswap.codec(pool)).compress(bytes, &mut self.block);
                (Some(bytes), len.map(|len| len as u32))
            }
            Page::Len(len) => (None, len),
        };
        let block = match zswap.form(pool, len, memcgs.writeback_enabled(memcg)) {
            Form::Block(len) => Block { len, bytes: bytes.map(|_| &self.block[..len]), raw: false },
            Form::Raw => Block { len: self.page_size, bytes, raw: true },
            Form::Refused => return false,
        };
        zswap.hold(pool);
        let stored = zswap.store_page(slot, pool, block, memcgs, &self.frames).is_ok();
        match stored {
            true => zswap.store_publish(slot, slot, memcgs, memcg, node),
            false => zswap.store_end(pool),
        }
        stored
    }

    /// Reads a slot into `page` (a page; untouched without bytes), as a fault that does.
    ///
    /// # Errors
    /// [`DirectError::NoSlot`], [`DirectError::Decode`].
    pub fn load(&mut self, slot: u32, page: &mut [u8]) -> Result<Loaded, DirectError> {
        self.check(slot, 1)?;
        if self.zswap.holds(slot) {
            self.read(slot, page).map_err(|source| DirectError::Decode { slot, source })?;
            self.zswap.invalidate(slot, &self.memcgs, &self.frames);
            self.stat[Vm::Zswpin] += 1;
            return Ok(Loaded::Pool);
        }
        let Some(written) = self.device.get(&slot) else { return Ok(Loaded::Nowhere) };
        if let Some(bytes) = &written.bytes {
            page.copy_from_slice(bytes);
        }
        self.zswap.note_disk_swapin(&self.memcgs, written.memcg, written.node);
        self.stat[Vm::Pswpin] += 1;
        Ok(Loaded::Device)
    }

    fn read(&mut self, slot: u32, page: &mut [u8]) -> Result<(), DecodeError> {
        match self.zswap.current_pool().has_bytes() {
            true => self.zswap.load(slot, &mut self.codecs, &mut self.block, page),
            false => Ok(()),
        }
    }

    /// Frees `slots` slots from `slot` on: their contents are gone.
    ///
    /// # Errors
    /// [`DirectError::NoSlot`].
    pub fn invalidate(&mut self, slot: u32, slots: u32) -> Result<(), DirectError> {
        self.check(slot, slots as usize)?;
        for slot in slot..slot + slots {
            self.zswap.invalidate(slot, &self.memcgs, &self.frames);
            self.device.remove(&slot);
            self.swapcache.remove(&slot);
        }
        Ok(())
    }

    /// `zswap_writeback_entry`.
    fn write_back(&mut self, slot: u32) -> Outcome {
        if self.swapcache.contains(&slot) {
            return Outcome::InSwapCache;
        }
        let mut page = vec![0; self.page_size];
        if self.read(slot, &mut page).is_err() {
            return Outcome::Failed;
        }
        let (memcg, node) = self.zswap.place(slot);
        let bytes = self.zswap.current_pool().has_bytes().then(|| page.into());
        self.zswap.invalidate(slot, &self.memcgs, &self.frames);
        self.device.insert(slot, Written { memcg, node, bytes });
        self.stat[Vm::Zswpwb] += 1;
        self.stat[Vm::Pswpout] += 1;
        Outcome::Written
    }

    /// `shrink_memcg`: one entry of the group on each node.
    ///
    /// # Errors
    /// [`NotShrunk`].
    pub fn shrink_memcg(&mut self, memcg: u16) -> Result<(), NotShrunk> {
        let mut walk = ShrinkMemcg::new(memcg);
        loop {
            match walk.next(&self.zswap, &self.memcgs) {
                Next::Candidate { slot, .. } => {
                    let outcome = self.write_back(slot);
                    walk.note(&self.zswap, outcome);
                }
                Next::Again => {}
                Next::End(result) => return result,
            }
        }
    }

    /// The shrink worker's run, if a refused store has queued one; whether there was one.
    pub fn run_shrink_worker(&mut self) -> bool {
        if !self.zswap.take_shrink_work() {
            return false;
        }
        let mut round = Round::begin(&self.zswap);
        loop {
            let goes_on = match Round::next(&self.zswap, &self.memcgs) {
                Some(memcg) => {
                    let result = self.shrink_memcg(memcg);
                    round.shrunk(&self.zswap, result)
                }
                None => round.wrapped(&self.zswap),
            };
            if !goes_on {
                return true;
            }
        }
    }

    /// `zswap_shrinker_scan`: entries written back of up to `entries` looked at; `None`: `SHRINK_STOP`.
    ///
    /// # Errors
    /// [`DirectError::NoMemcg`], [`DirectError::NoNode`].
    pub fn shrinker_scan(&mut self, memcg: u16, node: u8, entries: u64) -> Result<Option<u64>, DirectError> {
        self.check_place(memcg, node)?;
        let mut scan = Scan::new(memcg, node, entries);
        loop {
            match scan.next(&self.zswap, &self.memcgs) {
                Next::Candidate { slot, .. } => {
                    let outcome = self.write_back(slot);
                    scan.note(&self.zswap, outcome);
                }
                Next::Again => {}
                Next::End(written) => return Ok(written),
            }
        }
    }
}
