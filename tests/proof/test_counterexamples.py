"""What the state machine and the simulated loop have found, shrunk, each by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.proof.model import BLOCK, Ask, Rules, is_weak, size_of
from tests.proof.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

WEAK = 5


@pytest.fixture
def world() -> Iterator[World]:
    """One in which nothing is believed for longer than it takes to hear it."""
    made = World(Rules(), latency_s=0.0, seed=0)
    yield made
    made.close()


@pytest.mark.parametrize("condition", ["if_match", "if_none_match", "if_modified_since", "if_range", None])
@pytest.mark.parametrize("version", [1, WEAK])
def test_a_condition_comes_before_a_range_beyond_the_end_also_where_nothing_is_kept(
    world: World, condition: str | None, version: int
) -> None:
    """What passes through was asked for with its range, and 416 was the answer whatever If-Match said."""
    assert is_weak(WEAK)
    world.write("a", rolls_back_to=WEAK)
    for _ in range(3):
        world.read("a", Ask(range=f"bytes={size_of(WEAK)}-", condition=condition, version=version))


def test_an_origin_that_forgets_a_pin_is_found_out() -> None:
    """The answer is of the version that came after the one which is being read. None of its bytes may be combined."""
    first, second = (version for version in (1, 4) if size_of(version) >= 4 * BLOCK)
    believing = World(Rules(ttl_s=60.0), latency_s=0.0, seed=0)
    believing.write("a", rolls_back_to=first)
    believing.read("a", Ask(range="bytes=0-9"))
    believing.write("a", rolls_back_to=second)
    believing.moody.next_faults.append("other version")
    believing.read("a", Ask(range=f"bytes={3 * BLOCK}-{3 * BLOCK + 9}"))
    assert not believing.moody.next_faults
    believing.close()


def test_a_body_that_is_gone_on_with_is_gone_on_with_in_the_same_version() -> None:
    """The body breaks off, and the answer to the rest of it is of the version that came meanwhile."""
    believing = World(Rules(ttl_s=60.0), latency_s=0.05, seed=0)
    believing.write("a", rolls_back_to=1)
    believing.read("a", Ask(range="bytes=0-9"))
    believing.moody.next_faults.extend(["cut later", "other version"])
    reading = believing.begin("a", Ask(range=f"bytes={BLOCK}-{3 * BLOCK - 1}"), pieces=1)
    believing.write("a", rolls_back_to=4)
    believing.run(reading.go_on())
    assert not believing.moody.next_faults
    believing.close()
