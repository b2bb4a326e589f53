"""What is remembered of things that there may be any number of: no more than a bounded number of them."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import ItemsView

BUCKETS_REMEMBERED: Final = 1024

_K = TypeVar("_K")
_V = TypeVar("_V")


class Recent(Generic[_K, _V]):
    """A dictionary that forgets what was used longest ago once it holds `limit` entries."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._values: OrderedDict[_K, _V] = OrderedDict()

    def get(self, key: _K) -> _V | None:
        """What is remembered for `key`."""
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def put(self, key: _K, value: _V) -> None:
        """Remember it."""
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > self._limit:
            self._values.popitem(last=False)

    def drop(self, key: _K) -> None:
        """Forget it."""
        self._values.pop(key, None)

    def items(self) -> ItemsView[_K, _V]:
        """All that is remembered, what was used longest ago first."""
        return self._values.items()

    def __len__(self) -> int:
        return len(self._values)
