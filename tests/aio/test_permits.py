"""Two ranks of permits: who is served when, and that none is ever lost."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from rangecache.aio.permits import Permits, Ticket

if TYPE_CHECKING:
    from collections.abc import Iterable


class Hall:
    """Tickets with names, and in which order they were served."""

    def __init__(self, total: int, patient_max: int) -> None:
        self.permits = Permits(total, patient_max)
        self.tickets: dict[str, Ticket] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.served: list[str] = []

    async def enter(self, *names: str) -> None:
        """Names that begin with p are patient."""
        for name in names:
            self.tickets[name] = Ticket(urgent=not name.startswith("p"))
            self.tasks[name] = asyncio.create_task(self._take(name))
        await self.settle()

    async def _take(self, name: str) -> None:
        await self.permits.acquire(self.tickets[name])
        self.served.append(name)

    async def leave(self, *names: str) -> None:
        """Give permits back."""
        for name in names:
            self.permits.release(self.tickets[name])
        await self.settle()

    async def settle(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)


async def _cancel(tasks: Iterable[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_the_urgent_go_first_and_each_rank_in_its_order() -> None:
    hall = Hall(1, 1)
    await hall.enter("u0", "p1", "p2", "u1", "u2")
    assert hall.served == ["u0"]
    await hall.leave("u0")
    await hall.leave("u1")
    await hall.leave("u2")
    await hall.leave("p1")
    assert hall.served == ["u0", "u1", "u2", "p1", "p2"]


async def test_the_patient_never_hold_more_than_their_share() -> None:
    hall = Hall(4, 2)
    await hall.enter("p1", "p2", "p3")
    assert hall.served == ["p1", "p2"]
    await hall.enter("u1", "u2")
    assert hall.served == ["p1", "p2", "u1", "u2"]
    await hall.leave("u1")  # a free permit, but not for p3
    assert "p3" not in hall.served
    await hall.leave("p1")
    assert hall.served[-1] == "p3"


async def test_one_that_waits_becomes_urgent_behind_those_who_were_so_before() -> None:
    hall = Hall(1, 1)
    await hall.enter("u0", "p1", "p2", "u1")
    hall.permits.promote(hall.tickets["p2"])
    await hall.enter("u2")
    for name in ("u0", "u1", "p2", "u2"):
        await hall.leave(name)
    assert hall.served == ["u0", "u1", "p2", "u2", "p1"]


async def test_one_that_holds_its_permit_leaves_the_share_to_another_when_it_becomes_urgent() -> None:
    hall = Hall(3, 1)
    await hall.enter("p1", "p2")
    assert hall.served == ["p1"]
    hall.permits.promote(hall.tickets["p1"])
    hall.permits.promote(hall.tickets["p1"])
    await hall.settle()
    assert hall.served == ["p1", "p2"]
    await hall.leave("p1", "p2")
    await hall.enter("p3", "p4")
    assert hall.served == ["p1", "p2", "p3"]  # promoting has not widened the share


async def test_one_that_was_cancelled_in_the_turn_of_its_promotion_widens_no_share() -> None:
    hall = Hall(2, 1)
    await hall.enter("u1", "p1", "p2")
    assert hall.served == ["u1", "p1"]
    hall.tasks["p2"].cancel()
    hall.permits.release(hall.tickets["p1"])  # finds p2 on its way out
    hall.permits.promote(hall.tickets["p2"])
    await hall.settle()
    await hall.leave("u1")
    await hall.enter("p3", "p4")
    assert hall.served == ["u1", "p1", "p3"]


async def test_whoever_is_cancelled_in_the_turn_of_his_grant_gives_it_to_the_next() -> None:
    hall = Hall(1, 1)
    await hall.enter("u0", "u1", "u2")
    hall.permits.release(hall.tickets["u0"])
    hall.tasks["u1"].cancel()
    await hall.settle()
    assert hall.served == ["u0", "u2"]


@given(
    st.integers(1, 5),
    st.lists(st.tuples(st.sampled_from(["enter", "leave", "promote", "cancel"]), st.integers(0, 99)), max_size=60),
)
def test_no_permit_is_lost_or_made_whatever_happens(total: int, steps: list[tuple[str, int]]) -> None:
    patient_max = max(1, total // 2)

    async def act() -> None:
        hall = Hall(total, patient_max)
        held: list[str] = []
        for number, (step, choice) in enumerate(steps):
            waiting = [name for name, task in hall.tasks.items() if not task.done()]
            if step == "enter":
                await hall.enter(f"{'pu'[choice % 2]}{number}")
            elif step == "leave" and held:
                await hall.leave(held.pop(choice % len(held)))
            elif step == "promote" and hall.tickets:
                hall.permits.promote(list(hall.tickets.values())[choice % len(hall.tickets)])
            elif step == "cancel" and waiting:
                hall.tasks[waiting[choice % len(waiting)]].cancel()
            await hall.settle()
            held += [name for name in hall.served if name not in held]
            hall.served.clear()
            patient = sum(not hall.tickets[name].urgent for name in held)
            waiting = [name for name, task in hall.tasks.items() if not task.done()]
            assert len(held) <= total
            assert patient <= patient_max
            if len(held) < total:
                assert all(not hall.tickets[name].urgent for name in waiting)
                assert not waiting or patient == patient_max
        await _cancel(hall.tasks.values())
        await hall.leave(*held)
        await hall.enter(*(f"u-{number}" for number in range(total + 1)))
        assert len(hall.served) == total
        hall.tasks[f"u-{total}"].cancel()
        await hall.settle()

    asyncio.run(act())
