"""Asking in the background whether stale versions still hold, and remembering which origins did not answer.

A version within its grace is answered at once, and one request goes to the origin on its behalf: one for each object,
and `RUNNING_MAX` in all. What fails is not repeated by the next read but after a pause that doubles from failure to
failure.

While the origin cannot be asked, a read of a stale version must not wait through all its attempts. So for `DOWN_S`
after a failure the origin counts as down for that object, and for all objects of the provider once `OBJECTS_DOWN`
different ones have failed without one success between them. Then what may be used stale is used at once, and the
background asks.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rangecache.errors import BudgetExhausted, RangecacheError, TransientError
from rangecache.read.remembered import Remembered

if TYPE_CHECKING:
    from rangecache.aio.clock import Clock
    from rangecache.aio.tasks import Background
    from rangecache.model import ObjectRef
    from rangecache.read.known import Known
    from rangecache.read.opening import Opener
    from rangecache.read.selection import Selection

RUNNING_MAX: Final = 64  # revalidations in the background; beyond it a read is answered stale and nobody asks for it
PAUSE_S: Final = 1.0  # after the first failure; it doubles with every further one
PAUSE_MAX_S: Final = 30.0
DOWN_S: Final = 60.0  # after that long without news the next read finds out for itself
OBJECTS_DOWN: Final = 3  # fewer may be the fault of the objects
TROUBLED_BYTES: Final = 1024 * 1024  # some 2,000 objects whose failures are remembered; the oldest goes
TROUBLE_BYTES: Final = 120

UNREACHABLE: Final = (TransientError, BudgetExhausted)
"""The errors that allow a stale answer (RFC 5861 section 4): the origin could not be asked, or said 5xx."""


@dataclass(slots=True)
class _Trouble:
    """What is remembered of an object whose revalidation failed."""

    failures: int
    ask_at: float
    """Monotonic seconds: not again before then."""
    down_until: float


class Revalidations:
    """The background's requests on behalf of stale versions."""

    def __init__(self, opener: Opener, background: Background, clock: Clock) -> None:
        self._opener = opener
        self._background = background
        self._clock = clock
        self._running: set[ObjectRef] = set()
        self._troubled: Remembered[_Trouble] = Remembered(TROUBLED_BYTES, lambda _: TROUBLE_BYTES)
        self._down: defaultdict[str, OrderedDict[ObjectRef, float]] = defaultdict(OrderedDict)

    def __len__(self) -> int:
        return len(self._running)

    def start(self, known: Known) -> None:
        """Ask whether `known` still holds, unless somebody is asking already, or asked in vain a moment ago."""
        ref = known.meta.ref
        trouble = self._troubled.get(ref)
        waits = trouble is not None and self._clock.monotonic() < trouble.ask_at
        if waits or ref in self._running or len(self._running) >= RUNNING_MAX:
            return
        self._running.add(ref)
        task = self._background.spawn(self._ask(known), f"revalidation {ref.provider}")
        task.add_done_callback(lambda _: self._running.discard(ref))

    def is_down(self, ref: ObjectRef) -> bool:
        """Whether the origin could not be asked about this object a moment ago."""
        now = self._clock.monotonic()
        trouble = self._troubled.get(ref)
        if trouble is not None and now < trouble.down_until:
            return True
        others = self._down.get(ref.provider, ())
        return len(others) >= OBJECTS_DOWN and now < max(self._down[ref.provider].values())

    def failed(self, ref: ObjectRef, error: RangecacheError) -> None:
        """The origin was asked about this object, in vain."""
        now = self._clock.monotonic()
        before = self._troubled.get(ref)
        failures = 1 if before is None else before.failures + 1
        down_until = now + DOWN_S if isinstance(error, UNREACHABLE) else now
        pause_s = min(PAUSE_MAX_S, PAUSE_S * 2.0 ** min(failures - 1, 16))
        self._troubled.keep(ref, _Trouble(failures, now + pause_s, down_until))
        if down_until > now:
            others = self._down[ref.provider]
            others[ref] = down_until
            others.move_to_end(ref)
            if len(others) > OBJECTS_DOWN:
                others.popitem(last=False)

    def answered(self, ref: ObjectRef) -> None:
        """The origin answered."""
        if self._troubled:
            self._troubled.drop(ref)
        if self._down:
            self._down.pop(ref.provider, None)

    def forget(self, selection: Selection) -> None:
        """Remember no failures of these objects."""
        for ref in [ref for ref in self._troubled if selection.matches(ref)]:
            self._troubled.drop(ref)

    async def _ask(self, known: Known) -> None:
        ref = known.meta.ref
        try:
            opened, first = await self._opener.open(ref, None, known)
        except RangecacheError as error:
            # Nobody waits for this answer. What it means for later reads is in the catalog, or remembered here.
            self.failed(ref, error)
            return
        self.answered(ref)
        if first and opened.hand_off is not None:
            opened.hand_off.discard()
