//! The calls: what each takes, which actor it runs, and what it refuses.

use super::{Refused, Stepper};
use crate::lifecycle::{Change, Event, State, actor, flag};
use crate::reclaim::{Actor, App, Kswapd, ShrinkWorker, Task};

impl Stepper {
    /// kswapd takes the page on its way out until it is queued, or has ended otherwise.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn queue(&mut self, page: u32) -> Result<State, Refused> {
        let state = self.word(page)?.state();
        let mine = self.has(self.kswapd_of(page), page);
        if !mine && !matches!(state, State::Resident | State::Redirtied) {
            return Err(self.misplaced(page, "queue", "resident or redirtied"));
        }
        self.kswapd(page, None)
    }

    /// A later pass of kswapd looks at the page: what is stored, written or zero gives its frame up; one under writeback
    /// is activated.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn reclaim(&mut self, page: u32) -> Result<State, Refused> {
        use State::{Compressed, Compressing, Queued, ResidentSwapcache, WritingBack, WrittenBack, ZeroFilled};
        let state = self.word(page)?.state();
        let met = [Compressed, WrittenBack, ZeroFilled, ResidentSwapcache, Queued, Compressing, WritingBack];
        if !self.has(self.kswapd_of(page), page) && !met.contains(&state) {
            let needs = "stored, written or zero with its frame still held, or on its way there";
            return Err(self.misplaced(page, "reclaim", needs));
        }
        self.kswapd(page, None)
    }

    /// The page's kcompressd takes it from the head and finishes it.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn compress(&mut self, page: u32) -> Result<State, Refused> {
        self.word(page)?;
        match self.worker_of(page) {
            Some(id) => self.worker(id, page, None),
            None => Err(self.misplaced(page, "compress", "in a queue")),
        }
    }

    /// zswap's shrink worker sends a stored entry to the device; the device ends the write of a page on its way there.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn write_back(&mut self, page: u32) -> Result<State, Refused> {
        let state = self.word(page)?.state();
        if self.device_line().contains(&page) {
            return self.device(page, None);
        }
        let stored = state == State::CompressedFreed && self.sys.zswap().is_some();
        match stored || self.has(actor::SHRINK, page) {
            true => self.shrink(page, None),
            false => Err(self.misplaced(page, "write_back", "in zswap with its frame given up, or at the device")),
        }
    }

    /// The application touches the page; whether its contents are what they were (a system without bytes: true).
    ///
    /// # Errors
    /// [`Refused`]; [`Refused::Unread`] when the copy cannot be read.
    pub fn fault(&mut self, page: u32) -> Result<bool, Refused> {
        if self.word(page)?.state() == State::Freed {
            return Err(self.misplaced(page, "fault", "not freed"));
        }
        self.app(page, Task::Touch, None)?;
        // SAFETY: the stepper is the only thread and steps nobody while it looks.
        let now = unsafe { self.sys.contents.page(page) };
        Ok(now == self.original.get(page as usize).map(Vec::as_slice))
    }

    /// The page's owner exits.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn free(&mut self, page: u32) -> Result<State, Refused> {
        let state = self.word(page)?.state();
        match self.sys.table.rows_of(Event::Free, state).is_empty() {
            true => Err(self.misplaced(page, "free", "at rest")),
            false => self.app(page, Task::Exit, None),
        }
    }

    /// Fires `event`: where the law has no such edge, on the state word, which refuses it; else the actor whose business
    /// it is goes on until it has.
    ///
    /// # Errors
    /// [`Refused::Step`] with the violation; [`Refused::Otherwise`] when another event came; as the other calls.
    pub fn fire(&mut self, page: u32, event: Event) -> Result<State, Refused> {
        let state = self.word(page)?.state();
        if self.sys.table.rows_of(event, state).is_empty() {
            let refused = self.sys.must(&mut self.script, self.sys.folio(page), event, 0, Change::NONE, 0);
            self.violations += u64::from(refused.is_err());
            refused?;
            return Ok(state);
        }
        let wanted = Some(event);
        match event {
            Event::Fault | Event::Load | Event::SwapcacheHit => self.app(page, Task::Touch, wanted),
            Event::Free => self.app(page, Task::Exit, wanted),
            Event::Shrink => self.shrink(page, wanted),
            Event::Deactivate => self.age(page),
            Event::FreeSwap => Err(Refused::Nobody { page, state, event }),
            Event::Isolate => self.kswapd(page, wanted),
            _ => self.fire_by_whoever_has_it(page, event),
        }
    }

    fn fire_by_whoever_has_it(&mut self, page: u32, event: Event) -> Result<State, Refused> {
        let wanted = Some(event);
        use Event::{Compress, EndWriteback, Redirty, Reject, Rotate, Store, Write};
        let at_worker = matches!(event, Compress | Store | Reject | Redirty | Write);
        let at_device = matches!(event, EndWriteback | Redirty | Rotate);
        match self.worker_of(page) {
            Some(id) if at_worker => return self.worker(id, page, wanted),
            _ if at_device && self.device_line().contains(&page) => return self.device(page, wanted),
            _ => {}
        }
        if self.has(actor::APP, page) {
            return self.app(page, Task::Touch, wanted);
        }
        if self.has(actor::SHRINK, page) {
            return self.shrink(page, wanted);
        }
        match self.worker_to_rotate(page) {
            Some(id) if event == Rotate => self.worker(id, page, wanted),
            _ => self.kswapd(page, wanted),
        }
    }

    fn kswapd(&mut self, page: u32, wanted: Option<Event>) -> Result<State, Refused> {
        let id = self.kswapd_of(page);
        let word = self.word(page)?;
        if !self.has(id, page) {
            if let Some(event) = wanted.filter(|_| self.sys.table.rows_of(Event::Isolate, word.state()).is_empty()) {
                return Err(Refused::Nobody { page, state: word.state(), event });
            }
            if word.has(flag::WRITEBACK | flag::ACTIVE) {
                return Err(self.misplaced(page, "reclaim", "not under writeback on the active list already"));
            }
            if let Some(by) = self.holder(page).filter(|_| !word.has(flag::LRU)) {
                return Err(self.busy(page, by, page));
            }
        }
        let i = self.give(id, page, |sys| Actor::Kswapd(Kswapd::only(sys, page)))?;
        self.run(i, page, wanted)
    }

    /// kswapd ages a page of the active list, and has it in hand then.
    fn age(&mut self, page: u32) -> Result<State, Refused> {
        let (id, word, event) = (self.kswapd_of(page), self.word(page)?, Event::Deactivate);
        if !word.has(flag::LRU | flag::ACTIVE) || self.has(id, page) {
            return Err(Refused::Nobody { page, state: word.state(), event });
        }
        let i = self.give(id, page, |sys| Actor::Kswapd(Kswapd::aging(sys, page)))?;
        self.run(i, page, Some(event))
    }

    fn app(&mut self, page: u32, task: Task, wanted: Option<Event>) -> Result<State, Refused> {
        if let Some(by) = self.holder(page).filter(|_| task == Task::Exit) {
            return Err(self.busy(page, by, page));
        }
        let i = self.give(actor::APP, page, |_| Actor::App(App::new(task, [page].into())))?;
        self.run_reading(i, page, wanted)
    }

    fn shrink(&mut self, page: u32, wanted: Option<Event>) -> Result<State, Refused> {
        if self.sys.zswap().is_none() {
            return Err(self.misplaced(page, "write_back", "in zswap"));
        }
        let i = self.give(actor::SHRINK, page, |_| Actor::Shrink(ShrinkWorker::only(page)))?;
        self.run_reading(i, page, wanted)
    }

    fn worker(&mut self, id: u16, page: u32, wanted: Option<Event>) -> Result<State, Refused> {
        let ahead = before(self.queue_line(usize::from(id & 0xff)), page);
        self.run_in_line(id, page, ahead, wanted)
    }

    fn device(&mut self, page: u32, wanted: Option<Event>) -> Result<State, Refused> {
        let ahead = before(self.device_line(), page);
        self.run_in_line(actor::DEVICE, page, ahead, wanted)
    }

    fn run_in_line(&mut self, id: u16, page: u32, ahead: Vec<u32>, wanted: Option<Event>) -> Result<State, Refused> {
        if ahead.is_empty() {
            return self.run(self.hand(id), page, wanted);
        }
        Err(Refused::NotAtHead { page, state: self.word(page)?.state(), actor: id, ahead })
    }
}

/// The pages of `line` before `page`.
fn before(line: Vec<u32>, page: u32) -> Vec<u32> {
    line.into_iter().take_while(|&other| other != page).collect()
}
