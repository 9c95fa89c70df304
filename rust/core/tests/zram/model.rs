//! The model: pages as they were stored, every statistic recomputed.

use super::*;
use kcompressd_core::codec::same_filled;
use proptest::prelude::*;

/// What the model knows of a slot in memory.
#[derive(Clone, Debug)]
struct Held {
    page: Vec<u8>,
    /// Bytes of the object; `None`: one repeated word.
    len: Option<usize>,
    priority: usize,
    idle: bool,
    incompressible: bool,
    on_device: bool,
    accessed: u32,
}

struct Model {
    slots: Vec<Option<Held>>,
    codecs: Vec<Box<dyn kcompressd_core::codec::Compressor>>,
    table: ClassTable,
    huge_since: u64,
    now: u32,
    writes: u64,
    reads: u64,
    blocks: u64,
}

impl Model {
    fn new(names: &[CodecName], blocks: u64) -> Self {
        let codecs = names.iter().map(|&name| CodecSpec::new(name, None).unwrap().open()).collect();
        let table = ClassTable::new(PAGE, 8).unwrap();
        let slots = vec![None; SLOTS as usize];
        Self { slots, codecs, table, huge_since: 0, now: 0, writes: 0, reads: 0, blocks }
    }

    fn len_with(&mut self, priority: usize, page: &[u8]) -> usize {
        self.codecs[priority].compress(page, &mut vec![0; 2 * PAGE]).unwrap_or(2 * PAGE)
    }

    fn store(&mut self, slot: usize, page: Vec<u8>) {
        let len = match same_filled(&page) {
            Some(_) => None,
            None => Some(self.len_with(0, &page)).map(|n| if n >= self.table.huge_class_size() { PAGE } else { n }),
        };
        self.huge_since += u64::from(len == Some(PAGE));
        let (idle, incompressible, on_device) = (false, false, false);
        self.slots[slot] = Some(Held { page, len, priority: 0, idle, incompressible, on_device, accessed: self.now });
    }

    fn load(&mut self, slot: usize) -> Vec<u8> {
        let now = self.now;
        let Some(held) = &mut self.slots[slot] else { return vec![0; PAGE] };
        (held.idle, held.accessed) = (false, now);
        self.reads += u64::from(held.on_device);
        held.page.clone()
    }

    fn mark_idle(&mut self, age: Option<u32>) {
        for held in self.slots.iter_mut().flatten().filter(|h| h.len.is_some() && !h.on_device) {
            held.idle = age.is_none_or(|age| self.now - held.accessed > age);
        }
    }

    /// The slots in memory that `wanted` holds for, the largest first.
    fn choose(&self, wanted: Wanted, also: impl Fn(&Held) -> bool) -> Vec<usize> {
        let has = |held: &Held| {
            let len = held.len?;
            let all = (!wanted.idle || held.idle)
                && (!wanted.huge || len == PAGE)
                && (!wanted.incompressible || held.incompressible)
                && !held.on_device;
            (all && also(held)).then_some(len / 64)
        };
        let mut found: Vec<_> =
            self.slots.iter().enumerate().filter_map(|(i, held)| Some((has(held.as_ref()?)?, i))).collect();
        found.sort_by(|a, b| b.cmp(a));
        found.into_iter().map(|(_, slot)| slot).collect()
    }

    /// With the algorithm `alone`, or with every one above a page's own.
    fn recompress(&mut self, wanted: Wanted, threshold: usize, max_pages: usize, alone: Option<u8>) -> u64 {
        let (first, last) = alone.map_or((1, self.codecs.len()), |one| (one.into(), usize::from(one) + 1));
        let chosen = self.choose(wanted, |held| !held.incompressible && held.priority + 1 < last);
        let (mut left, mut done) = (max_pages, 0);
        for slot in chosen {
            let mut held = self.slots[slot].clone().expect("chosen");
            let old = held.len.expect("chosen");
            if left == 0 || old < threshold {
                continue;
            }
            (held.idle, left) = (false, left - 1);
            let class = |model: &Self, len: usize| model.table.index_of(len).unwrap_or(usize::MAX);
            let mut hopeless = true;
            for priority in first.max(held.priority + 1)..last {
                let len = self.len_with(priority, &held.page);
                hopeless = class(self, len) >= class(self, old);
                if !hopeless && (threshold == 0 || len < threshold) {
                    (held.len, held.priority, held.accessed, done) = (Some(len), priority, 0, done + 1);
                    break;
                }
            }
            held.incompressible = hopeless && last == self.codecs.len();
            self.slots[slot] = Some(held);
        }
        done
    }

    fn writeback(&mut self, wanted: Wanted) -> u64 {
        let mut done = 0;
        for slot in self.choose(wanted, |_| true) {
            if self.on_device() == self.blocks {
                break;
            }
            let held = self.slots[slot].as_mut().expect("chosen");
            (held.on_device, held.idle, held.incompressible) = (true, false, false);
            (self.writes, done) = (self.writes + 1, done + 1);
        }
        done
    }

    fn on_device(&self) -> u64 {
        self.slots.iter().flatten().filter(|held| held.on_device).count() as u64
    }

    fn check(&self, zram: &Zram) -> Result<(), TestCaseError> {
        let held = || self.slots.iter().flatten();
        let in_memory = || held().filter(|h| !h.on_device).filter_map(|h| h.len);
        let stat = zram.mm_stat();
        prop_assert_eq!(stat.orig_data_size, (held().count() * PAGE) as u64);
        prop_assert_eq!(stat.compr_data_size, in_memory().sum::<usize>() as u64);
        prop_assert_eq!(stat.same_pages, held().filter(|h| h.len.is_none()).count() as u64);
        prop_assert_eq!(stat.huge_pages, in_memory().filter(|&len| len == PAGE).count() as u64);
        prop_assert_eq!(stat.huge_pages_since, self.huge_since);
        prop_assert_eq!(zram.pool().objects(), in_memory().count());
        prop_assert_eq!(stat.mem_used_total, (zram.pool().total_pages() * PAGE) as u64);
        prop_assert_eq!(zram.bd_stat().map(|(_, n)| n), [self.on_device(), self.reads, self.writes]);
        zram.pool().invariant();
        Ok(())
    }
}

#[derive(Clone, Debug)]
enum Op {
    Store(u32, u8, u64),
    Load(u32),
    Free(u32),
    Idle(Option<u32>),
    Tick(u32),
    Recompress(Wanted, usize, usize, Option<u8>),
    Writeback(Wanted),
    Compact,
}

fn op() -> impl Strategy<Value = Op> {
    let slot = 0..SLOTS;
    let wanted = || {
        let huge_idle = Wanted { idle: true, huge: true, incompressible: false };
        prop::sample::select(vec![Wanted::default(), IDLE, HUGE, huge_idle, INCOMPRESSIBLE])
    };
    let threshold = prop::sample::select(vec![0, 500, 1500, 2500, 3600]);
    prop_oneof![
        6 => (slot.clone(), any::<u8>(), any::<u64>()).prop_map(|(slot, kind, seed)| Op::Store(slot, kind, seed)),
        3 => slot.clone().prop_map(Op::Load),
        1 => slot.prop_map(Op::Free),
        1 => prop::option::of(0u32..20).prop_map(Op::Idle),
        1 => (0u32..10).prop_map(Op::Tick),
        2 => (wanted(), threshold, 0usize..16, prop::option::of(1u8..4))
            .prop_map(|(wanted, threshold, max, alone)| Op::Recompress(wanted, threshold, max, alone)),
        1 => wanted().prop_map(Op::Writeback),
        1 => Just(Op::Compact),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn follows_the_model(ops in prop::collection::vec(op(), 1..60)) {
        let names = [CodecName::Lz4, CodecName::LzoRle, CodecName::Zstd, CodecName::Deflate];
        let (zram, mut streams) = (device("model", 6, IoFaults::default()), streams(&names));
        let mut model = Model::new(&names, 5);
        for op in ops {
            match op {
                Op::Store(slot, kind, seed) => {
                    let page = page(kind, seed);
                    zram.store(slot, &page, &mut streams, &Unlimited).expect("no limit");
                    model.store(slot as usize, page);
                }
                Op::Load(slot) => {
                    prop_assert!(load(&zram, slot, &mut streams) == model.load(slot as usize), "slot {}", slot);
                }
                Op::Free(slot) => {
                    zram.free(slot, &Unlimited);
                    model.slots[slot as usize] = None;
                }
                Op::Idle(age) => {
                    zram.mark_idle(age);
                    model.mark_idle(age);
                }
                Op::Tick(seconds) => {
                    model.now += seconds;
                    zram.set_clock(model.now);
                }
                Op::Recompress(wanted, threshold, max, alone) => {
                    let request =
                        Recompress { wanted, threshold, max_pages: Some(max as u64), priority: alone };
                    let done = zram.recompress(&request, &mut streams, &Unlimited).expect("three algorithms");
                    prop_assert_eq!(done, model.recompress(wanted, threshold, max, alone));
                }
                Op::Writeback(wanted) => {
                    let want = model.writeback(wanted);
                    match zram.writeback(wanted, &mut streams, &Unlimited) {
                        Ok(done) => prop_assert_eq!(done, want),
                        Err(WritebackError { written, reason: WritebackReason::Full }) => {
                            prop_assert_eq!((written, model.on_device()), (want, 5));
                        }
                        Err(other) => prop_assert!(false, "{}", other),
                    }
                }
                Op::Compact => {
                    let before = zram.mm_stat();
                    let freed = zram.compact(&Unlimited) as u64;
                    prop_assert_eq!(zram.mm_stat().pages_compacted, before.pages_compacted + freed);
                    prop_assert_eq!(zram.mm_stat().mem_used_total + freed * PAGE as u64, before.mem_used_total);
                }
            }
            model.check(&zram)?;
        }
        for slot in 0..SLOTS {
            prop_assert!(load(&zram, slot, &mut streams) == model.load(slot as usize), "slot {} at the end", slot);
        }
    }
}
