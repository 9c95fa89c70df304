//! Somebody with a shell: turns one knob, once, whenever the driver lets it.

use super::RAN;
use crate::codec::{CodecName, CodecSpec};
use crate::design::choice;
use crate::system::{Ctx, Outcome, System};
use crate::trace::system as events;
use crate::wait::WaitKey;

choice! {
    /// What is turned.
    Toggle {
        /// memory.zswap.writeback of every group, to the other value.
        Writeback = "writeback",
        /// memory.zswap.max of every group but the root, to 0.
        ZswapMax = "zswap_max",
        /// The queues' depth, to 0 (off), one queue after the other.
        Depth = "depth",
        /// zswap's compressor, so that new stores go to another pool.
        Pool = "pool",
        /// `kthread_stop` of the first kcompressd thread.
        Stop = "stop",
    }
}

/// One hand at one knob.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Admin {
    toggle: Toggle,
    /// Parts of it that are done.
    done: u16,
}

impl Admin {
    /// Who turns `toggle`.
    pub fn new(toggle: Toggle) -> Self {
        Self { toggle, done: 0 }
    }

    /// One step: a knob, or the end.
    pub fn step(&mut self, sys: &System, ctx: &mut Ctx) -> Outcome {
        let part = usize::from(self.done);
        let more = match self.toggle {
            Toggle::Writeback => part < sys.memcgs.iter().count() && flip_writeback(sys, ctx, part as u16),
            Toggle::ZswapMax => part + 1 < sys.memcgs.iter().count() && forbid_zswap(sys, ctx, part as u16 + 1),
            Toggle::Depth => part < sys.queues.len() && switch_off(sys, ctx, part as u16),
            Toggle::Pool => part == 0 && switch_pool(sys),
            Toggle::Stop => part == 0 && !sys.queues.is_empty() && kthread_stop(sys),
        };
        self.done += 1;
        if more { RAN } else { Outcome::Done }
    }
}

fn flip_writeback(sys: &System, ctx: &mut Ctx, memcg: u16) -> bool {
    if let Some(group) = sys.memcgs.get(memcg) {
        crate::sync::boundary();
        let enabled = !group.writeback();
        group.set_writeback(enabled);
        ctx.log.system(ctx.actor, events::WRITEBACK_KNOB, u64::from(memcg) << 32 | u64::from(enabled));
    }
    true
}

fn forbid_zswap(sys: &System, ctx: &mut Ctx, memcg: u16) -> bool {
    if let Some(group) = sys.memcgs.get(memcg) {
        crate::sync::boundary();
        group.set_zswap_max(0);
        ctx.log.system(ctx.actor, events::ZSWAP_MAX_KNOB, u64::from(memcg) << 48);
    }
    true
}

fn switch_off(sys: &System, ctx: &mut Ctx, queue: u16) -> bool {
    crate::sync::boundary();
    sys.set_depth(queue, 0).expect("0 is within every capacity");
    ctx.log.system(ctx.actor, events::RESIZE, u64::from(queue) << 32);
    true
}

fn switch_pool(sys: &System) -> bool {
    let Some(zswap) = sys.zswap() else { return false };
    let other = if zswap.compressor().name() == CodecName::Zstd { CodecName::Lz4 } else { CodecName::Zstd };
    // Eight pools at a time are the limit, of which one switch makes the second.
    zswap.set_compressor(CodecSpec::new(other, None).expect("it has a default level")).is_ok()
}

/// Nothing more is queued; the thread is told to stop and woken.
fn kthread_stop(sys: &System) -> bool {
    crate::sync::boundary();
    sys.stop_kthread(0);
    sys.queues[0].close();
    sys.wait.wake_all(WaitKey::Queue(0));
    sys.wait.wake_all(WaitKey::QueueSpace(0));
    true
}
