"""Blocks that stay in memory: their reads never come to the disk, so there they would age and go, the hottest first.

That would cost nothing until the program is restarted, or memory is needed for something else; then the blocks that
are read most would all have to be fetched. So the disk tier looks now and then what is in memory. What was there at the
look before too, through all that was read in between, counts as read on disk. What a scan has just brought does not.
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


class Residents:
    """What was in memory at the last look."""

    def __init__(self, in_memory: Callable[[], Iterable[BlockKey]], policy: Admission[bytes]) -> None:
        self._in_memory = in_memory
        self._policy = policy
        self._before: set[int] = set()  # hashes: eight bytes a block would be enough, and no key is kept alive

    async def look(self, limit_bytes: int) -> list[bytes]:
        """Touch what has stayed, in memory's own order of departure. What the policy evicts meanwhile."""
        now: set[int] = set()
        evicted: list[bytes] = []
        for keys in steps(self._in_memory(), STEP):
            stayed = [key for key in keys if hash(key) in self._before]
            now.update(map(hash, keys))
            for name in map(block_name, stayed):
                if name in self._policy:
                    self._policy.touch(name)
            evicted += self._policy.evict(limit_bytes)  # a policy may note touches, and no more than some
            await asyncio.sleep(0)
        self._before = now
        return evicted
