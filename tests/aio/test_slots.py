"""Units that are taken by weight."""

from __future__ import annotations

import asyncio

import pytest

from rangecache.aio.slots import Slots


async def test_who_asked_first_is_served_first_however_much_he_wants() -> None:
    slots, order = Slots(10), []

    async def take(name: str, units: int) -> None:
        await slots.take(units)
        order.append(name)

    assert slots.take_now(4)
    large = asyncio.create_task(take("large", 8))
    await asyncio.sleep(0)
    small = asyncio.create_task(take("small", 1))
    await asyncio.sleep(0)
    assert not slots.take_now(1)
    assert order == []
    slots.give_back(4)
    await asyncio.gather(large, small)
    assert order == ["large", "small"]


async def test_who_wants_more_than_there_is_gets_all() -> None:
    slots = Slots(10)
    await slots.take(50)
    assert not slots.take_now(1)
    slots.give_back(50)
    assert slots.take_now(10)


@pytest.mark.parametrize("granted_first", [False, True])
async def test_no_unit_is_lost_by_who_is_cancelled(granted_first: bool) -> None:
    slots = Slots(10)
    assert slots.take_now(10)
    leaving, staying = (asyncio.create_task(slots.take(units)) for units in (10, 3))
    await asyncio.sleep(0)
    if granted_first:
        slots.give_back(10)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    assert leaving.cancelled()
    if not granted_first:
        slots.give_back(10)
    await staying
    assert slots.take_now(7)
    assert not slots.take_now(1)
