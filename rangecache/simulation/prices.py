"""What an origin's answers cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rangecache.simulation.replay import Outcome

GB_BYTES: Final = 1 << 30
"""What Amazon bills as a gigabyte."""
# Amazon S3 Standard, US East (N. Virginia), list prices: GET requests, and data transfer out to the internet up to
# 10 TB a month. Within the region transfer is free. Google Cloud Storage and Azure Blob Storage: the same or more for
# requests, 0.087 to 0.12 for a gigabyte.
PER_1000_REQUESTS: Final = 0.0004
PER_GB: Final = 0.09


@dataclass(frozen=True, slots=True)
class Prices:
    """In whatever currency."""

    per_1000_requests: float = PER_1000_REQUESTS
    per_gb: float = PER_GB

    def cost(self, outcome: Outcome) -> float:
        """What the origin's owner has to pay."""
        return outcome.origin_requests / 1000 * self.per_1000_requests + outcome.origin_bytes / GB_BYTES * self.per_gb
