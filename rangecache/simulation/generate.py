"""Traces of known kinds: what readers of large objects do, made of seeds.

All are generators of reads over the same objects, each object `object_bytes` long. The same shape and seed give the
same trace on every machine.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import accumulate, count, islice
from math import isqrt
from typing import TYPE_CHECKING, Final

from rangecache.trace import TracedRead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

KIB: Final = 1024
MIB: Final = 1024 * KIB

PIECE_BYTES: Final = 256 * KIB
"""Popularity belongs to pieces of this size."""
READ_BYTES: Final = 64 * KIB
SCAN_BYTES: Final = MIB
INTERVAL_S: Final = 0.01
ZIPF_EXPONENT: Final = 0.9
"""Of pieces; web objects and file blocks have 0.6 to 1.1 (Breslau et al., 1999)."""
WINDOW_SHARE: Final = 0.02
LOOP_FACTOR: Final = 1.1
HEADER_BYTES: Final = 16 * KIB
TILES_AT: Final = 64 * KIB
TILE_BYTES: Final = 192 * KIB
VIEW_TILES: Final = 3
FOOTER_BYTES: Final = 64 * KIB
CHUNK_BYTES: Final = 384 * KIB

_Place = tuple[int, int, int]
"""Number of the object, offset, length."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How large a trace is."""

    reads: int = 60_000
    objects: int = 64
    object_bytes: int = 16 * MIB
    seed: int = 1

    @property
    def pieces(self) -> int:
        """Pieces of all objects together."""
        return self.objects * (self.object_bytes // PIECE_BYTES)

    def piece(self, number: int, length: int = PIECE_BYTES, offset: int = 0) -> _Place:
        """The place of `length` bytes in a piece."""
        each = self.object_bytes // PIECE_BYTES
        return number // each, number % each * PIECE_BYTES + offset, length


def zipf(shape: Shape) -> Iterator[_Place]:
    """Small reads in pieces whose popularity falls with their rank."""
    choice = random.Random(shape.seed)  # noqa: S311
    ranked = list(range(shape.pieces))
    choice.shuffle(ranked)
    for piece in _by_rank(choice, ranked, ZIPF_EXPONENT):
        yield shape.piece(piece, READ_BYTES, choice.randrange(PIECE_BYTES // READ_BYTES) * READ_BYTES)


def zipf_scans(shape: Shape) -> Iterator[_Place]:
    """Pieces by their popularity, and now and then somebody reads everything from end to end while others go on."""
    favourites = ((which, offset // PIECE_BYTES * PIECE_BYTES, PIECE_BYTES) for which, offset, _ in zipf(shape))
    while True:
        yield from islice(favourites, shape.pieces)
        for number in range(shape.objects):
            for offset in range(0, shape.object_bytes, SCAN_BYTES):
                yield number, offset, SCAN_BYTES
                yield next(favourites)


def window(shape: Shape) -> Iterator[_Place]:
    """Small reads anywhere in a window that moves over the objects, once from end to end."""
    choice = random.Random(shape.seed)  # noqa: S311
    width = max(2, int(WINDOW_SHARE * shape.pieces))
    for number in range(shape.reads):
        piece = number * (shape.pieces - width) // shape.reads + choice.randrange(width)
        yield shape.piece(piece, READ_BYTES, choice.randrange(PIECE_BYTES // READ_BYTES) * READ_BYTES)


def loop(shape: Shape, cache_share: float) -> Iterator[_Place]:
    """Whole pieces, round and round, a tenth more of them than the cache holds; then the next ones in the same way."""
    length = min(shape.pieces, int(LOOP_FACTOR * cache_share * shape.pieces) + 1)
    rounds = max(2, shape.reads // shape.pieces)
    for first in count(0, length):
        for _ in range(rounds):
            for number in range(first, first + length):
                yield shape.piece(number % shape.pieces)


def cog(shape: Shape) -> Iterator[_Place]:
    """Maps: an image is opened, and a view of some tiles moves over it. The header is read for every view."""
    choice = random.Random(shape.seed)  # noqa: S311
    side = isqrt((shape.object_bytes - TILES_AT) // TILE_BYTES)
    for image in _by_rank(choice, range(shape.objects), 0.8):
        column, row = choice.randrange(side), choice.randrange(side)
        for _ in range(choice.randrange(3, 30)):
            yield image, 0, HEADER_BYTES
            for tile in range(VIEW_TILES * VIEW_TILES):
                across, down = (column + tile % VIEW_TILES) % side, (row + tile // VIEW_TILES) % side
                yield image, TILES_AT + (down * side + across) * TILE_BYTES, TILE_BYTES
            column, row = (column + choice.choice((-1, 0, 1))) % side, (row + choice.choice((-1, 0, 1))) % side


def parquet(shape: Shape) -> Iterator[_Place]:
    """Tables, or shards of arrays: the footer at the end is read first, then some chunks of columns."""
    choice = random.Random(shape.seed)  # noqa: S311
    for table in _by_rank(choice, range(shape.objects), 0.6):
        yield table, shape.object_bytes - FOOTER_BYTES, FOOTER_BYTES
        for _ in range(choice.randrange(2, 7)):
            chunk = choice.randrange((shape.object_bytes - FOOTER_BYTES) // CHUNK_BYTES)
            yield table, chunk * CHUNK_BYTES, CHUNK_BYTES


def _by_rank(choice: random.Random, ranked: Sequence[int], exponent: float) -> Iterator[int]:
    weights = list(accumulate((rank + 1) ** -exponent for rank in range(len(ranked))))
    while True:
        yield from choice.choices(ranked, cum_weights=weights, k=1000)


_PLACES: Final[dict[str, Callable[[Shape], Iterator[_Place]]]] = {
    "zipf": zipf,
    "zipf-scans": zipf_scans,
    "window": window,
    "cog": cog,
    "parquet": parquet,
}
LOOP: Final = "loop"
KINDS: Final = ("zipf", "zipf-scans", "window", LOOP, "cog", "parquet")


def generate(kind: str, shape: Shape, cache_share: float = 0.1) -> Iterator[TracedRead]:
    """A trace of one of `KINDS`. `cache_share` is the cache's size as a part of all objects; only the loop asks."""
    places = loop(shape, cache_share) if kind == LOOP else _PLACES[kind](shape)
    for number, (which, offset, length) in enumerate(islice(places, shape.reads)):
        yield TracedRead(number * INTERVAL_S, f"s3/generated/object-{which:05}", offset, length)
