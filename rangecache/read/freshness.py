"""How long an answer may be used before the origin is asked again. Pure: headers and a rule in, a lifetime out.

A rule is a duration in seconds, `immutable`, or `origin`. A duration is the operator's word and overrules the origin's
headers. For `origin` the rules are those of a shared cache (RFC 9111): s-maxage before max-age before Expires;
`no-store` and `private` are not kept; `no-cache` is kept and asked about every time; what cannot be parsed is stale.
Where the origin says nothing, a tenth of the object's age is assumed (section 4.2.2), at most `HEURISTIC_MAX_S`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from rangecache.httpdate import parse_http_date

if TYPE_CHECKING:
    from collections.abc import Mapping

Ttl = float | Literal["immutable", "origin"]
"""A freshness rule: seconds, `immutable` or `origin`."""

HEURISTIC_MAX_S: Final = 60.0  # what other objects get by default: nobody expects longer unasked
_HEURISTIC_SHARE: Final = 0.1
_DELTA_MAX_S: Final = 2**31  # RFC 9111 section 1.2.2: what a larger number is taken for


@dataclass(frozen=True, slots=True)
class Lifetime:
    """What may be done with an answer."""

    fresh_s: float
    """From now on; 0 if it has to be validated before each use, infinite for what never changes."""
    age_s: float = 0.0
    """How old the answer was when it came."""
    storable: bool = True
    """False: may be passed on to the one who asked, and forgotten."""
    stale_allowed: bool = True
    """Whether it may be used after its time, within the configured bounds (RFC 9111 section 4.2.4)."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a request's own Cache-Control asks of us (RFC 9111 section 5.2.1)."""

    revalidate: bool = False
    """`no-cache`, `no-store` or `max-age=0`: ask the origin whether our copy still holds. A client cannot make us
    fetch everything anew: that would be an amplifier."""
    only_if_cached: bool = False


def read_wishes(cache_control: str | None) -> Wishes:
    """Read a request's Cache-Control header."""
    if cache_control is None:
        return NO_WISHES
    directives = parse_directives(cache_control)
    asked = not directives.keys().isdisjoint({"no-cache", "no-store"})
    zero = "max-age" in directives and delta_seconds(directives["max-age"]) == 0
    return Wishes(asked or zero, "only-if-cached" in directives)


NO_WISHES: Final = Wishes()


def lifetime(ttl: Ttl, headers: Mapping[str, str], now: float) -> Lifetime:
    """The lifetime of an answer with these headers (names in lower case), received at `now` (seconds since 1970)."""
    if ttl == "immutable":
        return Lifetime(math.inf)
    if ttl != "origin":
        return Lifetime(float(ttl))
    directives = parse_directives(headers.get("cache-control", ""))
    age_s = _age_s(headers, now)
    if not directives.keys().isdisjoint({"no-store", "private"}) or not _vary_allows(headers.get("vary", "")):
        return Lifetime(0, age_s, storable=False, stale_allowed=False)
    stale_allowed = directives.keys().isdisjoint({"no-cache", "must-revalidate", "proxy-revalidate", "s-maxage"})
    if "no-cache" in directives:
        return Lifetime(0, age_s, stale_allowed=False)
    return Lifetime(max(0.0, _explicit_s(directives, headers, now) - age_s), age_s, stale_allowed=stale_allowed)


def parse_directives(header: str) -> dict[str, list[str | None]]:
    """Read a Cache-Control header: name in lower case → its arguments, one for each time that it stands there."""
    directives: dict[str, list[str | None]] = {}
    for element in _split(header):
        name, equals, argument = element.partition("=")
        if name := name.strip(" \t").lower():
            directives.setdefault(name, []).append(argument.strip(' \t"') if equals else None)
    return directives


def _split(header: str) -> list[str]:
    """Split at commas that are not inside a quoted string."""
    if '"' not in header:
        return header.split(",")
    elements, start, quoted = [], 0, False
    for at, char in enumerate(header):
        if char == '"':
            quoted = not quoted
        elif char == "," and not quoted:
            elements.append(header[start:at])
            start = at + 1
    return [*elements, header[start:]]


def delta_seconds(arguments: list[str | None]) -> float:
    """A directive's seconds. 0, which is stale, where an argument cannot be read; the least of several."""
    read = [
        float(min(int(each), _DELTA_MAX_S)) if each and each.isascii() and each.isdigit() and len(each) < 20 else 0.0
        for each in arguments
    ]
    return min(read, default=0.0)


def _explicit_s(directives: dict[str, list[str | None]], headers: Mapping[str, str], now: float) -> float:
    for name in ("s-maxage", "max-age"):
        if name in directives:
            return delta_seconds(directives[name])
    date = parse_http_date(headers.get("date", ""))
    if "expires" in headers:
        expires = parse_http_date(headers["expires"])
        return 0.0 if expires is None else expires.timestamp() - (date.timestamp() if date else now)
    modified = parse_http_date(headers.get("last-modified", ""))
    if modified is None:
        return 0.0
    since_s = (date.timestamp() if date else now) - modified.timestamp()
    return min(HEURISTIC_MAX_S, max(0.0, since_s) * _HEURISTIC_SHARE)


def _age_s(headers: Mapping[str, str], now: float) -> float:
    """RFC 9111 section 4.2.3: a skewed clock can only make an answer older, never younger."""
    date = parse_http_date(headers.get("date", ""))
    apparent_s = max(0.0, now - date.timestamp()) if date else 0.0
    age = headers.get("age")
    return max(apparent_s, delta_seconds([age])) if age else apparent_s


def _vary_allows(header: str) -> bool:
    """Requests to the origin differ in nothing, Accept-Encoding is always identity; any other Vary is not ours to
    interpret."""
    return all(name.strip(" \t").lower() in {"", "accept-encoding"} for name in header.split(","))
