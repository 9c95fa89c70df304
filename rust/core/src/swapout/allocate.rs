//! Memory for a compressed page in the store, or none: the page is then compressed again after reclaim, or refused.

use super::{Pc, Progress, RAN, Swapout};
use crate::design::{OnReject, StoreKind};
use crate::system::contents::Compressed;
use crate::system::{Ctx, Outcome, StepResult, Store, System, Work};
use crate::units::NIL;
use crate::zram::{Data, NoMemory, Zram};
use crate::zsmalloc::{Exhausted, Frames, Handle};
use crate::zswap::{Block, Form, Zswap};

/// There is no memory for a page's object.
#[derive(Clone, Copy, Debug, Default)]
struct Starved {
    /// The second try of `zs_malloc` may wait, for a zspage of so many pages.
    slow_path: Option<u32>,
}

/// What follows the search for a page's object.
type Allocated = Result<Pc, Starved>;

/// The first kernel whose zram may wait for memory with its compression stream in hand.
const PREEMPTIBLE_STREAM: (u16, u16) = (6, 15);

/// Requests that `zs_malloc`'s caller makes of a starved pool: zram did without and with the right to wait.
fn requests(sys: &System) -> u8 {
    let twice = sys.config.store == StoreKind::Zram && sys.config.kernel < PREEMPTIBLE_STREAM;
    1 + u8::from(twice)
}

/// After zram's reclaim under GFP_NOIO: it had let its stream go, and compresses again what it does not store as it is.
fn after_stall(sys: &System, compressed: Compressed) -> Pc {
    let huge = sys.current_pool().table().huge_class_size();
    let raw = compressed.len.is_none_or(|len| len as usize >= huge);
    match raw || sys.config.kernel >= PREEMPTIBLE_STREAM {
        true => Pc::Allocate { compressed },
        false => Pc::Compress,
    }
}

impl Swapout {
    pub(super) fn allocate(&mut self, sys: &System, ctx: &mut Ctx, compressed: Compressed) -> StepResult<Progress> {
        let frames = sys.budget(ctx);
        let next = match ctx.fails() {
            true => self.allocate_from(sys, ctx, compressed, &Exhausted(&frames)),
            false => self.allocate_from(sys, ctx, compressed, &frames),
        };
        let (pc, progress) = match next {
            Ok(pc) => {
                sys.heed_boost();
                (pc, RAN)
            }
            Err(Starved { slow_path: Some(pages) }) => (after_stall(sys, compressed), Progress::Stalled { pages }),
            Err(_) if sys.mm.is_some() => (Pc::Refused, Progress::Step(Outcome::Ran(Work::AllocFailed(requests(sys))))),
            Err(_) => (Pc::Refused, RAN),
        };
        self.pc = pc;
        Ok(progress)
    }

    fn allocate_from(&self, sys: &System, ctx: &Ctx, compressed: Compressed, frames: &impl Frames) -> Allocated {
        match &sys.store {
            Store::Zram(zram) => self.allocate_zram(sys, ctx, zram, compressed, frames),
            Store::Zswap(zswap) => self.allocate_zswap(sys, ctx, zswap, compressed, frames),
        }
    }

    fn allocate_zram(&self, sys: &System, ctx: &Ctx, zram: &Zram, of: Compressed, frames: &impl Frames) -> Allocated {
        let data = match of.same {
            Some(word) => Data::Same(word),
            None => {
                let len = of.len.map(|len| len as usize);
                // SAFETY: a store's folio is locked, under writeback or queued until this swapout fires its end.
                let page = unsafe { sys.contents.page(self.page()) };
                Data::Block { len, bytes: page.and(len).map(|len| &ctx.block[..len]), page }
            }
        };
        let may_reclaim = sys.mm.is_some() && !ctx.memalloc;
        match zram.try_write(sys.folio(self.page()).slot(), data, frames) {
            Ok(len) => Ok(Pc::Store { len: len as u32 }),
            Err(NoMemory { beyond: Some(beyond), .. }) => {
                zram.note_failed_write();
                Ok(Pc::Undo { beyond })
            }
            Err(NoMemory { pages, .. }) if may_reclaim => Err(Starved { slow_path: Some(pages as u32) }),
            Err(_) => {
                zram.note_failed_write();
                Err(Starved::default())
            }
        }
    }

    pub(super) fn undo(&mut self, sys: &System, ctx: &Ctx, beyond: Handle) -> Progress {
        if let Store::Zram(zram) = &sys.store {
            zram.undo(beyond, &sys.budget(ctx));
        }
        self.pc = Pc::Refused;
        RAN
    }

    fn allocate_zswap(
        &self,
        sys: &System,
        ctx: &Ctx,
        zswap: &Zswap,
        of: Compressed,
        frames: &impl Frames,
    ) -> Allocated {
        let Some(block) = self.block(sys, ctx, zswap, of) else { return Ok(Pc::Refused) };
        let folio = sys.folio(self.folio);
        let (slot, pool) = (sys.folio(self.page()).slot(), folio.pool());
        zswap.store_page(slot, pool, block, &sys.memcgs, frames).map_err(|_| Starved::default())?;
        // The reference is the entry's now; each later page of the folio brings one.
        match self.sub + 1 < self.nr_pages {
            true => zswap.hold(pool),
            false => folio.set_pool(NIL),
        }
        Ok(Pc::Publish { len: block.len as u32 })
    }

    /// What goes into zswap's pool.
    fn block<'a>(&self, sys: &'a System, ctx: &'a Ctx, zswap: &Zswap, compressed: Compressed) -> Option<Block<'a>> {
        let keep = self.queued && sys.design().on_reject == OnReject::KeepRaw;
        let writeback_enabled = sys.memcgs.writeback_enabled(sys.folio(self.folio).memcg);
        // SAFETY: a store's folio is locked, under writeback or queued until this swapout fires its end.
        let page = unsafe { sys.contents.page(self.page()) };
        match zswap.form(sys.folio(self.folio).pool(), compressed.len, keep || writeback_enabled) {
            Form::Block(len) => Some(Block { len, bytes: page.map(|_| &ctx.block[..len]), raw: false }),
            Form::Raw => Some(Block { len: sys.config.page_size, bytes: page, raw: true }),
            Form::Refused => None,
        }
    }
}
