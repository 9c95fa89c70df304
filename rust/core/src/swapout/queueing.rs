//! The queue's side of `swap_writeout`: choosing a queue, pushing, and what a full one means.

use super::{Pc, Progress, RAN, Swapout, Written};
use crate::design::{EnqueueAt, Hold, OnComplete, OnFull, Policy, StoreKind, Tag};
use crate::folio::Folio;
use crate::lifecycle::{Change, Event, flag};
use crate::queue::{FolioQueue, Pop, ReserveError};
use crate::stats::Vm;
use crate::system::{Ctx, Outcome, StepResult, System, mark};
use crate::tagged::TaggedFolio;
use crate::trace::aux;
use crate::units::NIL;
use crate::wait::WaitKey;

/// Whether the first half of `zswap_store` was done for a folio out of a queue: what the tag is for.
pub fn was_begun(sys: &System, entry: TaggedFolio) -> bool {
    if sys.config.store == StoreKind::Zram {
        return false;
    }
    match sys.design().tag {
        Tag::Bit0 => entry.is_zswap() && sys.design().checks_before(),
        Tag::EntryLookup => {
            let slot = sys.folio(sys.page_of(entry)).slot();
            sys.zswap().is_some_and(|zswap| zswap.is_expected(slot))
        }
        Tag::None => sys.design().enqueue_at == EnqueueAt::ZswapStore && sys.design().checks_before(),
    }
}

/// The number of the queue to try first for `folio`.
#[inline]
pub(super) fn first_queue(sys: &System, ctx: &Ctx, folio: &Folio) -> StepResult<u16> {
    let placement = sys.decide(folio, ctx.actor, |policy, view| policy.placement(view))?;
    // In batches: what a worker takes at once are neighbours, in memory and on the LRU list, and another worker's pages are not among them.
    let len = |queue: usize| sys.queues[queue].len().div_ceil(sys.design().batch.into());
    Ok(placement.first(folio.node, || sys.next_turn(), sys.queues.len(), len) as u16)
}

impl Swapout {
    /// Queues the folio: the state changes between the reservation and the publication, so that no consumer can see the
    /// one without the other, and a violation leaves a tombstone.
    pub(super) fn push(&mut self, sys: &System, ctx: &mut Ctx, first: u16, tried: u16) -> StepResult<Progress> {
        let number = (first + tried) % sys.queues.len() as u16;
        let queue = &sys.queues[usize::from(number)];
        let folio = sys.folio(self.folio);
        let asked = |policy: &dyn Policy, view| Ok((policy.placement(view)?, policy.complete(view)?));
        let (placement, completion) = sys.decide(folio, ctx.actor, asked)?;
        let mut reservation = match queue.reserve(1) {
            Ok(reservation) => reservation,
            Err(ReserveError::Full) if placement.spills() && usize::from(tried) + 1 < sys.queues.len() => {
                self.pc = Pc::Push { first, tried: tried + 1 };
                return Ok(RAN);
            }
            Err(full) => return self.full(sys, ctx, number, full),
        };
        let position = reservation.position();
        if sys.design().extra_ref {
            folio.get();
        }
        if sys.design().tag == Tag::EntryLookup
            && let Some(zswap) = sys.zswap()
        {
            zswap.expect(folio.slot(), self.begun);
        }
        let change = holding(sys.design().hold, completion);
        sys.must(ctx, folio, Event::Queue, 0, change, aux::ticket(number, position))?;
        reservation.write(0, sys.entry(folio));
        sys.depart(self.nr_pages());
        let _ = reservation.publish();
        wake_for_batch(sys, number);
        ctx.stat[Vm::KcompressdQueued] += 1;
        ctx.note_ticket(aux::ticket(number, position), mark::QUEUED);
        Ok(self.pushed(sys))
    }

    fn pushed(&mut self, sys: &System) -> Progress {
        match self.behind.take() {
            // The popped head is finished now; `behind` turns round.
            Some((head, begun)) => {
                self.become_head(sys, head, begun, true);
                RAN
            }
            None => Progress::Done(Written::Queued),
        }
    }

    fn full(&mut self, sys: &System, ctx: &mut Ctx, number: u16, why: ReserveError) -> StepResult<Progress> {
        if let Some((head, begun)) = self.behind.take() {
            // Another producer took the room that the popped head had left: both are finished here, the older first.
            self.become_head(sys, head, begun, false);
            return Ok(RAN);
        }
        ctx.stat[Vm::KcompressdFull] += 1;
        let on_full = match why {
            ReserveError::Closed => OnFull::SyncNew,
            ReserveError::Full if sys.queues[usize::from(number)].depth() == 0 => OnFull::SyncNew, // It is off.
            ReserveError::Full => sys.decide(sys.folio(self.folio), ctx.actor, |policy, view| policy.full(view))?,
        };
        match on_full {
            OnFull::SyncNew => self.go_sync(sys, ctx).map(|()| RAN),
            OnFull::SyncHead => {
                self.pc = Pc::PopHead { queue: number };
                Ok(RAN)
            }
            OnFull::ToDevice => {
                self.drop_pool_reference(sys);
                self.pc = Pc::ToDevice;
                Ok(RAN)
            }
            OnFull::Wait => Ok(self.wait_for_room(sys, number)),
        }
    }

    fn wait_for_room(&self, sys: &System, number: u16) -> Progress {
        let queue = &sys.queues[usize::from(number)];
        Progress::Step(Outcome::wait_unless(&sys.wait, WaitKey::QueueSpace(number), || has_room(queue)))
    }

    /// Where a folio goes on that is not queued.
    fn sync_start(&self, sys: &System) -> Pc {
        match (sys.config.store, self.begun) {
            (StoreKind::Zswap, false) => Pc::Begin { then_queue: false },
            _ => Pc::Start,
        }
    }

    /// The producer goes on itself: zram has no first half, and zswap's may be done.
    pub(super) fn go_sync(&mut self, sys: &System, ctx: &mut Ctx) -> StepResult<()> {
        if self.begun { self.start(sys, ctx) } else { self.begin(sys, ctx, false) }
    }

    /// SyncHead: the oldest entry is taken out; when somebody else is at it, the new folio is finished instead.
    pub(super) fn pop_head(&mut self, sys: &System, ctx: &mut Ctx, number: u16) -> StepResult<Progress> {
        crate::sync::boundary();
        let queue = &sys.queues[usize::from(number)];
        let popped = queue.claim().map(|mut consumer| consumer.pop());
        let Some(Pop::Item { value, position }) = popped else {
            self.pc = self.sync_start(sys);
            return Ok(RAN);
        };
        ctx.stat[Vm::KcompressdHead] += 1;
        let head = sys.page_of(value);
        self.behind = Some((head, was_begun(sys, value)));
        self.ticket = aux::ticket(number, position);
        self.pc = Pc::Push { first: number, tried: 0 };
        Ok(RAN)
    }

    /// Turns to the popped head; the new folio waits behind it, `pushed` or not.
    fn become_head(&mut self, sys: &System, head: u32, begun: bool, pushed: bool) {
        let (behind, nr_pages) = (Some((self.folio, pushed)), sys.nr_pages(head) as u16);
        *self = Self { folio: head, nr_pages, pc: Pc::Start, queued: true, begun, behind, ..*self };
    }

    /// After a folio out of a queue: the reference taken at queueing goes.
    pub(super) fn put(&mut self, sys: &System, written: Written) -> Progress {
        sys.folio(self.folio).put();
        self.pc = Pc::Next(written);
        RAN
    }

    /// After a popped head: back to the folio behind it.
    pub(super) fn next(&mut self, sys: &System, ctx: &mut Ctx, written: Written) -> StepResult<Progress> {
        let Some((new, pushed)) = self.behind.take() else { return Ok(Progress::Done(written)) };
        if written == Written::Stored {
            sys.rotate(ctx, sys.folio(self.folio).node, &[self.folio])?;
        }
        sys.arrive(sys.node(self.folio), self.nr_pages());
        if pushed {
            return Ok(Progress::Done(Written::Queued));
        }
        *self = Self { begun: sys.folio(new).pool() != NIL, ..Self::writeout(new, sys.nr_pages(new)) };
        self.pc = self.sync_start(sys);
        Ok(RAN)
    }
}

/// Whether a producer need not wait: there is room, or the queue is off or closed.
fn has_room(queue: &FolioQueue) -> bool {
    let depth = queue.depth();
    queue.len() < depth || depth == 0 || queue.is_closed()
}

/// A worker that takes a batch is woken for a batch; [`System::ring`] wakes it for the rest of one.
#[inline]
fn wake_for_batch(sys: &System, number: u16) {
    let (key, batch) = (WaitKey::Queue(number), usize::from(sys.design().batch));
    if batch == 1 {
        sys.wait.wake_one(key);
    } else if sys.queues[usize::from(number)].len() >= batch {
        sys.wait.wake_one_early(key); // `ring` follows.
    }
}

/// What changes of a folio that a design holds so while it waits.
fn holding(hold: Hold, completion: OnComplete) -> Change {
    let hold = match hold {
        Hold::Locked => Change::NONE,
        Hold::Writeback => Change::flags(flag::WRITEBACK, flag::LOCKED),
    };
    let clear = if completion == OnComplete::Rotate { hold.clear } else { hold.clear | flag::RECLAIM };
    Change { clear, ..hold }
}
