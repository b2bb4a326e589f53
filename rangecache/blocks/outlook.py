"""When the blocks of an object would leave a tier: how many others would go before them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from rangecache.blocks.base import steps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rangecache.blocks.admission import Standing

K = TypeVar("K")


class Outlook(NamedTuple):
    """Where the blocks of an object stand in a tier's order of departure."""

    first: int
    """Blocks of the tier that would go before the first of them."""
    last: int
    """The same for the last of them."""
    of: int
    """Blocks of the tier."""
    ranks: tuple[int, int]
    """The lowest and the highest of their ranks, in the policy's own meaning."""


async def outlook(standing: Iterable[Standing[K]], meant: Callable[[K], bool]) -> Outlook | None:
    """Walk over a tier's order in steps that leave the loop to others. None: it has none of the blocks meant."""
    places: list[int] = []
    ranks: list[int] = []
    count = 0
    for step in steps(standing):
        for each in step:
            if meant(each.key):
                places.append(count)
                ranks.append(each.rank)
            count += 1
        await asyncio.sleep(0)
    if not places:
        return None
    return Outlook(places[0], places[-1], count, (min(ranks), max(ranks)))
