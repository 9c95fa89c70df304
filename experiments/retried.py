"""Split, but a page that the store refuses is dirty again where it is: the next scan tries it again (O10)."""

from __future__ import annotations

from kcompressd import Policy


class Retried(Policy):
    """Nothing is activated for being refused."""

    design = "split"

    def refused(self, queued: bool, view: object) -> str:
        """Whoever compressed it: dirty again."""
        return "redirty"
