"""How much may be under way at a time, found by trying: more while it goes well, half when it is too much.

Additive increase, multiplicative decrease, as TCP's congestion avoidance does it (RFC 5681 section 3.1): where several
ask the same service, they come to equal shares. The window is no larger than `most`, and never less than 1.
"""

from __future__ import annotations

from rangecache.aio.permits import Permits, Ticket


class Window:
    """A number of permits that changes. Times are monotonic seconds."""

    def __init__(self, most: int, patient_share: float) -> None:
        """Patient tickets have `patient_share` of the permits at most, and one at the least."""
        self._most = most
        self._patient_share = patient_share
        self._permits = Permits(most, max(1, int(most * patient_share)))
        self._size = float(most)
        self._halved_at = float("-inf")
        self.held = 0
        """How many have a permit, or wait for one."""

    async def acquire(self, ticket: Ticket) -> None:
        """Return when the ticket has its permit. To be followed by `release`, unless this raises."""
        self.held += 1
        try:
            await self._permits.acquire(ticket)
        except BaseException:
            self.held -= 1
            raise

    def release(self, ticket: Ticket) -> None:
        """Give the permit back."""
        self.held -= 1
        self._permits.release(ticket)

    def promote(self, ticket: Ticket) -> None:
        """Somebody waits for it now."""
        self._permits.promote(ticket)

    @property
    def any_free(self) -> bool:
        """Whether an urgent ticket would get a permit at once."""
        return self._permits.any_free

    @property
    def urgent_wait(self) -> bool:
        """Whether urgent tickets wait for those who have permits."""
        return self._permits.urgent_wait

    def halve(self, asked_at: float, now: float) -> None:
        """What was asked at `asked_at` was too much. Of what was under way together, one halves."""
        if asked_at < self._halved_at:
            return
        self._halved_at = now
        self._resize(max(1.0, min(self._size, self.held) / 2))

    def grow(self) -> None:
        """An answer: a whole window of them is one permit more."""
        if self._size < self._most:
            self._resize(min(self._most, self._size + 1 / self._size))

    @property
    def size(self) -> int:
        """How many may be under way."""
        return int(self._size)

    @property
    def is_whole(self) -> bool:
        """Whether it is as large as it can be."""
        return self._size >= self._most

    def _resize(self, size: float) -> None:
        self._size = size
        self._permits.resize(int(size), max(1, int(size * self._patient_share)))
