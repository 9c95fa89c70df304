//! What one actor carries from step to step, and what a step tells its driver.

use crate::codec::{CodecSpec, Codecs, DecodeError};
use crate::design::PolicyError;
use crate::lifecycle::{Event, FlagSet, ProtocolViolation, actor};
use crate::stats::VmStat;
use crate::swap::DeviceError;
use crate::trace::Log;
use crate::wait::{Ticket, WaitKey, WaitTable};
use std::num::NonZeroU32;

/// Work that takes time; what it costs is the driver's business. Its tag is as wide as what follows: an outcome is handed on
/// several times a step, and a CPU stalls where it reads together what was written in smaller pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Work {
    /// Looking at one folio, or moving it between lists.
    Scan,
    /// Isolating while so many folios are passed over: a look, and for each, which is moved aside and not looked at, a part of one.
    PassOver(u16),
    /// Taking a page out of its page tables (`try_to_unmap`).
    Unmap,
    /// Entering and leaving a page fault, its look-ups included.
    Fault,
    /// Clearing a new page.
    ZeroPage,
    /// The application's own reading or writing of a page, in user mode.
    Touch,
    /// The application computes for so many nanoseconds, in user mode.
    Think(u32),
    /// Testing a page for zero.
    ZeroTest(u32),
    /// Compressing a page.
    Compress(u32),
    /// Decompressing a page.
    Decompress(u32),
    /// Writing a page to the device.
    DeviceWrite(u32),
    /// Reading a page from the device.
    DeviceRead(u32),
    /// So many requests to the page allocator in vain, each through its slow path.
    AllocFailed(u8),
    /// A state change or a short critical section.
    Commit,
}

/// What an actor waits for, and how long at most: 16 bytes, as [`Outcome`], which every step hands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// What it waits for.
    pub key: WaitKey,
    /// Drawn before its last look at the condition.
    pub ticket: Ticket,
    /// Nanoseconds after which the driver cancels the ticket and says so in [`Ctx::timed_out`]; `None`: for ever.
    pub timeout_ns: Option<NonZeroU32>,
}

/// What a step tells a driver that measures or schedules, besides its outcome: bits, taken after each step.
pub mod mark {
    /// The touch of a page begins with this step, unless it has begun already.
    pub const TOUCH_BEGINS: u8 = 1;
    /// The touch of a page ends with this step.
    pub const TOUCH_ENDS: u8 = 2;
    /// The actor may give its CPU up after this step: `cond_resched()`, or the return to user mode.
    pub const COND_RESCHED: u8 = 4;
    /// A page was queued, with [`super::Ctx::ticket`].
    pub const QUEUED: u8 = 8;
    /// The compression of the page that was queued with [`super::Ctx::ticket`] begins.
    pub const TAKEN: u8 = 16;
    /// The compression of a page that was never queued begins.
    pub const DIRECT: u8 = 32;
}

/// What a step was.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It did this work; the actor goes on.
    Ran(Work),
    /// The actor waits.
    Wait(Waiting),
    /// The actor runs again after so many nanoseconds, whatever happens meanwhile.
    Sleep(u64),
    /// The actor has finished.
    Done,
}

impl Outcome {
    /// Draws a ticket for `key`, looks once more whether `ready`, and waits only if not.
    pub fn wait_unless(table: &WaitTable, key: WaitKey, ready: impl FnOnce() -> bool) -> Self {
        let ticket = table.prepare(key);
        if ready() {
            table.cancel(key, ticket);
            return Self::Ran(Work::Commit);
        }
        Self::Wait(Waiting { key, ticket, timeout_ns: None })
    }
}

/// What a step returns. The error is boxed: it is large and rare, and as it is it would send every outcome through memory.
pub type StepResult<T = Outcome> = Result<T, Box<StepError>>;

const _: () = assert!(size_of::<StepResult>() == 16);

/// Why a step failed. The run ends; nothing is lost: the system stays as the step before left it.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The law forbids it.
    #[error(transparent)]
    Violation(#[from] ProtocolViolation),
    /// A page that the actor owns was held by somebody else.
    #[error("page {page}: {} refused, flags {}", .event.name(), FlagSet(*.flags))]
    Held {
        /// The page.
        page: u32,
        /// The event.
        event: Event,
        /// Its flags.
        flags: u16,
    },
    /// The device failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// A scripted policy failed.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// A stored block did not come back.
    #[error("page {page}: {source}")]
    Decode {
        /// The page.
        page: u32,
        /// What the decoder said.
        source: DecodeError,
    },
}

impl From<Box<StepError>> for StepError {
    fn from(boxed: Box<Self>) -> Self {
        *boxed
    }
}

impl From<ProtocolViolation> for Box<StepError> {
    #[cold]
    fn from(violation: ProtocolViolation) -> Self {
        Self::new(violation.into())
    }
}

impl From<PolicyError> for Box<StepError> {
    #[cold]
    fn from(error: PolicyError) -> Self {
        Self::new(error.into())
    }
}

/// What a step can be made to fail at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The compressor fails.
    Codec,
    /// zs_malloc finds no memory.
    Alloc,
    /// The device fails a write.
    DeviceWrite,
}

/// One actor's belongings.
pub struct Ctx {
    /// Who it is ([`crate::lifecycle::actor`]).
    pub actor: u16,
    /// Its events.
    pub log: Log,
    /// Its counters.
    pub stat: VmStat,
    /// Events it fired, by kind.
    pub by_event: [u64; Event::ALL.len()],
    /// Its compressors.
    pub codecs: Codecs,
    /// Where it compresses to: two pages, as zswap's per-CPU buffer.
    pub block: Vec<u8>,
    /// Device and decode errors that cost no page: each is accounted for by its event.
    pub errors: Vec<StepError>,
    /// Pages that came back with other contents than the application had filled them with.
    pub mismatched: Vec<u32>,
    /// Pages whose work it has finished, for the driver's clock.
    pub pages_done: u64,
    /// The next step is to fail at its [`Fault`]; the step takes it ([`Ctx::fails`]).
    pub inject: bool,
    /// Whether the wait before this step ended by its time-out: set by the driver, for that step only.
    pub timed_out: bool,
    /// Steps that it may take after this one before its driver looks: set by the driver, counted by [`Ctx::goes_on`].
    pub ahead: u64,
    /// What its last step told the driver ([`mark`]).
    pub marks: u8,
    /// The ticket of [`mark::QUEUED`] and [`mark::TAKEN`], as a trace has it.
    pub ticket: u64,
    /// Every ticket that it noted, with its mark, where the driver asks for them after the run: [`mark::DIRECT`] has none, 0.
    pub tickets: Option<Vec<(u64, u8)>>,
    /// What its events added to, and took from, the number of pages whose copy is in the store while their frame is held.
    pub held_twice: i64,
    /// The CPU it runs on, set by the driver before each step: whose per-CPU lists it uses.
    pub cpu: u16,
    /// PF_MEMALLOC: it may use the reserves and does not reclaim. Set by the actor.
    pub memalloc: bool,
    /// Whether it is stalled for want of memory (`psi_memstall_enter` to `psi_memstall_leave`).
    pub memstall: bool,
}

impl std::fmt::Debug for Ctx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ctx").field("actor", &self.actor).field("stat", &self.stat).finish_non_exhaustive()
    }
}

impl Ctx {
    /// `current_is_kswapd()`.
    #[inline]
    pub fn current_is_kswapd(&self) -> bool {
        actor::kind(self.actor) == actor::KSWAPD
    }

    /// PF_KTHREAD, of those that reclaim: no throttle but kswapd's own makes one wait.
    #[inline]
    pub fn is_kthread(&self) -> bool {
        matches!(actor::kind(self.actor), actor::KSWAPD | actor::KCOMPRESSD | actor::SHRINK)
    }

    /// Belongings of `actor`, its compressor of `codec` open.
    pub fn new(actor: u16, codec: CodecSpec, page_size: usize, log: Log) -> Self {
        let mut codecs = Codecs::default();
        codecs.get(codec);
        Self {
            actor,
            log,
            stat: VmStat::default(),
            by_event: [0; Event::ALL.len()],
            codecs,
            block: vec![0; 2 * page_size],
            errors: Vec::new(),
            mismatched: Vec::new(),
            pages_done: 0,
            inject: false,
            timed_out: false,
            ahead: 0,
            marks: 0,
            ticket: 0,
            tickets: None,
            held_twice: 0,
            cpu: 0,
            memalloc: false,
            memstall: false,
        }
    }

    /// Whether this step is to fail, once.
    pub fn fails(&mut self) -> bool {
        std::mem::take(&mut self.inject)
    }

    /// Whether the actor takes the next step at once, its driver having no look at this one. Asked by the loop that is nearest to the
    /// steps, so that nothing is handed on between two of them.
    #[inline(always)]
    pub fn goes_on(&mut self) -> bool {
        let Some(ahead) = self.ahead.checked_sub(1) else { return false };
        (self.ahead, self.timed_out) = (ahead, false);
        true
    }

    /// Notes for the driver what became of a ticket ([`mark::QUEUED`], [`mark::TAKEN`]), or that there is none ([`mark::DIRECT`]).
    #[inline]
    pub fn note_ticket(&mut self, ticket: u64, mark: u8) {
        self.ticket = ticket;
        self.marks |= mark;
        if let Some(tickets) = &mut self.tickets {
            tickets.push((ticket, mark));
        }
    }
}
