"""A process with contents of our own, to be captured: `python -m kcompressd.demo_process [--mib N] [--seed
S]`.

`make demo` captures it, and so does tools/make_sample.py for the package's sample. Everything that it builds
comes from a seeded generator and a vocabulary that is made up here from syllables: no third-party text. The
mix is that of a service: records, trees, texts, JSON, floats, counters, sparse tables, compressed blobs,
keys, freed and zeroed buffers.

It prints `ready` when all is built and then sleeps until it is ended, at most `--seconds`. With `--hold` it
first prints `loaded`, when everything that it needs is imported, and waits for a line on standard input: what
is present before that line is the interpreter's, what comes after it is ours.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any, Final, TypeAlias

import numpy as np

Builder: TypeAlias = Callable[[Random, Sequence[str], int], object]

_ONSETS: Final = ("b", "d", "f", "g", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z", "br", "dr", "gl", "kr", "st")
_VOWELS: Final = ("a", "e", "i", "o", "u", "ai", "ou")
_CODAS: Final = ("", "", "n", "r", "s", "l", "m")
_WORDS: Final = 1500
_MAX_MIB: Final = 4096


def vocabulary(seed: int) -> list[str]:
    """Return made-up words, the frequent ones first and short."""
    random = Random(seed)
    words: dict[str, None] = {}
    while len(words) < _WORDS:
        syllables = 1 + min(2, len(words) // 150)
        words["".join(_syllable(random) for _ in range(random.randint(1, syllables)))] = None
    return list(words)


def _syllable(random: Random) -> str:
    return random.choice(_ONSETS) + random.choice(_VOWELS) + random.choice(_CODAS)


def _word(random: Random, words: Sequence[str]) -> str:
    """A word with a frequency that falls with its rank, as in natural text."""
    return words[int(len(words) ** random.random()) - 1]


def sentences(random: Random, words: Sequence[str], size: int) -> str:
    """Return about `size` characters of sentences."""
    parts: list[str] = []
    length = 0
    while length < size:
        line = " ".join(_word(random, words) for _ in range(random.randint(4, 14))).capitalize() + ". "
        parts.append(line)
        length += len(line)
    return "".join(parts)


def records(random: Random, words: Sequence[str], size: int) -> list[dict[str, object]]:
    """Return records of about `size` bytes: dictionaries with names, numbers, lists and short texts."""
    return [
        {
            words[0]: number,
            words[1]: f"{_word(random, words)}-{random.randrange(10**6):06d}",
            words[2]: round(random.random() * 1000, 1),
            words[3]: [random.randrange(100_000) for _ in range(4)],
            words[4]: sentences(random, words, 60),
            words[5]: random.random() < 0.8,
        }
        for number in range(size // 820)
    ]


def tree(random: Random, words: Sequence[str], size: int) -> list[Any]:
    """Return a search tree of about `size` bytes: nodes of [key, left, right, weight]."""
    root: list[Any] = [1 << 23, None, None, words[0]]
    for _ in range(size // 145):
        key, node = random.randrange(1 << 24), root
        while True:
            side = 1 if key < node[0] else 2
            below = node[side]
            if below is None:
                node[side] = [key, None, None, _word(random, words)]
                break
            node = below
    return root


def texts(random: Random, words: Sequence[str], size: int) -> list[bytes]:
    """Return log lines in buffers of 64 KiB."""
    buffers = []
    for _ in range(size >> 16):
        lines = (
            f"{at:010d} {_word(random, words)}[{random.randrange(4000)}]: {sentences(random, words, 50)}\n"
            for at in range(random.randrange(10**9), 10**10, 17)
        )
        buffers.append(_joined(lines, 1 << 16))
    return buffers


def documents(random: Random, words: Sequence[str], size: int) -> list[str]:
    """Return the records as JSON text."""
    return [json.dumps(records(random, words, 60_000)) for _ in range(max(1, size // 45_000))]


def floats(random: Random, words: Sequence[str], size: int) -> list[object]:
    """Return measurements: random walks in float64 and float32, rounded ones among them."""
    generator = np.random.default_rng(random.randrange(2**32))
    walk = np.cumsum(generator.normal(size=size // 24))
    return [
        walk,
        np.round(walk, 2),
        walk.astype(np.float32),
        generator.normal(size=size // 24).astype(np.float32),
    ]


def counters(random: Random, words: Sequence[str], size: int) -> list[object]:
    """Return integers: sorted identifiers, small counts, indices."""
    generator = np.random.default_rng(random.randrange(2**32))
    third = size // 3
    return [
        np.sort(generator.integers(0, 2**40, third // 8)),
        generator.poisson(3, third // 8),
        generator.integers(0, 50_000, third // 4, dtype=np.int32),
    ]


def sparse(random: Random, words: Sequence[str], size: int) -> object:
    """Return a table that is mostly zero, with every page written to once."""
    generator = np.random.default_rng(random.randrange(2**32))
    table = np.zeros(size // 4, dtype=np.uint32)
    table[generator.integers(0, table.size, table.size // 40)] = generator.integers(1, 1000, table.size // 40)
    return table


def packed(random: Random, words: Sequence[str], size: int) -> list[bytes]:
    """Return compressed texts."""
    text = sentences(random, words, 3 << 16)
    cuts = (random.randrange(1 << 16) for _ in range(size // 70_000 + 1))
    return [zlib.compress((text[cut:] + text[:cut]).encode(), 6) for cut in cuts]


def keys(random: Random, words: Sequence[str], size: int) -> list[bytes]:
    """Return random bytes, as encrypted data or media are."""
    return [random.randbytes(1 << 14) for _ in range(size >> 14)]


def zeroed(random: Random, words: Sequence[str], size: int) -> bytearray:
    """Return a buffer that was used and then cleared: present pages of zeros."""
    buffer = bytearray(b"\xff") * size
    buffer[:] = bytes(size)
    return buffer


SHARES: Final[dict[Builder, int]] = {
    records: 36,
    tree: 20,
    texts: 9,
    documents: 8,
    floats: 5,
    counters: 6,
    sparse: 8,
    packed: 3,
    keys: 1,
    zeroed: 4,
}
"""What of a hundred bytes each builder makes."""


def build(seed: int, mib: float) -> list[object]:
    """Build about `mib` MiB of contents; the same values for the same seed, at addresses that differ."""
    random, words = Random(seed), vocabulary(seed)
    return [make(random, words, int(mib * share / 100 * 2**20)) for make, share in SHARES.items()]


def _joined(lines: Iterator[str], size: int) -> bytes:
    buffer = bytearray()
    while len(buffer) < size:
        buffer += next(lines).encode()
    return bytes(buffer[:size])


def main(argv: Sequence[str] | None = None) -> int:
    """Build, say `ready`, sleep until ended."""
    parser = argparse.ArgumentParser(prog="kcompressd.demo_process", description=__doc__.partition(":")[0])
    parser.add_argument("--mib", type=float, default=64, help="contents in MiB (default 64)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the contents (default 1)")
    parser.add_argument("--seconds", type=float, default=600, help="end after this long (default 600)")
    parser.add_argument("--hold", action="store_true", help="say `loaded` and wait for a line before building")
    arguments = parser.parse_args(argv)
    if not 0 < arguments.mib <= _MAX_MIB:
        parser.error(f"--mib must be above 0 and at most {_MAX_MIB}")
    if arguments.hold:
        build(arguments.seed, 0.5)
        print("loaded", flush=True)
        sys.stdin.readline()
    _contents = build(arguments.seed, arguments.mib)  # held until the process ends
    print("ready", flush=True)
    time.sleep(arguments.seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
