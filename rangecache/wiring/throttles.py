"""From the settings of `throttle` to the rates that hold for a provider."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rangecache.aio.throttle import Throttle
from rangecache.origin.throttled import Rates

if TYPE_CHECKING:
    from rangecache.settings import Throttle as ThrottleSettings


class Throttles:
    """The rates of all providers together are one for all of them."""

    def __init__(self, common: ThrottleSettings) -> None:
        self._common = rates_of(common)

    def of(self, own: ThrottleSettings | None) -> Rates | None:
        """The rates of a provider with these settings; None where there is no bound."""
        rates = self._common if own is None else self._common + rates_of(own)
        return rates if rates.bandwidths or rates.requests else None


def rates_of(settings: ThrottleSettings) -> Rates:
    """Each rate that is not unlimited."""
    bandwidth, requests = settings.bandwidth, settings.requests_per_second
    return Rates(
        () if bandwidth == "unlimited" else (Throttle(bandwidth),),
        () if requests == "unlimited" else (Throttle(requests),),
    )
