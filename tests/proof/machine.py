"""Hypothesis draws the steps of a simulated world and shrinks what the model does not allow."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.proof.model import BLOCK, Ask, Rules
from tests.proof.moody import FAULTS
from tests.proof.world import NAMES, World

READINGS_MAX: Final = 3  # that are paused at the same time
STEPS: Final[Counter[str]] = Counter()
"""How often each step was taken, by all machines together."""

_positions = st.sampled_from(
    [0, 1, 15, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 3 * BLOCK - 1, 4 * BLOCK, 5 * BLOCK + 17, 6 * BLOCK + 17, 10**9]
)
_ranges = st.one_of(
    st.none(),
    st.builds(lambda first, length: f"bytes={first}-{first + length}", _positions, _positions),
    st.builds(lambda first: f"bytes={first}-", _positions),
    st.builds(lambda length: f"bytes=-{length}", _positions),
    st.builds(lambda first, other: f"bytes={first}-{first + 20},{other}-{other + 4000}", _positions, _positions),
)
_names = st.sampled_from(NAMES)
_asks = st.builds(
    Ask,
    head=st.sampled_from([False] * 5 + [True]),
    range=_ranges,
    condition=st.sampled_from(
        [None] * 8 + ["if_match", "if_none_match", "if_modified_since", "if_unmodified_since", "if_range"]
    ),
    version=st.integers(1, 8),
    by_date=st.booleans(),
    cache_control=st.sampled_from([None] * 8 + ["no-cache", "max-age=0", "only-if-cached"]),
)
_soon = st.sampled_from([0.0, 0.005, 0.02, 0.06, 0.3])


class CacheMachine(RuleBasedStateMachine):
    """See `tests.proof.world`. Each rule is one step."""

    world: World

    def __init__(self) -> None:
        super().__init__()
        self._last = ""

    @initialize(
        ttl=st.sampled_from([0.0, 5.0, 60.0]),
        revalidate=st.sampled_from([0.0, 3.0]),
        error=st.sampled_from([0.0, 30.0]),
        absent=st.sampled_from([0.0, 2.0]),
        latency=st.sampled_from([0.0, 0.05]),
        scan_resistant=st.booleans(),
        prefetch_blocks=st.sampled_from([0, 4]),
        seed=st.integers(0, 2**16),
    )
    def begin_world(
        self, ttl: float, revalidate: float, error: float, absent: float, latency: float, **options: Any
    ) -> None:
        self.world = World(Rules(ttl, revalidate, error, absent), latency_s=latency, **options)
        for name in NAMES[:2]:
            self.world.write(name)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.close()

    @invariant()
    def nothing_exceeds_its_bound(self) -> None:
        if hasattr(self, "world"):
            self.world.check()

    # --- readers --------------------------------------------------------------------------------------------------

    @rule(name=_names, ask=_asks)
    def read(self, name: str, ask: Ask) -> None:
        STEPS["read"] += 1
        self.world.read(name, ask)

    @rule(name=_names, range=_ranges)
    def read_plainly(self, name: str, range: str | None) -> None:
        STEPS["read"] += 1
        self.world.read(name, Ask(range=range))

    @rule(
        asks=st.lists(st.tuples(_names, _asks), min_size=2, max_size=5),
        leaves=st.lists(st.one_of(st.none(), _soon), max_size=5),
        changes=st.lists(_soon, max_size=2),
    )
    def read_together(self, asks: list[tuple[str, Ask]], leaves: list[float | None], changes: list[float]) -> None:
        STEPS["read together"] += 1
        self.world.together(asks, leaves, changes)

    @precondition(lambda self: len(self.world.readings) < READINGS_MAX)
    @rule(name=_names, ask=_asks, pieces=st.integers(0, 3))
    def begin_reading(self, name: str, ask: Ask, pieces: int) -> None:
        STEPS["begin reading"] += 1
        self.world.begin(name, ask, pieces)

    @precondition(lambda self: self.world.readings)
    @rule(which=st.integers(0, READINGS_MAX - 1), pieces=st.sampled_from([1, 2, None]))
    def read_on(self, which: int, pieces: int | None) -> None:
        STEPS["read on"] += 1
        self.world.run(self.world.readings[which % len(self.world.readings)].go_on(pieces))

    @precondition(lambda self: self.world.readings)
    @rule(which=st.integers(0, READINGS_MAX - 1))
    def kill_a_reader(self, which: int) -> None:
        STEPS["kill a flight"] += 1
        self.world.run(self.world.readings.pop(which % len(self.world.readings)).leave())

    # --- the origin -----------------------------------------------------------------------------------------------

    @rule(name=_names)
    def overwrite(self, name: str) -> None:
        STEPS["overwrite"] += 1
        self.world.write(name)

    @rule(name=_names)
    def delete(self, name: str) -> None:
        STEPS["delete"] += 1
        self.world.delete(name)

    @precondition(lambda self: any(history.versions for history in self.world.model.histories.values()))
    @rule(name=_names, which=st.integers(0, 9))
    def roll_back(self, name: str, which: int) -> None:
        STEPS["roll back"] += 1
        versions = self.world.model.histories[name].versions
        if versions:
            self.world.write(name, rolls_back_to=versions[which % len(versions)])

    @rule(faults=st.lists(st.sampled_from(FAULTS), min_size=1, max_size=4))
    def fail_next(self, faults: list[str]) -> None:
        STEPS["fail next"] += 1
        self.world.moody.next_faults.extend(faults)

    @rule()
    def be_well(self) -> None:
        STEPS["be well"] += 1
        self.world.moody.next_faults.clear()

    # --- what is kept ---------------------------------------------------------------------------------------------

    @rule()
    def evict(self) -> None:
        STEPS["evict"] += 1
        self.world.evict()

    @rule(name=_names, look=st.booleans())
    def purge(self, name: str, look: bool) -> None:
        STEPS["purge"] += 1
        self.world.purge(name, look=look)

    @rule(seed=st.integers(0, 2**16), delete=st.booleans())
    def damage_a_file(self, seed: int, delete: bool) -> None:
        STEPS["damage"] += 1
        self.world.damage(seed, delete=delete)

    # --- time and life --------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.01, 1.0, 2.5, 4.0, 6.0, 61.0, 130.0]))
    def wait(self, seconds: float) -> None:
        STEPS["wait"] += 1
        self.world.wait(seconds)

    @rule(seconds=st.sampled_from([-3600.0, -10.0, -1.0, 1.0, 10.0, 3600.0]))
    def jump(self, seconds: float) -> None:
        STEPS["clock jump"] += 1
        self.world.jump(seconds)

    @rule(crash=st.booleans())
    def restart(self, crash: bool) -> None:
        STEPS["crash" if crash else "restart"] += 1
        if crash:
            self.world.crash()
        else:
            self.world.restart()
