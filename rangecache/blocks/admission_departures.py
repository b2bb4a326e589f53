"""A policy that tells somebody who leaves it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from rangecache.blocks.admission import Admission

K = TypeVar("K")


class Departures(Generic[K]):
    """The policy `inner`. Whoever leaves it, for whatever reason, is told to `gone` before the caller hears of it."""

    def __init__(self, inner: Admission[K], gone: Callable[[K], None]) -> None:
        self._inner = inner
        self._gone = gone
        self.touch: Callable[[K], None] = inner.touch
        self.admit = inner.admit
        self.wants = inner.wants
        self.standing = inner.standing
        self.favourites = inner.favourites
        self.restore = inner.restore

    @property
    def held_bytes(self) -> int:
        """As `Admission.held_bytes`."""
        return self._inner.held_bytes

    def remove(self, key: K) -> None:
        """As `Admission.remove`."""
        self._gone(key)
        self._inner.remove(key)

    def evict(self, limit_bytes: int) -> list[K]:
        """As `Admission.evict`."""
        evicted = self._inner.evict(limit_bytes)
        for key in evicted:
            self._gone(key)
        return evicted

    def __contains__(self, key: K, /) -> bool:
        return key in self._inner

    def __len__(self) -> int:
        return len(self._inner)

    def __repr__(self) -> str:
        return repr(self._inner)
