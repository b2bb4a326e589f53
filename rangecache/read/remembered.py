"""What is remembered of objects, bounded in bytes."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final, TypeVar

from rangecache.model import ObjectRef

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

V = TypeVar("V")

ENTRY_BYTES: Final = 400  # a name of usual length and its place in a dictionary
FIELD_BYTES: Final = 80  # a header field beside the characters of its value, its name being shared with all others


class Remembered(OrderedDict[ObjectRef, V]):
    """Values by object, the ones used longest ago first. Change it by its own methods and `move_to_end` only."""

    def __init__(self, limit_bytes: int, weigh: Callable[[V], int]) -> None:
        """`weigh` says what a value takes beside its entry, about, and always the same."""
        super().__init__()
        self._weigh = weigh
        self.limit_bytes = limit_bytes
        self.held_bytes = 0
        """As far as it is counted: true to a tenth or so."""

    def keep(self, ref: ObjectRef, value: V) -> None:
        """Remember this as the latest, and forget what no longer has room."""
        self.drop(ref)
        self[ref] = value
        self.held_bytes += self._weight(ref, value)
        while self.held_bytes > self.limit_bytes:
            self.drop(next(iter(self)))

    def drop(self, ref: ObjectRef) -> V | None:
        """Forget it, if it is there."""
        value = self.pop(ref, None)
        if value is not None:
            self.held_bytes -= self._weight(ref, value)
        return value

    def detach(self, refs: Iterable[ObjectRef]) -> list[tuple[ObjectRef, V]]:
        """Take all these out at once. Their room is given back by `release`, which takes longer."""
        return [(ref, self.pop(ref)) for ref in refs]

    def release(self, detached: Iterable[tuple[ObjectRef, V]]) -> None:
        """Give back the room of what was detached."""
        for ref, value in detached:
            self.held_bytes -= self._weight(ref, value)

    def _weight(self, ref: ObjectRef, value: V) -> int:
        return ENTRY_BYTES + len(ref.key) + self._weigh(value)


def fields_bytes(fields: Mapping[str, str]) -> int:
    """What header fields take, about."""
    return sum(map(len, fields.values())) + FIELD_BYTES * len(fields)
