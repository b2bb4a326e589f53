"""Which providers have lately asked for fewer requests. What nobody waits for is not asked of them meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rangecache.aio.clock import Clock

COOL_DOWN_S: Final = 30.0  # AWS's own SDKs are back at their full rate some 20 s after a throttled answer


class Strain:
    """Remembers when each provider last answered 429 or 503. One for all; bounded by the providers there are."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until: dict[str, float] = {}

    def note(self, provider: str) -> None:
        """It has just done so."""
        self._until[provider] = self._clock.monotonic() + COOL_DOWN_S

    def eased(self, provider: str) -> bool:
        """Whether that is long enough ago, or has never happened."""
        until = self._until.get(provider)
        if until is None:
            return True
        if self._clock.monotonic() < until:
            return False
        del self._until[provider]
        return True
