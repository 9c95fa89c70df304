"""A process is forked in the middle of a run: the run goes on, and the fork, which has none of its threads, waits for nobody."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

FORKS = """
import os, signal, sys
from kcompressd import Lab, Pages

forked = []

def watch(now):
    if not forked:
        forked.append(os.fork())
        if forked == [0]:
            signal.alarm(20)
            {child}

try:
    complete = Lab(compressor="zstd:19", store="zram").run(Pages.sample()[::3], watch=watch).complete
except RuntimeError as error:
    sys.exit(str(error))
_, status = os.waitpid(forked[0], 0)
print(complete, os.waitstatus_to_exitcode(status))
"""


@pytest.mark.parametrize(
    ("child", "code", "said"),
    [
        ("sys.exit(7)", 7, ""),
        ("raise KeyboardInterrupt", -signal.SIGINT, "KeyboardInterrupt\n"),
        ("pass", 1, "the threads of this run are in the process that this one was forked from\n"),
    ],
)
def test_a_fork_leaves_the_run_alone(child: str, code: int, said: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKS.format(child=child)], capture_output=True, text=True, timeout=120
    )
    assert ran.stdout == f"True {code}\n", ran
    assert ran.stderr.endswith(said) and "panicked" not in ran.stderr
