"""The bytes of an answer, if nobody has to wait for any of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rangecache.ranges import block_indices

if TYPE_CHECKING:
    from rangecache.blocks.tiers import Tiers
    from rangecache.ranges import ByteRange
    from rangecache.read.known import Known

PART_BYTES_MAX: Final = 256 * 1024
"""Of one answer, to be copied from the page cache on the event loop: some 20 µs."""


class AtHand:
    """Looks for the bytes of ranges in memory, and in what of the disk the page cache has."""

    def __init__(self, tiers: Tiers) -> None:
        self._tiers = tiers

    def in_memory(self, known: Known, ranges: tuple[ByteRange, ...], most_bytes: int) -> list[memoryview] | None:
        """The bytes of all ranges, if every block is in memory and they are not too many."""
        block_bytes, peek = known.block_bytes, self._tiers.peek
        views, total = [], 0
        for wanted in ranges:
            total += wanted.end - wanted.start
            if total > most_bytes:
                return None
            for index in block_indices(wanted, block_bytes):
                block = peek(known.block_key(index))
                if block is None:
                    return None
                offset = index * block_bytes
                views.append(block[max(0, wanted.start - offset) : wanted.end - offset])
        return views

    def with_disk(
        self, known: Known, ranges: tuple[ByteRange, ...], most_bytes: int
    ) -> tuple[list[memoryview], int] | None:
        """As `in_memory`, for what that does not have: also from disk as far as that takes no thread, and how many of
        the bytes came from there."""
        if sum([wanted.end - wanted.start for wanted in ranges]) > min(most_bytes, PART_BYTES_MAX):
            return None
        block_bytes, tiers = known.block_bytes, self._tiers
        views, disk_bytes = [], 0
        for wanted in ranges:
            for index in block_indices(wanted, block_bytes):
                key, offset = known.block_key(index), index * block_bytes
                start, end = max(0, wanted.start - offset), min(wanted.end - offset, block_bytes)
                block = tiers.peek(key)
                if block is not None:
                    views.append(block[start:end])
                    continue
                part = tiers.peek_part(key, start, end)
                if part is None:
                    return None
                disk_bytes += end - start
                views.append(part)
        return views, disk_bytes
