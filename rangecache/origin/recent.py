"""What is remembered of buckets: no more than a bounded number of them."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, Generic, TypeVar

BUCKETS_REMEMBERED: Final = 1024

_V = TypeVar("_V")


class Recent(Generic[_V]):
    """A dictionary that forgets what was used longest ago once it holds `limit` entries."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._values: OrderedDict[str, _V] = OrderedDict()

    def get(self, key: str) -> _V | None:
        """What is remembered for `key`."""
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def put(self, key: str, value: _V) -> None:
        """Remember it."""
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > self._limit:
            self._values.popitem(last=False)

    def drop(self, key: str) -> None:
        """Forget it."""
        self._values.pop(key, None)
