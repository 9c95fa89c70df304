"""A machine of your own, compiled to a table, and a million events of its log judged against it."""

import numpy as np
from transitions import Machine

from kcompressd import lifecycle
from kcompressd.event_log import LOG, UNSAID

machine = Machine(
    states=["idle", "running", "failed"],
    transitions=[["start", "idle", "running"], ["stop", "running", "idle"], ["crash", "running", "failed"]],
    initial="idle",
    auto_transitions=False,
)
table = lifecycle.compile(machine)

log = np.zeros(1_000_000, LOG)
log["model"] = np.arange(len(log)) % 1000
log["event"] = np.where(np.arange(len(log)) // 1000 % 2 == 0, table.events.index("start"), table.events.index("stop"))
log["to"] = UNSAID
print(table.validate(log).ok)

log["event"][500_000] = table.events.index("crash")  # of a machine that is not running
print(table.validate(log).first)
