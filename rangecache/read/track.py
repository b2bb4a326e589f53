"""What is known of the readers of one version of an object."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rangecache.read.streams import Streams

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rangecache.ranges import ByteRange
    from rangecache.read.density import Density
    from rangecache.read.grids import Trial
    from rangecache.read.habits import Opening
    from rangecache.read.known import Known
    from rangecache.read.ledger import Ledger
    from rangecache.read.run import Run
    from rangecache.read.streams import Stride, Sweep


class Track:
    """What is known of the readers of one version."""

    __slots__ = ("density", "known", "opening", "runs", "seen_at", "streams", "trial", "unused")

    def __init__(
        self, known: Known, max_window_bytes: int, opening: Opening, trial: Trial | None, density: Density | None
    ) -> None:
        self.known = known
        self.opening = opening
        self.trial = trial
        """Of several sizes of blocks, while it is going on."""
        self.streams = Streams(known.block_bytes, max_window_bytes)
        self.density = density
        """None where it is known that reads of this object leave out what lies between them."""
        self.unused: dict[int, Ledger] = {}
        """Blocks that were fetched ahead and nobody has come for, and whose books they are in."""
        self.runs: dict[Run, Ledger] = {}
        """What is on its way for nobody yet."""
        self.seen_at = 0.0


class Course(NamedTuple):
    """What one read has shown."""

    track: Track
    ranges: Sequence[ByteRange]
    """What was asked for."""
    taken: frozenset[int]
    """Numbers of those of its blocks that were fetched ahead, for it as it turns out."""
    streams: tuple[Sweep | Stride, ...]
    """What it continues."""
    expected: Sequence[int]
    """Blocks that are mostly read next, if it is the first read of the object."""
