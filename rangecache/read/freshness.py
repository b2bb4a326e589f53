"""How long an answer may be used, before and after the origin would have to be asked again. Pure: headers and a rule
in, a lifetime out.

A rule is a duration in seconds, `immutable`, or `origin`. A duration is the operator's word and overrules the origin's
headers. For `origin` the rules are those of a shared cache (RFC 9111): CDN-Cache-Control in place of Cache-Control and
Expires (RFC 9213); s-maxage before max-age before Expires; `no-store` and `private` are not kept; `no-cache` is kept
and asked about every time; what cannot be parsed is stale. Where the origin says nothing, a tenth of the object's age
is assumed (section 4.2.2), at most `HEURISTIC_MAX_S`.

The age of an answer is counted in the same way whatever the rule, as the Age field of ours tells it to others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from rangecache.httpdate import parse_expiry, parse_http_date
from rangecache.read.cache_control import (
    Directives,
    delta_seconds,
    field_names,
    parse_directives,
    parse_targeted,
    seconds,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

Ttl = float | Literal["immutable", "origin"]
"""A freshness rule: seconds, `immutable` or `origin`."""

HEURISTIC_MAX_S: Final = 60.0  # what other objects get by default: nobody expects longer unasked
ABSENT_MAX_S: Final = 60.0  # the longest that an origin can have its own 404 remembered: readers take it for empty data
TARGETED: Final = ("cdn-cache-control",)  # RFC 9213 section 2.2: the target list, most applicable first
_HEURISTIC_SHARE: Final = 0.1
# Without these a stored answer cannot be used. Where `private` or `no-cache` names one of them, it is as if no field
# were named.
_NEEDED: Final = frozenset(
    {
        "age", "cache-control", "content-encoding", "content-length", "content-range", "content-type", "date", "etag",
        "expires", "last-modified", "vary", *TARGETED,
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Grace:
    """How long after its time an answer is used all the same (RFC 5861)."""

    while_revalidate_s: float = 0.0
    """At once, while the origin is asked in the background."""
    if_error_s: float = 0.0
    """Where the origin cannot be asked."""


NO_GRACE: Final = Grace()


@dataclass(frozen=True, slots=True)
class Lifetime:
    """What may be done with an answer."""

    fresh_s: float
    """From now on; negative for what was too old when it came, infinite for what never changes."""
    age_s: float = 0.0
    """How old the answer was when it came."""
    storable: bool = True
    """False: may be passed on to the one who asked, and forgotten."""
    grace: Grace | None = NO_GRACE
    """None: it must not be used after its time, whoever would take it (RFC 9111 section 4.2.4)."""
    withheld: frozenset[str] = frozenset()
    """Fields that must not be stored with the rest, names in lower case."""


def lifetime(
    ttl: Ttl, headers: Mapping[str, str], received: float, *, delay_s: float = 0.0, grace: Grace = NO_GRACE
) -> Lifetime:
    """The lifetime of an answer with these headers (names in lower case).

    It was received at `received` (seconds since 1970), `delay_s` after it was asked for. `grace` is what holds where
    the origin does not say.
    """
    age_s = initial_age(headers, received, delay_s)
    if ttl == "immutable":
        return Lifetime(math.inf, age_s)
    if ttl != "origin":
        # What the rule says is never fresh is not used unasked either.
        return Lifetime(float(ttl), age_s, grace=grace if ttl > 0 else Grace(0.0, grace.if_error_s))
    directives, targeted = _policy(headers)
    private, asked = _limited_to(directives, "private"), _limited_to(directives, "no-cache")
    if private is None or _forbids_storing(directives) or not _vary_allows(headers.get("vary", "")):
        return Lifetime(0, age_s, storable=False, grace=None)
    if asked is None:
        return Lifetime(0, age_s, grace=None, withheld=private)
    fresh_s = _explicit_s(directives, headers, received, targeted=targeted)
    if fresh_s is None:
        fresh_s = _heuristic_s(headers, received)
    return Lifetime(fresh_s - age_s, age_s, grace=_grace(directives, grace, fresh_s), withheld=private | asked)


def negative_lifetime(
    ttl: Ttl, headers: Mapping[str, str], received: float, *, delay_s: float, default_s: float
) -> float:
    """Seconds that a 404 or 410 with these headers may be remembered; 0 for not at all.

    What the origin says explicitly counts where the rule is `origin`, up to `ABSENT_MAX_S`; elsewhere, and where it
    says nothing, `default_s` does. A `default_s` of 0 means that absences are never remembered.
    """
    if ttl != "origin" or default_s <= 0:
        return default_s
    directives, targeted = _policy(headers)
    forbidden = not directives.keys().isdisjoint({"private", "no-cache"}) or _forbids_storing(directives)
    if forbidden or not _vary_allows(headers.get("vary", "")):
        return 0.0
    explicit_s = _explicit_s(directives, headers, received, targeted=targeted)
    if explicit_s is None:
        return default_s
    return min(ABSENT_MAX_S, max(0.0, explicit_s - initial_age(headers, received, delay_s)))


def initial_age(headers: Mapping[str, str], received: float, delay_s: float) -> float:
    """How old an answer was when it came (RFC 9111 section 4.2.3): a skewed clock, a slow answer or a cache on the way
    can only make it older, never younger than it is."""
    date = parse_http_date(headers.get("date", ""))
    apparent_s = max(0.0, received - date.timestamp()) if date else 0.0
    return max(apparent_s, stated_age(headers) + max(0.0, delay_s))


def stated_age(headers: Mapping[str, str]) -> float:
    """What an answer's Age says (section 5.1): the first member of a list, and nothing where that is not a number."""
    return delta_seconds(headers.get("age", "").partition(",")[0].strip(" \t")) or 0.0


def _policy(headers: Mapping[str, str]) -> tuple[Directives, bool]:
    """The directives that count, and whether they are of a field that takes the place of Expires too (RFC 9213)."""
    for name in TARGETED:
        if (targeted := parse_targeted(headers.get(name, ""))) is not None:
            return targeted, True
    return parse_directives(headers.get("cache-control", "")), False


def _limited_to(directives: Directives, name: str) -> frozenset[str] | None:
    """As `field_names`; None too where a stored answer could not be used without one of them."""
    names = field_names(directives, name)
    return None if names is None or names & _NEEDED else names


def _forbids_storing(directives: Directives) -> bool:
    """`no-store`, unless `must-understand` is there: no status is stored that is not understood (5.2.2.3)."""
    return "no-store" in directives and "must-understand" not in directives


def _explicit_s(directives: Directives, headers: Mapping[str, str], received: float, *, targeted: bool) -> float | None:
    """The freshness lifetime that the origin states (section 4.2.1), not negative; None if it states none."""
    for name in ("s-maxage", "max-age"):
        if (stated_s := seconds(directives, name)) is not None:
            return stated_s
    if targeted or "expires" not in headers:
        return None
    expires = parse_expiry(headers["expires"])
    return 0.0 if expires is None else max(0.0, expires.timestamp() - _date_s(headers, received))


def _heuristic_s(headers: Mapping[str, str], received: float) -> float:
    modified = parse_http_date(headers.get("last-modified", ""))
    if modified is None:
        return 0.0
    return min(HEURISTIC_MAX_S, max(0.0, _date_s(headers, received) - modified.timestamp()) * _HEURISTIC_SHARE)


def _date_s(headers: Mapping[str, str], received: float) -> float:
    """When the origin made the answer, by its own clock; when it came, where that is not said."""
    date = parse_http_date(headers.get("date", ""))
    return received if date is None else date.timestamp()


def _grace(directives: Directives, unsaid: Grace, fresh_s: float) -> Grace | None:
    """RFC 5861: what the origin says, and `unsaid` where it says nothing. None where staleness is forbidden."""
    if not directives.keys().isdisjoint({"must-revalidate", "proxy-revalidate", "s-maxage"}):
        return None
    while_revalidate_s = seconds(directives, "stale-while-revalidate")
    if_error_s = seconds(directives, "stale-if-error")
    if while_revalidate_s is None:
        # What is never fresh is not used unasked either, unless the origin says so.
        while_revalidate_s = unsaid.while_revalidate_s if fresh_s > 0 else 0.0
    return Grace(while_revalidate_s, unsaid.if_error_s if if_error_s is None else if_error_s)


def _vary_allows(header: str) -> bool:
    """Requests to the origin differ in nothing, Accept-Encoding is always identity; any other Vary is not ours to
    interpret."""
    return all(name.strip(" \t").lower() in {"", "accept-encoding"} for name in header.split(","))
