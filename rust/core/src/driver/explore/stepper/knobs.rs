//! What a script may turn between two calls: a group's and zswap's parameters, and the queues' depths.

use super::{Refused, Stepper};
use crate::codec::CodecSpec;
use crate::trace::system as events;
use crate::zswap::Zswap;

impl Stepper {
    /// Sets memory.zswap.writeback of a group.
    ///
    /// # Errors
    /// [`Refused::NoMemcg`].
    pub fn set_writeback(&mut self, memcg: u16, enabled: bool) -> Result<(), Refused> {
        self.sys.memcgs.get(memcg).ok_or(Refused::NoMemcg(memcg))?.set_writeback(enabled);
        self.note(events::WRITEBACK_KNOB, u64::from(memcg) << 32 | u64::from(enabled));
        Ok(())
    }

    /// Sets the depth of a queue, folios, up to its capacity.
    ///
    /// # Errors
    /// [`Refused::NoQueue`], [`Refused::Queue`].
    pub fn set_depth(&mut self, queue: usize, depth: usize) -> Result<(), Refused> {
        let queues = self.sys.queues.len();
        let number = u16::try_from(queue).ok().filter(|_| queue < queues);
        self.sys.set_depth(number.ok_or(Refused::NoQueue { queue, queues })?, depth)?;
        self.note(events::RESIZE, (queue as u64) << 32 | depth as u64);
        Ok(())
    }

    /// Sets memory.zswap.max of a group, bytes.
    ///
    /// # Errors
    /// [`Refused::NoMemcg`].
    pub fn set_zswap_max(&mut self, memcg: u16, bytes: u64) -> Result<(), Refused> {
        self.sys.memcgs.get(memcg).ok_or(Refused::NoMemcg(memcg))?.set_zswap_max(bytes);
        self.note(events::ZSWAP_MAX_KNOB, u64::from(memcg) << 48 | bytes.min((1 << 48) - 1));
        Ok(())
    }

    /// Sets zswap's `compressor`: new stores go to a pool of its own.
    ///
    /// # Errors
    /// [`Refused::NoZswap`], [`Refused::Pools`].
    pub fn set_compressor(&mut self, codec: CodecSpec) -> Result<(), Refused> {
        Ok(self.zswap()?.set_compressor(codec)?)
    }

    /// Sets zswap's `max_pool_percent` and `accept_threshold_percent`, each 0 to 100 (the caller checks).
    ///
    /// # Errors
    /// [`Refused::NoZswap`].
    pub fn set_pool_limits(&mut self, max_pool_percent: u64, accept_threshold_percent: u64) -> Result<(), Refused> {
        let zswap = self.zswap()?;
        zswap.set_max_pool_percent(max_pool_percent);
        zswap.set_accept_threshold_percent(accept_threshold_percent);
        Ok(())
    }

    /// Spoils the page's block in zswap's pool: it no longer decodes.
    ///
    /// # Errors
    /// [`Refused::NoPage`], [`Refused::NoZswap`], and [`Refused::Misplaced`] for a page without a block there.
    pub fn spoil(&mut self, page: u32) -> Result<(), Refused> {
        self.word(page)?;
        match self.zswap()?.spoil(self.sys.folio(page).slot()) {
            true => Ok(()),
            false => Err(self.misplaced(page, "spoil", "compressed in zswap")),
        }
    }

    fn zswap(&self) -> Result<&Zswap, Refused> {
        self.sys.zswap().ok_or(Refused::NoZswap)
    }
}
