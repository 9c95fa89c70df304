//! One run of each queue: producers push every word, the consumer takes and sums them.

use std::hint::black_box;
use std::sync::{Barrier, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_queue::ArrayQueue;
use kcompressd_core::driver::live::pin;
use kcompressd_core::folio::Folio;
use kcompressd_core::queue::FolioQueue;
use kcompressd_core::tagged::{Origin, TaggedFolio};
use kcompressd_core::units::SWAP_CLUSTER_MAX;
use kcompressd_core::wait::WaitCell;
use thingbuf::ThingBuf;

const CAPACITY: usize = 256;

/// What one run does.
pub struct Run {
    /// Producer threads, each with its share of the words; 0: one thread fills 32 and drains 32 in turn.
    pub producers: usize,
    /// Whether words are handed over by 32.
    pub batch: bool,
    /// Words in all; a multiple of 32 for each producer.
    pub words: usize,
}

/// A queue's name, and what makes one run with it.
pub type Subject = (&'static str, fn(&Run) -> Duration);

/// Every subject, ours first.
pub const SUBJECTS: &[Subject] = &[
    ("FolioQueue", folio_queue),
    ("sync_channel", sync_channel),
    ("ArrayQueue", |run| with_cells(run, &ArrayQueue::new(CAPACITY))),
    ("thingbuf blocking", thingbuf_blocking),
    ("ThingBuf", |run| with_cells(run, &ThingBuf::new(CAPACITY))),
];

impl Run {
    fn share(&self) -> usize {
        self.words / self.producers / SWAP_CLUSTER_MAX * SWAP_CLUSTER_MAX
    }

    /// Starts the producers, lets everybody go at once, and times until the consumer has all words. Each thread is pinned: the
    /// consumer to the first CPU, the producers from the second on, round.
    fn time<P: FnOnce() + Send>(&self, producer: impl Fn() -> P, consumer: impl FnOnce(usize) + Send) -> Duration {
        let start = Barrier::new(self.producers + 1);
        thread::scope(|scope| {
            for cpu in 1..=self.producers {
                let (run, start) = (producer(), &start);
                scope.spawn(move || {
                    pin(cpu);
                    start.wait();
                    run();
                });
            }
            let timed = scope.spawn(|| {
                pin(0);
                start.wait();
                let begin = Instant::now();
                consumer(self.share() * self.producers);
                begin.elapsed()
            });
            timed.join().expect("the consumer does not panic")
        })
    }
}

/// Times `round`, which passes 32 words through, without a second thread.
fn alone(run: &Run, mut round: impl FnMut()) -> Duration {
    let begin = Instant::now();
    (0..run.words / SWAP_CLUSTER_MAX).for_each(|_| round());
    begin.elapsed()
}

fn folio_queue(run: &Run) -> Duration {
    let folios: Vec<Folio> = (0..SWAP_CLUSTER_MAX).map(|_| Folio::new(0, 0)).collect();
    let tagged: Vec<_> = folios.iter().map(|folio| TaggedFolio::new(folio, Origin::Zswap)).collect();
    let queue = FolioQueue::new(CAPACITY, CAPACITY).expect("valid sizes");
    let (items, space) = (WaitCell::new(), WaitCell::new());
    if run.producers == 0 {
        return alone(run, || folio_queue_round(run.batch, &queue, &tagged, &items, &space));
    }
    let single = || {
        for i in 0..run.share() {
            let folio = tagged[i % SWAP_CLUSTER_MAX];
            space.wait_for(|| queue.push(folio).ok());
            items.wake_one();
        }
    };
    let batch = || {
        let mut left = run.share();
        while left > 0 {
            let folios = &tagged[..left.min(SWAP_CLUSTER_MAX)];
            left -= space.wait_for(|| queue.push_batch(folios).ok()).map_or(0, |pushed| pushed.len);
            items.wake_one();
        }
    };
    run.time(
        || move || if run.batch { batch() } else { single() },
        |mut left| {
            let mut consumer = queue.claim().expect("only consumer");
            let mut buffer = [None::<TaggedFolio>; SWAP_CLUSTER_MAX];
            while left > 0 {
                let some = || consumer.is_ready().then(|| consumer.drain(&mut buffer).n);
                let n = items.wait_or(some, || _ = space.wake_all()).expect("no shutdown");
                black_box(&buffer[..n]);
                left -= n;
            }
        },
    )
}

/// One round of [`alone`]: the thread is its own consumer.
fn folio_queue_round(batch: bool, queue: &FolioQueue, tagged: &[TaggedFolio], items: &WaitCell, space: &WaitCell) {
    if batch {
        assert!(black_box(queue.push_batch(tagged)).is_ok());
        items.wake_one();
    } else {
        tagged.iter().for_each(|folio| {
            assert!(black_box(queue.push(*folio)).is_ok());
            items.wake_one();
        });
    }
    let mut buffer = [None; SWAP_CLUSTER_MAX];
    black_box(queue.claim().map(|mut consumer| consumer.drain(black_box(&mut buffer)).n));
    space.wake_all();
}

fn sync_channel(run: &Run) -> Duration {
    let (sender, receiver) = mpsc::sync_channel::<usize>(CAPACITY);
    if run.producers == 0 {
        return alone(run, || {
            (0..SWAP_CLUSTER_MAX).for_each(|i| sender.send(i).expect("open"));
            (0..SWAP_CLUSTER_MAX).for_each(|_| assert!(black_box(receiver.recv()).is_ok()));
        });
    }
    run.time(
        || {
            let sender = sender.clone();
            move || (0..run.share()).for_each(|i| sender.send(i).expect("open"))
        },
        move |left| (0..left).for_each(|_| assert!(black_box(receiver.recv()).is_ok())),
    )
}

fn thingbuf_blocking(run: &Run) -> Duration {
    let (sender, receiver) = thingbuf::mpsc::blocking::channel::<usize>(CAPACITY);
    if run.producers == 0 {
        return alone(run, || {
            (0..SWAP_CLUSTER_MAX).for_each(|i| sender.send(i).expect("open"));
            (0..SWAP_CLUSTER_MAX).for_each(|_| assert!(black_box(receiver.recv()).is_some()));
        });
    }
    run.time(
        || {
            let sender = sender.clone();
            move || (0..run.share()).for_each(|i| sender.send(i).expect("open"))
        },
        |left| (0..left).for_each(|_| assert!(black_box(receiver.recv()).is_some())),
    )
}

/// A bounded queue that cannot sleep.
trait Fifo: Sync {
    fn push(&self, word: usize) -> Result<(), usize>;
    fn pop(&self) -> Option<usize>;
}

impl Fifo for ArrayQueue<usize> {
    fn push(&self, word: usize) -> Result<(), usize> {
        ArrayQueue::push(self, word)
    }

    fn pop(&self) -> Option<usize> {
        ArrayQueue::pop(self)
    }
}

impl Fifo for ThingBuf<usize> {
    fn push(&self, word: usize) -> Result<(), usize> {
        ThingBuf::push(self, word).map_err(|full| full.into_inner())
    }

    fn pop(&self) -> Option<usize> {
        ThingBuf::pop(self)
    }
}

/// A queue that cannot sleep, with our wait cells beside it.
fn with_cells(run: &Run, queue: &impl Fifo) -> Duration {
    let (items, space) = (WaitCell::new(), WaitCell::new());
    let wake_every = if run.batch { SWAP_CLUSTER_MAX } else { 1 };
    if run.producers == 0 {
        return alone(run, || cells_round(wake_every, queue, &items, &space));
    }
    let produce = || {
        for i in 0..run.share() {
            if queue.push(i).is_err() {
                // Those before us in the batch are in the queue, and the consumer must not sleep on them.
                items.wake_one();
                space.wait_for(|| queue.push(i).ok());
            }
            if i % wake_every == wake_every - 1 {
                items.wake_one();
            }
        }
        items.wake_one();
    };
    run.time(
        || produce,
        |mut left| {
            let mut buffer = [0; SWAP_CLUSTER_MAX];
            while left > 0 {
                let some = || Some(fill(queue, &mut buffer)).filter(|&n| n > 0);
                left -= items.wait_or(some, || _ = space.wake_all()).expect("no shutdown");
            }
        },
    )
}

/// One round of [`alone`]: the thread is its own consumer.
fn cells_round(wake_every: usize, queue: &impl Fifo, items: &WaitCell, space: &WaitCell) {
    for i in 0..SWAP_CLUSTER_MAX {
        assert!(queue.push(i).is_ok());
        if i % wake_every == wake_every - 1 {
            items.wake_one();
        }
    }
    fill(queue, &mut [0; SWAP_CLUSTER_MAX]);
    space.wake_all();
}

/// Takes what there is into `buffer`, and says how many.
fn fill(queue: &impl Fifo, buffer: &mut [usize]) -> usize {
    let mut n = 0;
    for (slot, word) in buffer.iter_mut().zip(std::iter::from_fn(|| queue.pop())) {
        *slot = word;
        n += 1;
    }
    black_box(&buffer[..n]);
    n
}
