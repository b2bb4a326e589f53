"""What a request's own Cache-Control asks of a cache (RFC 9111 section 5.2.1, RFC 5861 section 4). Pure.

Such directives are advice. They are followed for every object, whatever its freshness rule, as far as they ask for less
than a new copy: a client can make us ask whether our copy still holds, and never make us fetch everything anew. That
would be an amplifier. For the same reason `no-store` in a request is read as `no-cache`: bytes that are here already,
or are on their way to others too, are no secret of this client.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from rangecache.read.cache_control import delta_seconds, parse_directives, seconds


@dataclass(frozen=True, slots=True)
class Wishes:
    """Which stored versions a client takes."""

    revalidate: bool = False
    """`no-cache`, `no-store` or `max-age=0`: none, before the origin has said that it still holds."""
    only_if_cached: bool = False
    """The origin is not to be asked."""
    max_age_s: float = math.inf
    """None that is older."""
    min_fresh_s: float = 0.0
    """None that will not stay fresh for so long."""
    max_stale_s: float | None = None
    """One whose time has been over for so long will do. None: the client does not say so."""
    stale_if_error_s: float | None = None
    """The same, where the origin cannot be asked; it takes the place of what the origin or the operator allows."""

    @property
    def particular(self) -> bool:
        """Whether an age or a freshness was named: then nothing stale is taken unless the client said so too."""
        return self.max_age_s < math.inf or self.min_fresh_s > 0

    def met(self, age_s: float, fresh_s: float) -> bool:
        """Whether a version of that age, which is fresh for so long still (negative: has not been for), will do."""
        return not self.revalidate and age_s <= self.max_age_s and fresh_s > 0 and fresh_s >= self.min_fresh_s

    def stale_met(self, age_s: float, stale_s: float) -> bool:
        """Whether a version of that age, whose time has been over for so long, will do because the client says so."""
        if self.revalidate or self.max_stale_s is None or self.min_fresh_s > 0:
            return False
        return age_s <= self.max_age_s and stale_s <= self.max_stale_s


NO_WISHES: Final = Wishes()


def read_wishes(cache_control: str | None) -> Wishes:
    """Read a request's Cache-Control header. A number that cannot be read is 0."""
    if not cache_control:
        return NO_WISHES
    directives = parse_directives(cache_control)
    max_age_s = seconds(directives, "max-age")
    return Wishes(
        revalidate=not directives.keys().isdisjoint({"no-cache", "no-store"}) or max_age_s == 0,
        only_if_cached="only-if-cached" in directives,
        max_age_s=math.inf if max_age_s is None else max_age_s,
        min_fresh_s=seconds(directives, "min-fresh") or 0.0,
        max_stale_s=min(
            (math.inf if each is None else delta_seconds(each) or 0.0 for each in directives.get("max-stale", ())),
            default=None,
        ),
        stale_if_error_s=seconds(directives, "stale-if-error"),
    )
