//! Millions of page lives under the live driver, with everything going wrong at random.
//!
//! `cargo run --release -p kcompressd-core --example soak [LIVES [SEED]]` (10 000 000 and 1 unless given), or `make soak`.
//! A round is a run of a random design, store, compressor and number of threads, while another thread resizes queues,
//! turns memory.zswap.writeback and memory.zswap.max, switches the compressor and moves the pool's limit; the device fails
//! at random, and one round in eight is killed (cancelled, a panic in an actor, closed queues). A life is a page that went
//! from resident to wherever it ended. After each round: no violation by the core or by the judge, which replays every
//! record; every page accounted for; in a round that came to its end every byte is back, but for pages whose read failed
//! by injection, and the pool is empty. The first failure ends the soak with the round's description.

use kcompressd_core::design::{Design, OnFull, Preset, StoreKind};
use kcompressd_core::driver::live::{FaultOrder, Live, LiveConfig, Plant, Report};
use kcompressd_core::frames::Frames;
use kcompressd_core::judge::{Config as Judged, Judge};
use kcompressd_core::lifecycle::{Event, State, Table, actor};
use kcompressd_core::memcg::Memcgs;
use kcompressd_core::swap::{Backing, Device, IoFaults};
use kcompressd_core::system::{Config, Contents, System};
use kcompressd_core::trace::Record;
use std::process::ExitCode;
use std::time::{Duration, Instant};

const PAGE: usize = 4096;
const PAGES: usize = 4096;
const CODECS: [&str; 4] = ["lz4", "lzo", "lzo-rle", "zstd:1"];

/// splitmix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

/// Zero, same-filled, compressible and incompressible pages, mixed by the seed.
fn contents(random: &mut Random) -> Vec<u8> {
    let mut out = Vec::with_capacity(PAGES * PAGE);
    for _ in 0..PAGES {
        match random.below(12) {
            0 => out.extend([0; PAGE]),
            1 => out.extend([random.next() as u8 | 1; PAGE]),
            2 => out.extend((0..PAGE / 8).flat_map(|_| random.next().to_le_bytes())),
            kind => {
                let sparse = |i: usize, noise: u64| if i.is_multiple_of(kind) { noise as u8 } else { (i / 64) as u8 };
                out.extend((0..PAGE).map(|i| sparse(i, random.next())));
            }
        }
    }
    out
}

/// What a round is, before it starts.
#[derive(Debug)]
struct Round {
    design: Design,
    store: StoreKind,
    codec: &'static str,
    limit: Option<u64>,
    app_threads: u16,
    nodes: u8,
    faults: IoFaults,
    kill: Option<Kill>,
    seed: u64,
}

#[derive(Clone, Copy, Debug)]
enum Kill {
    Cancel { after: Duration },
    Plant(Plant),
}

impl Round {
    fn draw(random: &mut Random) -> Self {
        let store = random.of(&[StoreKind::Zswap, StoreKind::Zswap, StoreKind::Zram]);
        let mut design = random.of(Preset::ALL).design(store);
        if design.threads > 0 {
            design = design.with_threads(1 + random.below(3) as u16).with_depth(1 << random.below(9));
        }
        let faults = match random.one_in(2) {
            true => IoFaults { writes: some(random), short_writes: some(random), reads: some(random) },
            false => IoFaults::default(),
        };
        let after_pages = random.below(PAGES) as u64;
        let victims: &[u16] = if design.threads > 0 { &[actor::KSWAPD, actor::KCOMPRESSD] } else { &[actor::KSWAPD] };
        let victim = random.of(victims);
        let after = Duration::from_micros(random.below(60_000) as u64);
        let kills = [
            Kill::Cancel { after },
            Kill::Plant(Plant::Panic { actor: victim, after_pages }),
            Kill::Plant(Plant::CloseQueues { after_pages }),
        ];
        Self {
            design,
            store,
            codec: random.of(&CODECS),
            limit: random.of(&[None, Some(64), Some(600)]),
            app_threads: 1 + random.below(3) as u16,
            nodes: 1 + random.below(2) as u8,
            faults,
            kill: random.one_in(8).then(|| random.of(&kills)),
            seed: random.next(),
        }
    }

    fn system(&self, bytes: &[u8]) -> System {
        let config = Config {
            codec: self.codec.parse().expect("a name of ours"),
            pool_limit_pages: self.limit,
            nodes: self.nodes,
            ..Config::new(self.design, self.store, PAGES as u32 * 2)
        };
        let path = std::env::temp_dir().join(format!("kcompressd-soak-{}", std::process::id()));
        let backing = Backing::create(&path, config.slots, PAGE).expect("room for the swap file in TMPDIR");
        std::fs::remove_file(path).expect("it was just made");
        let mut memcgs = Memcgs::new(PAGE);
        let outer = memcgs.add("outer", 0).expect("few groups");
        memcgs.add("inner", outer).expect("few groups");
        let frames = Contents::Frames(Frames::from_bytes(bytes, PAGE).expect("memory for the frames"));
        let device = Device::new(backing, PAGE, self.faults.clone());
        System::new(config, Table::default(), memcgs, |page| (page % 3) as u16, device, frames).expect("a valid design")
    }
}

fn some(random: &mut Random) -> Vec<u64> {
    (0..random.below(40)).map(|_| random.below(PAGES) as u64).collect()
}

/// Counts of what was done to the runs.
#[derive(Default)]
struct Tally {
    rounds: u64,
    lives: u64,
    events: u64,
    killed: u64,
    turned: [u64; 5],
    io_errors: u64,
    unread: u64,
}

/// Turns one knob of a run under way.
fn turn(sys: &System, random: &mut Random, turned: &mut [u64; 5]) {
    let what = random.below(5);
    let memcg = sys.memcgs.get(random.below(3) as u16).expect("there are three");
    match (what, sys.zswap()) {
        (0, _) if !sys.queues.is_empty() => {
            let queue = random.below(sys.queues.len());
            let least = usize::from(matches!(sys.design().on_full, OnFull::SyncHead | OnFull::Wait));
            let depth = least + random.below(sys.queues[queue].capacity() + 1 - least);
            sys.set_depth(queue as u16, depth).expect("within the capacity");
        }
        (1, _) => memcg.set_writeback(!random.one_in(3)),
        (2, _) => memcg.set_zswap_max(random.of(&[0, 64 << 12, 512 << 12, u64::MAX])),
        // Refused while eight pools live: the compressor stays what it is.
        (3, Some(zswap)) => drop(zswap.set_compressor(random.of(&CODECS).parse().expect("a name of ours"))),
        (4, Some(zswap)) => zswap.set_accept_threshold_percent(random.below(101) as u64),
        _ => return,
    }
    turned[what] += 1;
}

fn run(round: &Round, bytes: &[u8], tally: &mut Tally) -> Result<(), String> {
    let plant = match round.kill {
        Some(Kill::Plant(plant)) => Some(plant),
        _ => None,
    };
    let (app_threads, seed) = (round.app_threads, round.seed);
    let config = LiveConfig {
        trace: true,
        fault: FaultOrder::Shuffled,
        seed,
        app_threads,
        go_on: true,
        plant,
        ..LiveConfig::default()
    };
    let live = Live::start(round.system(bytes), config, bytes.to_vec()).map_err(|e| e.message)?;
    let (started, mut random) = (Instant::now(), Random(round.seed));
    while !live.has_ended() {
        turn(live.system(), &mut random, &mut tally.turned);
        match round.kill {
            Some(Kill::Cancel { after }) if started.elapsed() >= after => live.cancel(),
            _ => std::thread::sleep(Duration::from_micros(random.below(400) as u64)),
        }
    }
    check(round, live.finish(), tally)
}

fn check(round: &Round, mut report: Report, tally: &mut Tally) -> Result<(), String> {
    let ended = report.error.take();
    if let Some(error) = &ended {
        let planned = match error.kind {
            "panic" => error.message.contains("planted"),
            kind => matches!((kind, round.kill), ("cancelled", Some(Kill::Cancel { .. })) | ("closed", Some(_))),
        };
        if !planned {
            return Err(format!("{}: {}", error.kind, error.message));
        }
    }
    let records = report.take_trace(PAGES);
    let mut judge = Judge::new(
        &Table::default(),
        Some(PAGES),
        Judged { complete: ended.is_none(), pool: true, ..Judged::default() },
    );
    // What it finds is in the verdict.
    let _ = judge.feed(&records);
    let verdict = judge.finish();
    if let Some(first) = verdict.first {
        return Err(format!("{} violations, the first: {first}", verdict.violations));
    }
    if ended.is_none() {
        complete(&report, &records, &judge.states())?;
    }
    tally.rounds += 1;
    tally.killed += u64::from(ended.is_some());
    tally.events += verdict.events;
    tally.lives += lives(&records);
    tally.io_errors += report.threads.iter().map(|thread| thread.errors.len() as u64).sum::<u64>();
    tally.unread += report.mismatched.len() as u64;
    Ok(())
}

/// A round that came to its end: every page freed, the pool empty, every byte back that could be read.
fn complete(report: &Report, records: &[Record], states: &[u8]) -> Result<(), String> {
    if let Some(page) = states.iter().position(|&state| state != State::Freed as u8) {
        return Err(format!("page {page} is {} at the end", State::from_id(states[page]).name()));
    }
    if report.pool_pages_at_exit != 0 {
        return Err(format!("{} pages are left in the pool", report.pool_pages_at_exit));
    }
    let unread = |page: &u32| records.iter().any(|r| r.folio == *page && r.event == Event::LoadError as u8);
    match report.mismatched.iter().find(|page| !unread(page)) {
        Some(page) => Err(format!("page {page} came back different")),
        None => Ok(()),
    }
}

/// Pages that left their frame or were given up: each had a life.
fn lives(records: &[Record]) -> u64 {
    let mut lived = vec![false; PAGES];
    for r in records.iter().filter(|r| (r.folio as usize) < PAGES && r.event == Event::Isolate as u8) {
        lived[r.folio as usize] = true;
    }
    lived.iter().filter(|&&lived| lived).count() as u64
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u64>().expect("LIVES and SEED are numbers"));
    let (lives, seed) = (arguments.next().unwrap_or(10_000_000), arguments.next().unwrap_or(1));
    // A planted panic is part of the plan, and is reported by the run.
    std::panic::set_hook(Box::new(|_| {}));
    let (mut random, mut tally, started) = (Random(seed), Tally::default(), Instant::now());
    let bytes = contents(&mut random);
    while tally.lives < lives {
        let round = Round::draw(&mut random);
        if let Err(what) = run(&round, &bytes, &mut tally) {
            println!("round {}: {what}\n{round:?}", tally.rounds);
            return ExitCode::FAILURE;
        }
        if tally.rounds.is_multiple_of(200) {
            println!("{} rounds, {} lives, {:.0} s", tally.rounds, tally.lives, started.elapsed().as_secs_f64());
        }
    }
    let Tally { rounds, lives, events, killed, turned: [resizes, writeback, max, codecs, accept], io_errors, unread } =
        tally;
    println!("{lives} page lives in {rounds} rounds ({killed} killed): nothing lost, no violation in {events} events");
    println!(
        "{resizes} resizes, {writeback} writeback and {max} zswap.max changes, {codecs} compressors, {accept} thresholds"
    );
    println!(
        "{io_errors} injected device errors, {unread} pages unread for it; {:.0} s",
        started.elapsed().as_secs_f64()
    );
    ExitCode::SUCCESS
}
