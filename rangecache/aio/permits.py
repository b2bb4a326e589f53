"""A number of permits in two ranks. Whoever has somebody waiting for him is urgent, the rest is patient.

Rules that this file keeps:

1. Urgent tickets are served before patient ones, each rank in the order of arrival.
2. Patient tickets never hold more than their share, so an urgent one finds permits that are no further away than the
   end of an urgent one's work.
3. A ticket may become urgent at any time: while it waits it goes to the end of the urgent ones, and while it has its
   permit it no longer counts against the share.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict


class Ticket:
    """One place in the queue, then one permit."""

    __slots__ = ("_granted", "urgent")

    def __init__(self, *, urgent: bool) -> None:
        self.urgent = urgent
        self._granted: asyncio.Future[None] | None = None


class Permits:
    """`total` permits, of which patient tickets hold at most `patient_max`."""

    def __init__(self, total: int, patient_max: int) -> None:
        self._total = self._free = total
        self._patient_max = self._patient_free = patient_max
        # Ordered, and yet a waiter from the middle leaves in constant time.
        self._urgent: OrderedDict[Ticket, None] = OrderedDict()
        self._patient: OrderedDict[Ticket, None] = OrderedDict()

    async def acquire(self, ticket: Ticket) -> None:
        """Return when the ticket has its permit. To be followed by `release`, unless this raises."""
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        ticket._granted = granted
        (self._urgent if ticket.urgent else self._patient)[ticket] = None
        self._serve()
        try:
            await granted
        except BaseException:
            # Cancelled, and perhaps in the very turn in which it was granted.
            if granted.done() and not granted.cancelled():
                self.release(ticket)
            else:
                self._leave(ticket)
            raise

    def release(self, ticket: Ticket) -> None:
        """Give the permit back."""
        ticket._granted = None
        self._free += 1
        if not ticket.urgent:
            self._patient_free += 1
        self._serve()

    @property
    def any_free(self) -> bool:
        """Whether an urgent ticket would get a permit at once."""
        return self._free > 0

    @property
    def urgent_wait(self) -> bool:
        """Whether urgent tickets wait for those who have permits."""
        return bool(self._urgent)

    def promote(self, ticket: Ticket) -> None:
        """Somebody waits for it now. Nothing happens if it is urgent already."""
        if ticket.urgent:
            return
        ticket.urgent = True
        if ticket in self._patient:
            del self._patient[ticket]
            self._urgent[ticket] = None
        elif ticket._granted is not None and ticket._granted.done() and not ticket._granted.cancelled():
            self._patient_free += 1
        self._serve()

    def resize(self, total: int, patient_max: int) -> None:
        """Change the number of permits. Those held beyond it stay until they are given back."""
        self._free += total - self._total
        self._patient_free += patient_max - self._patient_max
        self._total, self._patient_max = total, patient_max
        self._serve()

    def _leave(self, ticket: Ticket) -> None:
        self._urgent.pop(ticket, None)
        self._patient.pop(ticket, None)

    def _serve(self) -> None:
        while self._free > 0 and (self._urgent or (self._patient and self._patient_free > 0)):
            ticket, _ = (self._urgent or self._patient).popitem(last=False)
            granted = ticket._granted
            if granted is None or granted.done():  # cancelled, and its task has not run since
                continue
            self._free -= 1
            if not ticket.urgent:
                self._patient_free -= 1
            granted.set_result(None)

    def __repr__(self) -> str:
        waiting = f"{len(self._urgent)} urgent and {len(self._patient)} patient waiting"
        return f"<Permits {self._free} free, {self._patient_free} of them for patient ones, {waiting}>"
