"""What is read again and again from memory: the disk sees none of it, so there the hottest blocks would age and go.

That would cost nothing until the program is restarted, or memory is needed for something else; then the blocks that are
read most would all have to be fetched. So the disk tier asks memory now and then, and its favourites count as read on
disk, or are written there again if they have gone.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from rangecache.blocks.base import steps
from rangecache.blocks.disk_files import block_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rangecache.blocks.admission import Admission
    from rangecache.model import BlockKey

STEP: Final = 128
"""Names that are digested before the loop turns to requests: less than half a millisecond."""


class Favourites:
    """Carries the news from one tier to the other."""

    def __init__(
        self,
        of_memory: Callable[[], Iterable[tuple[BlockKey, memoryview]]],
        policy: Admission[bytes],
        keep: Callable[[BlockKey, memoryview], None],
    ) -> None:
        self._of_memory = of_memory
        self._policy = policy
        self._keep = keep

    async def touch(self, limit_bytes: int) -> list[bytes]:
        """Let memory's favourites count as read. What the policy evicts meanwhile."""
        evicted: list[bytes] = []
        for blocks in steps(self._of_memory(), STEP):
            for key, data in blocks:
                name = block_name(key)
                if name in self._policy:
                    self._policy.touch(name)
                else:
                    self._keep(key, data)
            evicted += self._policy.evict(limit_bytes)  # a policy may note touches, and no more than some
            await asyncio.sleep(0)
        return evicted
