"""Reading Cache-Control (RFC 9111 section 5.2) and the fields that take its place for some caches (RFC 9213). Pure.

Both readers take any text, in linear time. What is not by the grammar of Cache-Control counts with its most restrictive
meaning: the name stands, its argument does not, so a lifetime is 0 and a list of fields is everything. A targeted field
is a structured one, and the other way round: one fault, and the whole field is as if it were not there.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

Directives = dict[str, list[str | None]]
"""Names in lower case → their arguments, one for each time that the name stands there. None: it has none. The empty
text: it cannot be read."""

SECONDS_MAX: Final = 2**31  # RFC 9111 section 1.2.2: what a larger number is taken for
_DIGITS_MAX: Final = len(str(SECONDS_MAX))

_WORD: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_QUOTED: Final = r'"(?:[^"\\]|\\.)*+"'
_NAME = re.compile(_WORD)
_DIRECTIVE = re.compile(rf"({_WORD})(?:=(?:({_WORD})|({_QUOTED})))?", re.DOTALL)
_ELEMENT = re.compile(rf'(?:[^,"]|{_QUOTED})*+', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)

# RFC 8941 section 3: a dictionary of items and inner lists, all with parameters, which mean nothing here.
_KEY: Final = r"[a-z*][a-z0-9_.*-]*"
_INTEGER: Final = r"-?[0-9]{1,15}(?![0-9.])"
_STRING: Final = r'"(?:[ !#-\[\]-~]|\\["\\])*+"'
_BARE: Final = (
    rf"(?:{_INTEGER}|-?[0-9]{{1,12}}\.[0-9]{{1,3}}(?![0-9])|{_STRING}"
    r"|[A-Za-z*][:/!#$%&'*+.^_`|~0-9A-Za-z-]*|:[A-Za-z0-9+/=]*:|\?[01])"
)
_ITEM: Final = rf"{_BARE}(?:; *{_KEY}(?:={_BARE})?)*"
_INNER: Final = rf"\( *(?:{_ITEM}(?: +{_ITEM})*)? *\)"
_MEMBER = re.compile(rf"({_KEY})(?:=({_BARE}|{_INNER}))?(?:; *{_KEY}(?:={_BARE})?)*")
_SEPARATOR = re.compile(r"[ \t]*,[ \t]*")
_TRUE: Final = "?1"

# What an argument has to be, where a directive is one that matters here (RFC 9213 section 2.1).
_NUMBERS: Final = frozenset({"max-age", "s-maxage", "stale-while-revalidate", "stale-if-error"})
_FLAGS: Final = frozenset({"no-store", "must-revalidate", "proxy-revalidate", "must-understand", "public", "immutable"})
_LISTS: Final = frozenset({"private", "no-cache"})


def parse_directives(header: str) -> Directives:
    """Read a Cache-Control header, of a request or an answer."""
    directives: Directives = {}
    for element, readable in _elements(header):
        if (match := _DIRECTIVE.fullmatch(element)) is not None:
            name, argument = match[1], match[2]
            if match[3] is not None:
                argument = _ESCAPED.sub(r"\1", match[3][1:-1])
        elif (match := _NAME.match(element)) is not None:
            name, argument = match[0], ""
        else:
            continue
        directives.setdefault(name.lower(), []).append(argument if readable else "")
    return directives


def _elements(header: str) -> Iterator[tuple[str, bool]]:
    """The parts between commas that are not quoted. After a quotation mark that is never closed nobody can say which
    those are: then all commas count, and nothing can be read."""
    at = 0
    while at <= len(header):
        match = _ELEMENT.match(header, at)
        end = at if match is None else match.end()
        if end < len(header) and header[end] == '"':
            yield from ((element.strip(" \t"), False) for element in header[at:].split(","))
            return
        yield header[at:end].strip(" \t"), True
        at = end + 1


def parse_targeted(header: str) -> Directives | None:
    """Read a targeted field such as CDN-Cache-Control; None if it is empty, or not what a cache may go by."""
    directives: Directives = {}
    text = header.strip(" ")
    at = 0
    while (member := _MEMBER.match(text, at)) is not None:
        name, value = member[1], member[2] or _TRUE
        if not _fits(name, value):
            return None
        directives[name] = [None if value == _TRUE else _ESCAPED.sub(r"\1", value.strip('"'))]
        if member.end() == len(text):
            return directives
        if (separator := _SEPARATOR.match(text, member.end())) is None:
            return None
        at = separator.end()
    return None


def _fits(name: str, value: str) -> bool:
    if name in _NUMBERS:
        return re.fullmatch(_INTEGER, value) is not None
    return value == _TRUE if name in _FLAGS else name not in _LISTS or value == _TRUE or value[0] == '"'


def delta_seconds(text: str | None) -> float | None:
    """A number of seconds (RFC 9111 section 1.2.2); None if it is anything but decimal digits."""
    if not text or not text.isascii() or not text.isdigit():
        return None
    digits = text.lstrip("0")
    return float(SECONDS_MAX if len(digits) > _DIGITS_MAX else min(int(digits or "0"), SECONDS_MAX))


def seconds(directives: Directives, name: str) -> float | None:
    """A directive's seconds; None where it is absent. 0 where an argument cannot be read; the least of several."""
    if name not in directives:
        return None
    return min(delta_seconds(argument) or 0.0 for argument in directives[name])


def field_names(directives: Directives, name: str) -> frozenset[str] | None:
    """The fields that a directive such as `private="set-cookie"` is limited to, in lower case; empty where it is
    absent. None where it is not limited, and holds for all of the answer."""
    names: set[str] = set()
    for argument in directives.get(name, ()):
        if argument is None or not (listed := {each.strip(" \t").lower() for each in argument.split(",")} - {""}):
            return None
        names |= listed
    return frozenset(names)
