"""How large the blocks of an object are: of the configured size, or a sixteenth of it. Pure.

Large blocks mean that more is fetched than was asked for, small ones mean more requests, files and steps. What is right
depends on who reads. Who reads on from where he stopped uses every byte of a large block, and so does whoever looks at
a place of a map, in the end. Who reads 90 KB here and there, as the chunks of a Zarr shard, has an origin send three
times that for blocks of 256 KiB; who reads 5 KB, fifty times.

So the first reads of each object are tried on paper with both sizes (`Trial`), and if the other one is far cheaper it
is taken for the rest of this object and for the next ones of its kind. One thing is known before: whoever begins with
the last few bytes of an object reads an index there, and then the pieces that it names.

A version has blocks of one size at a time. The size is a part of their names, so that nothing can be mixed up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rangecache.origin.recent import Recent
from rangecache.ranges import SuffixRange, block_indices
from rangecache.read.kinds import kind_of

if TYPE_CHECKING:
    from rangecache.model import ObjectRef
    from rangecache.ranges import ByteRange, RangeSpec
    from rangecache.read.kinds import Kind

SMALL_SHIFT: Final = 4  # 16 KiB of 256: what reads of 90 KB need to have less than a fifth too much
BLOCK_BYTES_MIN: Final = 4096  # a page, and what file systems give a file at the least
INDEX_BYTES_MAX: Final = 64 * 1024  # a suffix of at most that is an index: of a Zarr shard, or a Parquet footer
TRIAL_READS: Final = 16  # fewer say too little, and what an object costs is mostly decided by then
LARGE_READ_BYTES: Final = 1024 * 1024  # of that, large blocks are no more than a quarter too much
# Prices in bytes. A request is worth some 4 KB in money of what leaves a cloud, 60 KB in work for the machines at both
# ends, and 3 MB in the time of a reader 30 ms away who waits for one after the other: 128 KiB is between those. A block
# costs 8 KiB: an entry in memory, a file of its own, a turn of a loop.
REQUEST_PRICE_BYTES: Final = 128 * 1024
BLOCK_PRICE_BYTES: Final = 8 * 1024
GAIN: Final = 0.5  # the other size has to cost no more than this share: a part of what is here will be fetched anew
KINDS_MAX: Final = 1024


def small_block_bytes(block_bytes: int) -> int:
    """The smaller size where `block_bytes` is the configured one."""
    return max(block_bytes >> SMALL_SHIFT, BLOCK_BYTES_MIN)


class Trial:
    """The first reads of one version, on paper with blocks of each size."""

    def __init__(self, block_sizes: tuple[int, ...]) -> None:
        self._touched: dict[int, set[int]] = {size: set() for size in block_sizes}
        self._requests = dict.fromkeys(block_sizes, 0)
        self.reads = 0
        self.large = False
        """One of the reads was so long that the size of the blocks is a matter of their number alone."""

    @property
    def done(self) -> bool:
        """There is nothing more to be learned."""
        return self.large or self.reads >= TRIAL_READS

    def read(self, wanted: ByteRange) -> None:
        """One more read."""
        self.reads += 1
        if wanted.length >= LARGE_READ_BYTES:
            self.large = True
            return
        for size, touched in self._touched.items():
            before = len(touched)
            touched.update(block_indices(wanted, size))
            self._requests[size] += len(touched) > before

    def price(self, block_bytes: int) -> int:
        """What these reads would have cost with blocks of this size."""
        touched = len(self._touched[block_bytes])
        return touched * (block_bytes + BLOCK_PRICE_BYTES) + self._requests[block_bytes] * REQUEST_PRICE_BYTES


class Grids:
    """Sizes of blocks by kind of object."""

    def __init__(self, block_bytes: int) -> None:
        """`block_bytes` is the configured size."""
        self._large = block_bytes
        self._small = small_block_bytes(block_bytes)
        self._learned: Recent[Kind, int] = Recent(KINDS_MAX)

    def first(self, ref: ObjectRef, wanted: RangeSpec | None) -> int:
        """For an object that is not known, of which `wanted` is read first (None: nothing yet)."""
        learned = self._learned.get(kind_of(ref))
        if learned is not None:
            return learned
        index = isinstance(wanted, SuffixRange) and wanted.length <= INDEX_BYTES_MAX
        return self._small if index else self._large

    def is_small(self, block_bytes: int) -> bool:
        """Whether this is the size for readers of pieces here and there."""
        return block_bytes < self._large

    def trial(self) -> Trial | None:
        """For an object that is read for the first time. None where there is but one size."""
        return Trial((self._large, self._small)) if self._small < self._large else None

    def decide(self, ref: ObjectRef, trial: Trial, block_bytes: int) -> int:
        """The trial of this object, whose blocks have `block_bytes`, is over. Gives the size to go on with."""
        if trial.large or block_bytes not in (self._large, self._small):
            decided = self._large
        else:
            other = self._small if block_bytes == self._large else self._large
            decided = other if trial.price(other) <= GAIN * trial.price(block_bytes) else block_bytes
        self._learned.put(kind_of(ref), decided)
        return decided
