"""Why the kernel refuses to show one process to another, and the exact way to get access.

The rule is ptrace(2), "Ptrace access mode checking": same user (all of real, effective, saved) and dumpable,
or CAP_SYS_PTRACE in the target's user namespace; on top, Yama's `kernel.yama.ptrace_scope` for reading
memory. `explain` decides on an `AccessFacts` value alone, so that every branch can be tested anywhere.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kcompressd import procfs
from kcompressd.errors import CaptureDeniedError

_CAP_SYS_PTRACE: Final = 1 << 19
_ALLOW: Final = "allow it: sudo sysctl kernel.yama.ptrace_scope=0"
_CONTAINER: Final = "in a container that was started with --cap-add=SYS_PTRACE"


@dataclass(frozen=True, slots=True)
class AccessFacts:
    """What decides about access: user ids, this process's capability, Yama's scope, and whether this is a
    container.
    """

    pid: int
    uid: int
    target_uid: int | None
    has_ptrace: bool
    yama_scope: int
    in_container: bool


def gather(pid: int) -> AccessFacts:
    """Collect the facts about reading process `pid` from here."""
    mine = procfs.status(os.getpid())
    return AccessFacts(
        pid=pid,
        uid=os.geteuid(),
        target_uid=_target_uid(pid),
        has_ptrace=bool(int(mine.get("CapEff", "0"), 16) & _CAP_SYS_PTRACE),
        yama_scope=yama_scope(),
        in_container=os.path.exists("/.dockerenv") or os.path.exists("/run/.containerenv"),
    )


def explain(facts: AccessFacts) -> CaptureDeniedError:
    """Return the error that says why access was refused and how to get it."""
    reason, fix = _reason_and_fix(facts)
    return CaptureDeniedError(f"pid {facts.pid}", reason, fix)


def _reason_and_fix(facts: AccessFacts) -> tuple[str, str]:
    root = f"run it as root: sudo kcompressd capture --pid {facts.pid} -o FILE"
    setcap = f"or give the interpreter the right: sudo setcap cap_sys_ptrace+ep {os.path.realpath(sys.executable)}"
    fix = f"{root}, {_CONTAINER}" if facts.in_container else f"{root}; {setcap}"
    if facts.has_ptrace:
        return (
            "access refused despite CAP_SYS_PTRACE (another user namespace, or a security module)",
            "run it in the namespace of the process, on the host",
        )
    if facts.uid == 0:
        return "root without CAP_SYS_PTRACE may not read it", "start the container with --cap-add=SYS_PTRACE"
    if facts.target_uid != facts.uid:
        owner = "another user" if facts.target_uid is None else f"uid {facts.target_uid}"
        return f"it belongs to {owner}, this is uid {facts.uid}", fix
    return _same_user(facts, root, fix)


def _same_user(facts: AccessFacts, root: str, fix: str) -> tuple[str, str]:
    if facts.yama_scope == 0:
        return "it is protected (set-user-id, or made itself undumpable)", fix
    if facts.yama_scope >= 3:
        return (
            "kernel.yama.ptrace_scope=3 forbids reading any process until the next boot",
            "boot without it in /etc/sysctl.d",
        )
    allow = f"{_ALLOW}, on the host" if facts.in_container else _ALLOW
    if facts.yama_scope == 2:
        return "kernel.yama.ptrace_scope=2 lets only root read it", f"{allow}; or {root}"
    start = "let kcompressd start it: kcompressd capture -o FILE -- COMMAND"
    return "kernel.yama.ptrace_scope=1 lets only its parents read it", f"{allow}; or {start}; or {root}"


def _target_uid(pid: int) -> int | None:
    try:
        return int(procfs.status(pid)["Uid"].split()[1])
    except (OSError, KeyError):
        return None


def yama_scope(root: Path = Path("/")) -> int:
    """Return `kernel.yama.ptrace_scope` of the host whose /proc is below `root`; 0 where there is no Yama."""
    scope = procfs.text(root / "proc/sys/kernel/yama/ptrace_scope")
    return int(scope) if scope.isdecimal() else 0
