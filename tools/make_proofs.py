"""Writes docs/proofs.md: what was explored, with which command, and what was not (make proofs).

`--check` writes nothing: it explores all of it again and fails when a row is not the page's (make check).
"""

from __future__ import annotations

import shlex
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from core_mutants import PATCHES as CORE  # noqa: E402
from core_mutants import Mutant, row  # noqa: E402
from mutants import PATCHES, caught, mutated  # noqa: E402

from kcompressd.check import check  # noqa: E402
from kcompressd.cli import parser  # noqa: E402
from kcompressd.cli.check import _scenario  # noqa: E402
from kcompressd.lifecycle import TableError  # noqa: E402

PAGE = ROOT / "docs" / "proofs.md"
# Bytes of an exploration's tables; the largest takes two thirds.
MEMORY = 6 << 30
COMMANDS = (
    "--design sync --folios 2",
    "--design sync --folios 2 --faults 1",
    "--design rfc --store zram --folios 2 --kcompressd 1 --faults 1",
    "--design rfc --store zram --folios 2 --kcompressd 2",
    "--design april --folios 2",
    "--design april --folios 1 --toggle stop",
    "--design april --folios 1 --incompressible --toggle writeback",
    "--design async-store --folios 2",
    "--design async-store --folios 2 --incompressible --toggle writeback",
    "--design split --folios 2 --kcompressd 1",
    "--design split --folios 2 --kcompressd 2",
    "--design split --folios 3 --kcompressd 2",
    "--design split --folios 2 --faults 1",
    "--design split --folios 1 --touch",
    "--design split --folios 1 --incompressible --writeback-denied",
    "--design split --folios 1 --kcompressd 1 --exit",
    "--design split --folios 1 --kcompressd 1 --incompressible --exit",
    "--design rfc --store zram --folios 1 --kcompressd 1 --faults 1 --exit",
    "--design split --folios 2 --kcompressd 1 --swapoff",
    "--design april --folios 2 --swapoff",
    "--design split --folios 2 --toggle stop",
    "--design split --folios 1 --toggle depth",
    "--design split --folios 1 --toggle pool",
    "--design split --folios 1 --toggle zswap_max",
    "--design unofficial --folios 2 --depth 1",
    "--design unofficial --folios 1 --toggle stop",
)
LARGE = (
    "--design sync --folios 4 --faults 2",
    "--design rfc --store zram --folios 3 --kcompressd 2 --faults 2",
    "--design rfc --store zram --folios 2 --kcompressd 2 --faults 1 --touch",
    "--design april --folios 5",
    "--design april --folios 3 --faults 2",
    "--design april --store zram --folios 3 --faults 2",
    "--design april --folios 2 --faults 1 --touch",
    "--design async-store --folios 5",
    "--design async-store --folios 3 --faults 2",
    "--design async-store --folios 2 --faults 1 --touch",
    "--design split --folios 4 --kcompressd 2",
    "--design split --folios 3 --kcompressd 3",
    "--design split --folios 2 --kcompressd 2 --faults 2",
    "--design split --folios 2 --kcompressd 2 --faults 1 --touch",
    "--design split --folios 3 --kcompressd 2 --faults 1 --toggle writeback",
    "--design split --folios 2 --kcompressd 2 --swapoff",
    "--design split --folios 1 --kcompressd 1 --incompressible --faults 1 --swapoff",
    "--design split --folios 2 --folio-order 1 --kcompressd 2",
    "--design split --store zram --folios 3 --kcompressd 2",
    "--design split --store zram --folios 2 --faults 1 --touch",
    "--design rfc --store zram --folios 2 --kcompressd 2 --faults 1 --swapoff",
    "--design async-store --folios 2 --faults 1 --swapoff",
    "--design unofficial --folios 2 --depth 1 --faults 1 --swapoff",
    "--design unofficial --folios 5 --depth 1",
    "--design unofficial --folios 3 --faults 2",
    "--design unofficial --folios 2 --faults 1 --touch",
)
HEAD = """\
# Proofs

What the explorer has seen of the core's own code, what it has not, and which injected bugs are caught. Written by `make proofs`.

## What was explored

Each line is `kcompressd check` with the options given: every order of steps, all states seen unless it says otherwise.

- In every state: no step breaks the lifecycle, nobody waits for ever, the LRU lists are what PG_lru and PG_active say, and
  memory.zswap.writeback is respected.
- At every end: nothing is lost, every copy is where its page's state says, and the accounts add up.
- From every state such an end can be reached (a property of the graph, not of LTL under fairness).

| options | states | transitions | ends | found |
|---|---|---|---|---|
"""
BOUNDS = """
With more folios, threads and faults, and what a page's owner does at any time beside them. `make check` explores these, and
those above, again:

| options | states | transitions | ends | found |
|---|---|---|---|---|
"""
REDUCTIONS = """
## The two reductions

**Symmetry.** A folio's index decides nothing: nothing compares two of them. What differs from the beginning (group, node,
contents) belongs to a class within which names are exchanged. The same holds for swap slots and zsmalloc's handles. So a
state and its renamed twin take the same steps to states that are twins again. Names are given on a fixed walk of actors,
queues and lists.

**Partial order.** A step that only takes time (the zero test, the compressor, a device write that cannot fail) touches
nothing that another actor touches, and no property sees it. It is taken at once, with the step before it. A private step
leads to one that is not, so no cycle consists of them. A set of one such transition is persistent and preserves deadlocks
and every branching property that does not count steps. A step that may be made to fail is not private.

`rust/core/tests/explore.rs` compares all four combinations on every preset and store: the same verdicts, the same ends, the
same states of the lifecycle met. A second test there restores each state over two different memories and finds the same
step.

## Activation against the inactive list

`split` with a refused page and writeback denied meets both orders: the worker activates a page that kswapd still holds
isolated, and one that is back on the inactive list already. Ours sets PG_active in the state word and moves a listed folio
under the LRU lock, so the lists stay right in both. A kernel's worker that only set PG_active would leave an active folio on
the inactive list.

## How fast

`cargo run --release -p kcompressd-core --example explore_speed`, first line: `split`, 3 folios, 2 kcompressd, with both
reductions. It is the median of three on one core of a virtual machine (AMD EPYC), and counts going back, the step, canonical
words, their hash and the look-up.

| transitions/s | new states/s | tables for 967,060 states |
|--:|--:|--:|
| 1,280,077 | 333,696 | 67 MB |
"""
NOT = """
## What was not explored

- More folios, threads and faults together than the lines above; more than one kswapd; large folios of more than four pages
  (`tests/test_check.py` and `rust/core/tests/large.rs` have the exact counts of two and four).
- Reclaim under memory pressure (`Config::memory`): such runs are judged, not explored. What is explored beside reclaim is an
  application that is killed while its pages are in flight (`--exit`), and swapoff (`--swapoff`), after which no slot is in use
  unless a page could not be read.
- Weak memory: a step is atomic here. loom's models look at that (`ci/test-loom.sh`). shuttle's runs (`ci/test-shuttle.sh`) try
  schedules of real steps, each access as if SeqCst.
- That a worker without PF_MEMALLOC gets memory in the end ([below](#a-worker-without-pf_memalloc)).
- Two states with one hash. 128 bits stand for a state, so two could share one (odds below 2^-80 for 2^24 states).
- Where a page's copy is, on the way. It is compared with its state at ends alone: before that a copy comes before its event,
  or goes after it.

### A worker without PF_MEMALLOC

A worker without PF_MEMALLOC that finds no memory looks again as long as it runs (GFP_NOIO). That somebody else then frees
some is not proved, and not always so. Under `april`, whose worker has none, all that could be freed may be in its queue. GFP_NOIO calls no
OOM killer, and an application that waits for a page of the queue, or is done, does not either. Two cases are known:

- a node of 56 or 64 pages (`shuttle_live.rs`, where it is an end that a run may have; one schedule of some thousand): the worker has 6 pages
  and wants 9, and others' pages are in the CPUs' batches, on no list;
- a node that zram's pool has filled (`kcompressd sim tests/golden/hang.toml`, half a minute: 933 pages are the
  pool's, 65 are in the queue, 5 are elsewhere).

Such a run ends with `livelock` and what there was.

## Weak memory

**loom** looks at the queue, the wait cells, the state word, the spin lock, zram's marks and what a system hands on. `make test` tries two
preemptions, `make check` every schedule. Eight models do not end so within 40 s: they have three preemptions, and each has
smaller models of the same race beside it that end (CPU seconds):

| three preemptions | s | every schedule | s |
|---|--:|---|--:|
| `lost_wake_up_of_the_consumer` | 1 | `push_against_sleep` | 1 |
| `lost_wake_up_with_two_producers` | 35 | `told_twice` | 1 |
| `wrap_around_with_both_sides_sleeping` | 16 | `full_against_empty` | 20 |
| `close_against_push` | 3 | `close_against_sleep`, `close_behind_a_push`, `close_beside_a_push`, `close_and_push_against_a_look` | 22 |
| `reservation_dropped_does_not_wedge` | 26 | `tombstones_against_sleep`, `tombstones_against_a_producer` | 8 |
| `wake_all_reaches_two_sleepers` | 1 | `wake_all_reaches_both_places`, `wake_all_reaches_two_in_line` | 2 |
| `wake_one_twice_reaches_two_sleepers` | 1 | `wake_one_twice_reaches_both_places`, `wake_one_reaches_one_in_line_after_the_other` | 7 |
| `wake_one_taken_by_a_cancelled_ticket` | 1 | `wake_one_taken_by_a_cancelled_place` | 1 |

The 42 others end: `cancel_in_the_middle_of_the_line` takes 10 s, `batch_against_single` 8, `full_and_empty_boundary` 3, each of
the rest less than one. Most of the smaller models have two threads. Two producers are in `batch_against_single`, without sleep; two threads
asleep on one cell in the two `in_line`, which stand in line before anybody tells them. So no model tries every schedule of two producers
against a worker that goes to sleep, of two threads that come to one cell while it is told, or of a third thread's cancelling. [orderings.md](orderings.md) says which of them fail when an access is weakened or a wake-up is dropped.

**ThreadSanitizer** (`make tsan`) runs the tests with threads and the live driver. There is no report, and a race that is
planted (core-02 below) is found. It needs a nightly toolchain with rust-src, since the standard library has to be built with
it too; else it reports races that are none. Where rustup has no rust-src, the sources of the same version do:
`TSAN_RUST_SRC=…/library make tsan` (Debian's rust-src 1.97.1 with the nightly 1.97.0). The compressors' C code is not instrumented.

## What `make check` costs

CPU seconds, each command by itself and without its builds:

| part | s |
|---|--:|
| loom | 150 |
| shuttle (five times 200 schedules) | 220 |
| the dice of tests/test_stateful.py | 450 |
| its Hypothesis scripts (3000; `make check` has 1000) | 105 |
| every removed edge | 67 |
| the product of a design's axes (seven times a seventh of it) | 970 |
| the explorer | 350 |

10000 cases of the property tests take ten to twenty minutes; `make check` has 3000. `make soak` is not part of it: ten
million page lives, a quarter of an hour.

## Removed edges

`KCOMPRESSD_ALL_MUTANTS=1 pytest tests/test_mutants.py -k removed` takes every row out of the law, one at a time. A scenario
of the explorer, a run with a memory budget or a script that spoils a block notices each.

tests/test_stateful.py measures the other direction. The edges that scripts of the stepper take, and those that runs with a
memory budget take, are the whole table, so an edge that nothing takes is an error.
"""


def explored(options: str) -> str:
    """Return a row of the table."""
    found = check(_scenario(parser().parse_args(["check", *shlex.split(options)])), max_memory_bytes=MEMORY)
    verdict = found.why or ("nothing" if found.complete else f"nothing; not all seen ({found.stopped_by})")
    return f"| `{options}` | {found.states:,} | {found.transitions:,} | {found.ends:,} | {verdict.split('; ')[0]} |"


def injected(patch: Path) -> str:
    """Return a row of the table of injected bugs."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            by = caught(mutated(patch, Path(folder)))
        except TableError as error:
            by = ("the compiler of the law", str(error))
    name, how = by or ("nothing", "")
    return f"| {patch.stem} | {name} | {how.split('; ')[0]} |"


INJECTED = """
## Injected bugs

`tests/mutants/*.patch`, one line each; `KCOMPRESSD_ALL_MUTANTS=1 pytest tests/test_mutants.py` (three of them in `make test`).

| bug | caught by | as |
|---|---|---|
"""
CORES = """
In the core; each patch names its check (`python tests/core_mutants.py` prints this table):

| patch | bug | caught by | as |
|---|---|---|---|
"""
MUTANTS = """
## Mutants of the core

`make mutants` (tools/mutants.py; cargo-mutants lists the mutants) draws COUNT (320) of some 1,850 mutants of queue, tagged,
lifecycle, zsmalloc, zswap, zram and design by SEED (1). It puts what it can into one build and tries each against the core's
own tests, the likeliest first.

Seed 1, `ci/mutants.sh` and, after new tests, `ci/mutants.sh --again`: 31 do not compile; of the 289 others 275 (95.2 %) are
caught and 14 missed. Most of these change nothing. What only asks the CPU for memory ahead is not changed
(`.cargo/mutants.toml`).

| missed | why |
|---|---|
"""


def survivors() -> list[str]:
    """Return a row for each mutant that is known to survive."""
    listed = tomllib.loads((ROOT / "tests" / "mutants" / "survivors.toml").read_text())["survivor"]
    names = (entry["name"].removeprefix("rust/core/src/").replace("|", "\\|") for entry in listed)
    return [f"| {name} | {entry['why']} |" for name, entry in zip(names, listed, strict=True)]


def compare() -> int:
    """Explore everything again; return how many rows the page has not."""
    page = PAGE.read_text().splitlines()
    others = 0
    for options in COMMANDS + LARGE:
        found = explored(options)
        others += found not in page
        print(f"{'the same' if found in page else 'another'}: {found}", flush=True)
    print(f"{len(COMMANDS + LARGE)} explored, {others} other than {PAGE.name} says")
    return others


def main() -> None:
    """Write the page, or compare with it."""
    if sys.argv[1:] == ["--check"]:
        sys.exit(compare() > 0)
    rows = [explored(options) for options in COMMANDS]
    large = [explored(options) for options in LARGE]
    bugs = [injected(patch) for patch in PATCHES]
    core = [row(Mutant.read(patch)) for patch in CORE]
    parts = (HEAD, rows, BOUNDS, large, REDUCTIONS + NOT, INJECTED, bugs, CORES, core, MUTANTS, survivors())
    text = "".join(part if isinstance(part, str) else "\n".join(part) + "\n" for part in parts)
    PAGE.write_text(text)


if __name__ == "__main__":
    main()
