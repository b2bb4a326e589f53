"""How much a disk tier may hold: its own limit, and what the file system has to keep free for others. Pure."""

from __future__ import annotations

import sys
from typing import Final, NamedTuple

INODES_FREE_SHARE: Final = 0.10
"""Of all inodes of the file system, so many stay free. Kubernetes evicts pods at 5 %, other programs fail at none."""
NO_BOUND: Final = sys.maxsize


class Free(NamedTuple):
    """What an ordinary user may still use of a file system."""

    bytes: int
    inodes: int
    inodes_in_all: int
    """0: the file system does not count them (btrfs, tmpfs with `nr_inodes=0`, many network file systems)."""


class Bounds:
    """The most that may be held now. Never more than the limit; less where the file system is nearly full."""

    def __init__(self, limit_bytes: int, min_free_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._min_free_bytes = min_free_bytes
        self._ceiling_bytes = limit_bytes
        self._ceiling_blocks = NO_BOUND
        self.expected_bytes = 0
        """On disk, but not yet in the policy: it is just being filled."""
        self.expected_blocks = 0
        self.reason = ""
        """A half sentence for the person who asks why nothing may be held; empty while something may be."""

    @property
    def bytes(self) -> int:
        """What the policy may hold, in whole pages, as blocks are counted."""
        return max(0, self._ceiling_bytes - self.expected_bytes)

    @property
    def blocks(self) -> int:
        """How many blocks the policy may hold; each is a file and takes an inode."""
        return max(0, self._ceiling_blocks - self.expected_blocks)

    def measure(self, free: Free, held_bytes: int, held_blocks: int) -> None:
        """Set the bounds after `free` was found while the policy held so much."""
        held_bytes += self.expected_bytes
        held_blocks += self.expected_blocks
        self._ceiling_bytes = max(0, min(self._limit_bytes, held_bytes + free.bytes - self._min_free_bytes))
        self._ceiling_blocks = NO_BOUND
        self.reason = ""
        if not self._ceiling_bytes:
            self.reason = f"{free.bytes} bytes are free and min_free keeps {self._min_free_bytes} for others"
        if free.inodes_in_all:
            kept = int(free.inodes_in_all * INODES_FREE_SHARE)
            self._ceiling_blocks = max(0, held_blocks + free.inodes - kept)
            if not self._ceiling_blocks:
                self.reason = f"{free.inodes} inodes are free and {kept} are kept for others"
