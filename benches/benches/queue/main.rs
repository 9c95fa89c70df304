//! The folio queue against its rivals: nanoseconds a word, wake-up included.
//!
//! `cargo bench -p kcompressd-benches --bench queue [-- --quick]` prints medians of ratios over alternating
//! pairs, then runs criterion on the absolute times (`-- --ratios` stops before that, `--quick` shortens both).
//!
//! All have room for 256 words of 8 bytes, one consumer, and 1, 2 or 4 producers; both sides sleep when they
//! cannot go on. `sync_channel` and `thingbuf blocking` bring their own way to sleep; `ArrayQueue` and `ThingBuf`
//! have none and get ours. "batch" hands over 32 words at a time: one reservation for us, 32 pushes and one
//! wake-up for those with our way to sleep, 32 sends for the others. The consumer takes up to 32 words at a time, and
//! wakes sleeping producers when those awake leave it idle (ours and those with our way to sleep).
//!
//! With 0 producers one thread pushes 32 and drains 32 in turn, with the wake-up calls but nobody to wake.
//! Every thread is pinned, on all sides alike. With fewer cores than threads this measures the scheduler as much as the queue.

mod rivals;

use criterion::{BenchmarkId, Criterion, Throughput};
use kcompressd_benches::ratio::quartiles;
use rivals::{Run, SUBJECTS, Subject};

/// 0 is one thread that pushes 32 and drains 32 in turn: the operations without the scheduler.
const PRODUCERS: [usize; 4] = [0, 1, 2, 4];

/// The ratios that the project asks of its queue (`sync_channel`, the fastest of the others).
const TARGETS: [(bool, f64, f64); 2] = [(false, 3.0, 1.0), (true, 5.0, 2.0)];

fn main() {
    let quick = std::env::args().any(|arg| arg == "--quick");
    let (pairs, words) = if quick { (3, 20_000) } else { (15, 400_000) };
    for (batch, over_std, over_rest) in TARGETS {
        let name = if batch { "batch of 32" } else { "single push" };
        println!(
            "\n{name}: targets {over_std} x sync_channel, {over_rest} x the fastest of the others; medians of {pairs} pairs"
        );
        println!(
            "{:>9} {:>14} {:>22} {:>12} {:>22}",
            "producers", "ours ns/word", "rival", "ns/word", "ratio (quartiles)"
        );
        for producers in PRODUCERS {
            SUBJECTS[1..].iter().for_each(|rival| compare(*rival, &Run { producers, batch, words }, pairs));
        }
    }
    if !std::env::args().any(|arg| arg == "--ratios") {
        absolute(words);
    }
}

/// Runs ours and one rival in turn and prints the median of the ratios.
fn compare((name, rival): Subject, run: &Run, pairs: usize) {
    let ours = SUBJECTS[0].1;
    let warm_up = (ours(run), rival(run));
    let times: Vec<(f64, f64)> = (0..pairs)
        .map(|i| match i % 2 {
            0 => (ours(run).as_secs_f64(), rival(run).as_secs_f64()),
            _ => {
                let theirs = rival(run).as_secs_f64();
                (ours(run).as_secs_f64(), theirs)
            }
        })
        .collect();
    std::hint::black_box(warm_up);
    let per_word = 1e9 / run.words as f64;
    let [_, ours, _] = quartiles(times.iter().map(|pair| pair.0 * per_word));
    let [_, theirs, _] = quartiles(times.iter().map(|pair| pair.1 * per_word));
    let [low, ratio, high] = quartiles(times.iter().map(|pair| pair.1 / pair.0));
    println!("{:>9} {ours:>14.1} {name:>22} {theirs:>12.1} {ratio:>8.2} ({low:.2}..{high:.2})", run.producers);
}

fn absolute(words: usize) {
    let mut criterion = Criterion::default().sample_size(10).configure_from_args();
    for batch in [false, true] {
        let mut group = criterion.benchmark_group(if batch { "batch" } else { "single" });
        group.throughput(Throughput::Elements(words as u64));
        for producers in PRODUCERS {
            for (name, subject) in SUBJECTS {
                group.bench_function(BenchmarkId::new(*name, producers), |bencher| {
                    bencher.iter_custom(|n| (0..n).map(|_| subject(&Run { producers, batch, words })).sum());
                });
            }
        }
        group.finish();
    }
    criterion.final_summary();
}
