"""A container whose limit is what the formula says: whatever clients do, nobody is killed for want of memory."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from tests.edge.cgroup import memory_limit, why_not
from tests.edge.crowd import OBJECTS
from tests.edge.test_crowd import MIB, OBJECT_BYTES, Crowd, allowed_bytes, serving, until_all_left

if TYPE_CHECKING:
    from pathlib import Path

    from tests.proving import Proof

READERS = 12


@pytest.mark.skipif(bool(why_not()), reason=why_not())
async def test_a_container_of_the_size_of_the_formula_is_enough(tmp_path: Path, proof: Proof) -> None:
    limit_bytes = allowed_bytes(400 + READERS)
    timers = {"send_timeout": "3s", "header_timeout": "3s", "keepalive_timeout": "3s"}
    with memory_limit(limit_bytes) as group:
        async with AsyncExitStack() as stack:
            with group.entered():
                proxy = await stack.enter_async_context(serving(tmp_path, **timers))
            crowd = await Crowd.gather(proxy.port, 200, 200, 0)
            for _ in range(3):
                read = [proxy.get(f"large{number % OBJECTS}") for number in range(READERS)]
                assert {len(answer.body) for answer in await asyncio.gather(*read)} == {OBJECT_BYTES}
            await crowd.leave()
            await until_all_left(proxy)
            assert group.killed() == 0
    proof.row("a container of the size of the formula is enough", f"{limit_bytes / MIB:.0f} MiB, 0 killed")
