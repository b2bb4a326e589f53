"""Whether fetching ahead has paid. Pure."""

from __future__ import annotations

from typing import Final

WASTE_SHARE_MAX: Final = 0.5
WASTE_SAMPLE_MIN: Final = 4  # blocks; the share of fewer says nothing


class Ledger:
    """Blocks that were fetched ahead for one reason, and what became of them."""

    def __init__(self) -> None:
        self.used = 0
        self.wasted = 0
        self.stopped = False
        """No more is to be fetched for this reason."""
        self.pending: dict[int, None] = {}
        """Numbers of the blocks that nobody has come for yet, in the order in which they were asked for."""

    def settle(self, index: int, *, used: bool) -> None:
        """Block `index` is not pending any more."""
        if index not in self.pending:
            return
        del self.pending[index]
        self.used += used
        self.wasted += not used
        settled = self.used + self.wasted
        if settled >= WASTE_SAMPLE_MIN and self.wasted > WASTE_SHARE_MAX * settled:
            self.stopped = True
