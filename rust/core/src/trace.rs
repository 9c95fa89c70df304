//! The per-actor event log: 32-byte records, the format of a trace file (docs/formats.md).

use crate::lifecycle::Fired;

/// The folio number of a system event (a knob turned, a queue resized, an error, a phase).
pub const SYSTEM: u32 = u32::MAX;

/// One record, laid out as in the file (little-endian).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Time in nanoseconds since the run began; one reading a batch of steps under the live driver.
    pub t_ns: u64,
    /// What the event needs: see [`aux`].
    pub aux: u64,
    /// The page, or [`SYSTEM`].
    pub folio: u32,
    /// The page's event number, from 0.
    pub seq: u32,
    /// Who did it ([`crate::lifecycle::actor`]).
    pub actor: u16,
    /// The page's flags afterwards.
    pub flags: u16,
    /// The event, or a [`system`] event.
    pub event: u8,
    /// The state before.
    pub from: u8,
    /// The state after.
    pub to: u8,
    /// The guard bits that the row read.
    pub guards: u8,
}

const _: () = assert!(size_of::<Record>() == 32);

/// Events with no page; `aux` holds the value.
pub mod system {
    /// memory.zswap.writeback of memcg `aux >> 32` set to `aux & 1`.
    pub const WRITEBACK_KNOB: u8 = 0x80;
    /// memory.zswap.max of memcg `aux >> 48` set to `aux & 0xffff_ffff_ffff` bytes.
    pub const ZSWAP_MAX_KNOB: u8 = 0x81;
    /// Depth of queue `aux >> 32` set to `aux & 0xffff_ffff`.
    pub const RESIZE: u8 = 0x82;
    /// An I/O error on slot `aux`, by the device: its write's page is dirty again next.
    pub const IO_ERROR: u8 = 0x83;
    /// A phase begins: 0 reclaim, 1 fault, 2 exit; before the later ones comes a [`POOL`].
    pub const PHASE: u8 = 0x84;
    /// Bytes of all copies in the store, as it counts them itself: `aux`. Noted when nobody is in the middle of a step.
    pub const POOL: u8 = 0x85;
    /// Names, from 0x80.
    pub const NAMES: [&str; 6] = ["writeback_knob", "zswap_max_knob", "resize", "io_error", "phase", "pool"];
}

/// What `aux` holds, by event.
pub mod aux {
    /// `queue`, and `compress` out of a queue: the queue's number (plus one, so that 0 says "no queue") and the ticket.
    pub const fn ticket(queue: u16, position: u64) -> u64 {
        ((queue as u64) + 1) << 48 | position & 0xffff_ffff_ffff
    }

    /// `activate` of an isolated page: there was no swap slot.
    pub const NO_SLOT: u64 = 1;
    /// `activate` of an isolated page: there was no memory for the swap cache.
    pub const NO_MEMORY: u64 = 2;
    /// `activate` of an isolated page: two looks in a row found it referenced.
    pub const REFERENCED: u64 = 3;

    /// The queue and the position of a ticket; `None`: no queue.
    pub const fn place(ticket: u64) -> Option<(u16, u64)> {
        match (ticket >> 48) as u16 {
            0 => None,
            queue => Some((queue - 1, ticket & 0xffff_ffff_ffff)),
        }
    }

    /// `store`: bytes stored (the low half), and 0 in zswap, 1 in zram.
    pub const fn stored(bytes: u32, store: u32) -> u64 {
        (store as u64) << 32 | bytes as u64
    }
}

/// One actor's log. Disabled, it costs one branch an event.
#[derive(Debug, Default)]
pub struct Log {
    records: Vec<Record>,
    enabled: bool,
    /// The time that new records carry; the driver moves it once a batch of steps.
    pub now_ns: u64,
}

impl Log {
    /// A log with room for `capacity` records before it has to grow; it keeps nothing when `enabled` is false.
    ///
    /// The room is touched here, so that the timed phase takes no page fault for it.
    pub fn new(enabled: bool, capacity: usize) -> Self {
        let mut records = Vec::new();
        if enabled {
            records.resize(capacity, Record { folio: SYSTEM, ..Record::default() });
            records.clear();
        }
        Self { records, enabled, now_ns: 0 }
    }

    /// Logs a page's event.
    #[inline]
    pub fn page(&mut self, folio: impl FnOnce() -> u32, actor: u16, event: u8, fired: &Fired, aux: u64) {
        if self.enabled {
            self.records.push(Record {
                t_ns: self.now_ns,
                aux,
                folio: folio(),
                seq: fired.from.seq(),
                actor,
                flags: fired.to.flags(),
                event,
                from: fired.from.state() as u8,
                to: fired.to.state() as u8,
                guards: fired.guards,
            });
        }
    }

    /// Logs a system event.
    pub fn system(&mut self, actor: u16, event: u8, aux: u64) {
        if self.enabled {
            self.records.push(Record { t_ns: self.now_ns, aux, folio: SYSTEM, actor, event, ..Record::default() });
        }
    }

    /// The records, which stay.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Forgets the records and keeps their memory.
    pub fn clear(&mut self) {
        self.records.clear();
    }

    /// Takes the records out.
    pub fn take(&mut self) -> Vec<Record> {
        std::mem::take(&mut self.records)
    }

    /// Whether it keeps anything.
    pub fn is_enabled(&self) -> bool {
        self.enabled
    }
}

/// Merges logs into one order: each page's events in sequence, each log's in its own order, otherwise by time.
///
/// Every log is in program order and sequence numbers come from one swap each, so a total order that respects both
/// exists; among the logs whose next record is due, the earliest goes first (ties: the first log). Records that are never
/// due (a log was cut short) follow at the end in log order, and the validator will name the gap.
pub fn merge(logs: Vec<Vec<Record>>, pages: usize) -> Vec<Record> {
    let mut next = vec![0u32; pages];
    let mut heads = vec![0usize; logs.len()];
    let mut out = Vec::with_capacity(logs.iter().map(Vec::len).sum());
    loop {
        let due = |i: &usize| match logs[*i].get(heads[*i]) {
            Some(r) => r.folio == SYSTEM || next[r.folio as usize] == r.seq,
            None => false,
        };
        let Some(i) = (0..logs.len()).filter(due).min_by_key(|&i| logs[i][heads[i]].t_ns) else { break };
        let record = logs[i][heads[i]];
        heads[i] += 1;
        if record.folio != SYSTEM {
            next[record.folio as usize] = record.seq.wrapping_add(1);
        }
        out.push(record);
    }
    for (log, head) in logs.iter().zip(heads) {
        out.extend_from_slice(&log[head..]);
    }
    out
}

/// The records as the bytes of a trace file.
pub fn as_bytes(records: &[Record]) -> &[u8] {
    // SAFETY: `Record` is `repr(C)`, 32 bytes without padding (asserted above), and any of its bytes may be read.
    unsafe { std::slice::from_raw_parts(records.as_ptr().cast(), size_of_val(records)) }
}
