"""When to stop asking somebody who does not answer, and when to ask again.

A breaker is closed while things go well. It opens after `FAILURES_MAX` failures without a success between them, or when
less than `SUCCESS_MIN` of what was asked in the last `WINDOW_S` went well. While it is open nothing is asked: for
`OPEN_S` the first time, one more `OPEN_S` after each probe that fails, `OPEN_MAX_S` at the most, each a tenth more or
less so that many instances do not come back at once. Then one asker at a time is let through as a probe; the first
that succeeds closes it.

Three rules keep it from opening where nothing is wrong but one thing:

1. What was under way when a failure came, and fails too within `TROUBLE_S`, counts as one with it: a restart that
   resets a hundred connections is one short trouble.
2. A failure that began before the last success does not count as one in a row: others were answered meanwhile.
3. The failures must be of `SUBJECTS_MIN` different subjects: fewer may have themselves to blame. A failure that has no
   subject could have befallen any.

Figures: Envoy's outlier detection (5 in a row, 30 s times n up to 300 s), Finagle's failure accrual (the share).
"""

from __future__ import annotations

import random as random_module
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from rangecache.aio.clock import Clock

FAILURES_MAX: Final = 5
SUCCESS_MIN: Final = 0.5
SAMPLES_MIN: Final = 20  # in the window; of fewer a share says little
SUBJECTS_MIN: Final = 3
WINDOW_S: Final = 30.0
OPEN_S: Final = 30.0
OPEN_MAX_S: Final = 300.0
JITTER: Final = 0.1
TROUBLE_S: Final = 1.0
PROBE_S: Final = 1.0  # how long to wait for the word of a probe that is under way
_SLOT_S: Final = 3.0

State = Literal["closed", "open", "half_open"]


class Pass:
    """Leave to ask once."""

    __slots__ = ("asked_at", "probe")

    def __init__(self, asked_at: float, *, probe: bool) -> None:
        self.asked_at = asked_at
        self.probe = probe


@dataclass(slots=True)
class _Slot:
    """What ended within `_SLOT_S`."""

    ends_at: float
    succeeded: int = 0
    failed: int = 0
    subjects: set[Hashable] = field(default_factory=set)


@dataclass(slots=True)
class _Row:
    """Failures without a success between them."""

    failures: int = 0
    subjects: set[Hashable] = field(default_factory=set)


class Breaker:
    """One breaker. All methods return at once. `random` gives numbers in [0, 1). `on_turn` hears of it when it has
    opened, and when it has closed again; not of each probe that fails."""

    def __init__(
        self,
        clock: Clock,
        random: Callable[[], float] = random_module.random,
        on_turn: Callable[[Breaker], None] = lambda _: None,
    ) -> None:
        self._clock = clock
        self._random = random
        self._on_turn = on_turn
        self._slots: deque[_Slot] = deque()
        self._row = _Row()
        self._answered_at = float("-inf")
        self._trouble_at = float("-inf")
        """The first failure of the last `TROUBLE_S`."""
        self._openings = 0
        """In a row; 0: it is closed."""
        self._open_until = 0.0
        self._probe: Pass | None = None
        self.reason = ""
        """Of the failure that opened it, or kept it open; "" while it is closed."""

    def admit(self) -> Pass | None:
        """Leave to ask now; None: do not ask. To be followed by `succeeded`, `failed` or `dropped`."""
        now = self._clock.monotonic()
        if not self._openings:
            return Pass(now, probe=False)
        if now < self._open_until or self._probe is not None:
            return None
        self._probe = Pass(now, probe=True)
        return self._probe

    def succeeded(self, leave: Pass) -> None:
        """There was an answer."""
        if self._probe is leave:
            self._close()
        if self._openings:
            return  # asked before it opened, so no word of how things are now
        self._answered_at = self._clock.monotonic()
        self._row = _Row()
        self._slot().succeeded += 1

    def failed(self, leave: Pass, reason: str, subject: Hashable = None) -> None:
        """There was none. `subject` is what was asked for, None where anything else would have fared the same."""
        if self._probe is leave:
            self._open(reason)
        if self._openings:
            return
        slot, now = self._slot(), self._clock.monotonic()
        if now >= self._trouble_at + TROUBLE_S:
            self._trouble_at = now
            one_more = True
        else:
            one_more = leave.asked_at >= self._trouble_at
        slot.failed += one_more
        _note(slot.subjects, subject)
        if leave.asked_at >= self._answered_at:
            self._row.failures += one_more
            _note(self._row.subjects, subject)
        if self._is_bad():
            self._open(reason)

    def hurry(self) -> None:
        """Whoever asks next is let through as a probe, whatever is left of the pause."""
        self._open_until = min(self._open_until, self._clock.monotonic())

    def dropped(self, leave: Pass) -> None:
        """It was not asked in the end, or its answer says nothing. A further call does nothing."""
        if self._probe is leave:
            self._probe = None

    @property
    def state(self) -> State:
        """`half_open`: the next one who asks is a probe, or one is under way."""
        if not self._openings:
            return "closed"
        return "open" if self._clock.monotonic() < self._open_until else "half_open"

    @property
    def retry_after_s(self) -> float:
        """How long until the next probe may be let through; 0 where one may ask now."""
        if not self._openings:
            return 0.0
        left_s = self._open_until - self._clock.monotonic()
        return left_s if left_s > 0 else PROBE_S * (self._probe is not None)

    def _is_bad(self) -> bool:
        if self._row.failures >= FAILURES_MAX and _are_enough(self._row.subjects):
            return True
        failed = sum(slot.failed for slot in self._slots)
        total = failed + sum(slot.succeeded for slot in self._slots)
        if total < SAMPLES_MIN or total - failed >= SUCCESS_MIN * total:
            return False
        return _are_enough(set[object]().union(*(slot.subjects for slot in self._slots)))

    def _slot(self) -> _Slot:
        now = self._clock.monotonic()
        while self._slots and self._slots[0].ends_at <= now - WINDOW_S:
            self._slots.popleft()
        if not self._slots or self._slots[-1].ends_at <= now:
            self._slots.append(_Slot(now + _SLOT_S))
        return self._slots[-1]

    def _open(self, reason: str) -> None:
        self._openings += 1
        self._probe = None
        self.reason = reason
        length_s = min(OPEN_S * self._openings, OPEN_MAX_S)
        self._open_until = self._clock.monotonic() + length_s * (1 + JITTER * (2 * self._random() - 1))
        if self._openings == 1:
            self._on_turn(self)

    def _close(self) -> None:
        self._openings = 0
        self._probe = None
        self._row = _Row()
        self._trouble_at = float("-inf")
        self._slots.clear()
        self.reason = ""
        self._on_turn(self)

    def __repr__(self) -> str:
        return f"<Breaker {self.state}{self.reason and ': '}{self.reason}>"


def _note(subjects: set[Hashable], subject: Hashable) -> None:
    if len(subjects) < SUBJECTS_MIN or subject is None:
        subjects.add(subject)


def _are_enough(subjects: set[Hashable] | set[object]) -> bool:
    return None in subjects or len(subjects) >= SUBJECTS_MIN
