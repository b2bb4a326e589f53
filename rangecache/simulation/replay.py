"""A trace as the cache sees it, in blocks, and what comes of it with one policy and one size."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rangecache.errors import InvalidTrace

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rangecache.simulation.policies import Policy
    from rangecache.trace import TracedRead

ACCESSES_MAX: Final = 10_000_000
"""Blocks that the reads of a trace touch, all together: 16 bytes each, and 150 more for each different one."""


class BlockTrace:
    """Which blocks each read touches. Blocks are numbered in the order in which they are first touched.

    How long an object is a trace does not say: it is taken to end where the last of all reads ends.
    """

    def __init__(self, reads: Iterable[TracedRead], block_bytes: int) -> None:
        """Raises `InvalidTrace` if it is too long to be kept in memory."""
        self.blocks = array("I")
        """The blocks, touch by touch."""
        self.wanted = array("I")
        """Bytes that each touch wants of its block."""
        self.ends = array("I")
        """For each read, how many touches there have been with it."""
        self._numbers: dict[tuple[str, int], int] = {}
        object_ends: dict[str, int] = {}
        for read in reads:
            self._add(read, block_bytes)
            end = read.offset + read.length
            if end > object_ends.get(read.object, 0):
                object_ends[read.object] = end
        self.sizes = array(
            "I",
            (min(block_bytes, object_ends[name] - index * block_bytes) for name, index in self._numbers),
        )
        """Bytes of each block."""
        self.objects = len(object_ends)
        self._numbers.clear()
        self.wanted_bytes = sum(self.wanted)
        self.footprint_bytes = sum(self.sizes)
        """Of all different blocks together."""

    def _add(self, read: TracedRead, block_bytes: int) -> None:
        first, last = read.offset // block_bytes, (read.offset + read.length - 1) // block_bytes
        if len(self.blocks) + last - first >= ACCESSES_MAX:
            raise InvalidTrace(
                f"after {len(self.ends)} reads the trace has touched {ACCESSES_MAX} blocks of {block_bytes} bytes;"
                " cut it, or take larger blocks"
            )
        end = read.offset + read.length
        for index in range(first, last + 1):
            number = self._numbers.setdefault((read.object, index), len(self._numbers))
            self.blocks.append(number)
            start = index * block_bytes
            self.wanted.append(min(end, start + block_bytes) - max(read.offset, start))
        self.ends.append(len(self.blocks))

    @property
    def reads(self) -> int:
        """How many reads there are."""
        return len(self.ends)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a cache of one size and policy does with a trace."""

    reads: int
    hits: int
    """Reads of which every block was there."""
    partial: int
    """Reads of which some blocks were there."""
    wanted_bytes: int
    hit_bytes: int
    """Wanted bytes whose block was there."""
    origin_requests: int
    """Neighbours that are missing are fetched together, as far as the longest request allows."""
    origin_bytes: int

    @property
    def hit_ratio(self) -> float:
        """Of reads."""
        return self.hits / self.reads if self.reads else 0.0

    @property
    def byte_hit_ratio(self) -> float:
        """Of the bytes that were asked for."""
        return self.hit_bytes / self.wanted_bytes if self.wanted_bytes else 0.0


def without_cache(trace: BlockTrace) -> Outcome:
    """What the origin sees if nothing is in between."""
    return Outcome(trace.reads, 0, 0, trace.wanted_bytes, 0, trace.reads, trace.wanted_bytes)


def replay(trace: BlockTrace, policy: Policy, limit_bytes: int, run_blocks: int) -> Outcome:
    """Read everything in order through one cold tier. `run_blocks` is the longest request, in blocks."""
    held = bytearray(len(trace.sizes))
    blocks, sizes, wanted = trace.blocks, trace.sizes, trace.wanted
    touch = policy.touch
    hits = partial = hit_bytes = origin_requests = origin_bytes = start = 0
    for end in trace.ends:
        missing = run = 0
        for at in range(start, end):
            block = blocks[at]
            if held[block]:
                touch(block)
                hit_bytes += wanted[at]
                run = 0
                continue
            missing += 1
            origin_requests += not run
            run = (run + 1) % run_blocks
            size_bytes = sizes[block]
            origin_bytes += size_bytes
            held[block] = 1
            policy.admit(block, size_bytes)
            for evicted in policy.evict(limit_bytes):
                held[evicted] = 0
        hits += not missing
        partial += 0 < missing < end - start
        start = end
    return Outcome(trace.reads, hits, partial, trace.wanted_bytes, hit_bytes, origin_requests, origin_bytes)
