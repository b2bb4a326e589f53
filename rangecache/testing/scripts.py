"""What happens to which of the next requests: shared by faults and gates."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rangecache.testing.log import LoggedRequest

T = TypeVar("T")


@dataclass(slots=True)
class Scripted(Generic[T]):
    """Something that happens to the next requests that match."""

    what: T
    path: str | None
    times: int | None
    skip: int = 0
    method: str | None = None
    when: Callable[[LoggedRequest], bool] | None = None
    per_object: bool = False
    seen: Counter[str] = field(default_factory=Counter)

    def matches(self, request: LoggedRequest) -> bool:
        """Whether the request is one that it waits for, and it is not used up."""
        if self.path is not None and self.path not in {request.key, request.path}:
            return False
        if self.method not in {None, request.method} or not (self.when is None or self.when(request)):
            return False
        return self.times is None or self.seen[self._counted_as(request)] < self.skip + self.times

    def take(self, request: LoggedRequest) -> T | None:
        """Count the request; None while it is one of those to be skipped."""
        who = self._counted_as(request)
        self.seen[who] += 1
        return self.what if self.seen[who] > self.skip else None

    def _counted_as(self, request: LoggedRequest) -> str:
        return request.key if self.per_object else ""


def first_of(scripts: Iterable[Scripted[T]], request: LoggedRequest) -> T | None:
    """What the first script that matches has for the request; the request is counted there and nowhere else."""
    script = next((script for script in scripts if script.matches(request)), None)
    return None if script is None else script.take(request)
