"""Which buckets have lately asked for fewer requests (429, 503), and how many they are asked at a time since.

Each bucket has a window (`aio/window`) that halves when an answer asks for less, and grows again with the answers that
do not. What nobody waits for is not asked of a bucket at all until `COOL_DOWN_S` after the last such answer.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from rangecache.aio.window import Window

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rangecache.aio.clock import Clock
    from rangecache.model import ObjectRef
    from rangecache.origin.observe import Outcome

COOL_DOWN_S: Final = 30.0  # AWS's own SDKs are back at their full rate some 20 s after a throttled answer
BUCKETS_MAX: Final = 1024  # whose strain is remembered; the one that it came to first is forgotten
PATIENT_SHARE: Final = 0.5  # of the permits: the other half is always for those who are waited for

_ANSWERS: Final = frozenset(("ok", "not_modified", "not_found", "precondition"))

_Bucket = tuple[str, str]


class Strain:
    """What is known of all buckets. `permits` is how many requests one may be asked at a time when nothing is wrong.
    `names` gives all names by which an object may be asked of origins, its own among them."""

    def __init__(
        self, clock: Clock, permits: int, names: Callable[[ObjectRef], Iterable[ObjectRef]] = lambda ref: (ref,)
    ) -> None:
        self._clock = clock
        self._permits = permits
        self._names = names
        self._windows: dict[_Bucket, Window] = {}
        """Of the buckets that are asked now, or whose window is not whole."""
        self._until: OrderedDict[_Bucket, float] = OrderedDict()

    def window(self, ref: ObjectRef) -> Window:
        """The window of this object's bucket. To be told by `left` when a permit of it was given back."""
        bucket = _bucket(ref)
        window = self._windows.get(bucket)
        if window is None:
            window = self._windows[bucket] = Window(self._permits, PATIENT_SHARE)
        return window

    def is_wanted(self, ref: ObjectRef) -> bool:
        """Whether readers wait until something that is asked of its bucket now has been answered."""
        window = self._windows.get(_bucket(ref))
        return window is not None and window.urgent_wait

    def left(self, ref: ObjectRef) -> None:
        """Forget a window that says nothing and that nobody has a permit of."""
        bucket = _bucket(ref)
        window = self._windows.get(bucket)
        if window is not None and not window.held and (window.is_whole or bucket not in self._until):
            del self._windows[bucket]

    def heard(self, ref: ObjectRef, outcome: Outcome, asked_at: float) -> None:
        """For `Observed(on_ended=…)`."""
        if outcome == "throttled":
            self.throttled(ref, asked_at)
        elif outcome in _ANSWERS:
            self.answered(ref)

    def throttled(self, ref: ObjectRef, asked_at: float) -> None:
        """What was asked at this time, in monotonic seconds, was answered by 429 or 503."""
        now = self._clock.monotonic()
        self.pause(ref)
        window = self._windows.get(_bucket(ref))
        if window is not None:
            window.halve(asked_at, now)

    def answered(self, ref: ObjectRef) -> None:
        """There was another answer."""
        if self._windows and (window := self._windows.get(_bucket(ref))) is not None:
            window.grow()

    def pause(self, ref: ObjectRef) -> None:
        """Its bucket is in trouble: what nobody waits for is not asked of it for a while."""
        bucket = _bucket(ref)
        self._until[bucket] = self._clock.monotonic() + COOL_DOWN_S
        self._until.move_to_end(bucket)
        if len(self._until) > BUCKETS_MAX:
            self._forget(next(iter(self._until)))

    def eased(self, ref: ObjectRef) -> bool:
        """Whether the last trouble of its bucket is long enough ago, or there was none, by any of its names."""
        return not self._until or all(self._is_eased(_bucket(each)) for each in self._names(ref))

    def _is_eased(self, bucket: _Bucket) -> bool:
        until = self._until.get(bucket)
        if until is None:
            return True
        if self._clock.monotonic() < until:
            return False
        self._forget(bucket)
        return True

    def _forget(self, bucket: _Bucket) -> None:
        del self._until[bucket]
        window = self._windows.get(bucket)
        if window is not None and not window.held:
            del self._windows[bucket]


def _bucket(ref: ObjectRef) -> _Bucket:
    return ref.provider, ref.bucket
