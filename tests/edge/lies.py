"""The ways in which an origin may lie, and what a client must get of each. The numbers are those of a catalogue of
upstream behaviours, kept so that a row that is missing can be seen:

* F17 and F18 (a coding that nobody asked for) and F36 to F39 and F42 (headers and freshness) have tests of their own.
* F25 (expired credentials) needs a provider that signs, F43 (TLS) and F44 (names that do not resolve) a real way out:
  they are among the tests of the origin room. F45 (another origin in its place) is in test_failover.
* F40 (the same tag on other bytes) cannot be seen without a checksum from the provider.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rangecache.testing.faults import (
    BareLineFeeds,
    Chunked,
    CloseWithoutAnswer,
    ContentRange,
    Cut,
    Drip,
    ExtraBytes,
    Fault,
    Headers,
    HugeHeader,
    IgnoreRange,
    LengthAndChunked,
    LongRange,
    ManyContinues,
    ManyHeaders,
    Multipart,
    NoContentLength,
    NoETag,
    NoValidators,
    OtherETag,
    OtherRange,
    RawAnswer,
    Redirect,
    Relabel,
    Reset,
    ShortRange,
    Stall,
    Status,
    TwoLengths,
    UnconditionalNotModified,
    WeakETag,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rangecache.testing.answers import Answer

Outcome = str
"""`right`: the whole answer, every byte right. `cut`: the beginning of it, then a visible end. Else an error status."""


@dataclass(frozen=True, slots=True)
class Spelled:
    """A Content-Range of another spelling, made of the true one's numbers."""

    text: str

    def apply(self, answer: Answer) -> Answer:
        """`{first}`, `{last}`, `{size}` and `{more}`, which is one more than the size."""
        if answer.range is None or answer.stored is None:
            return answer
        size = answer.stored.content.size
        numbers = {"first": answer.range[0], "last": answer.range[1] - 1, "size": size, "more": size + 1}
        return ContentRange(self.text.format(**numbers)).apply(answer)


@dataclass(frozen=True, slots=True)
class Lie:
    """One behaviour, kept up as long as it lasts, and what becomes of it."""

    name: str
    faults: Sequence[Fault]
    cold: Outcome
    """The first request of all."""
    warm: Outcome
    """The object is known, the block is not: the request is pinned."""
    middle: Outcome
    """The answer has begun when the lying begins."""
    asked: tuple[int, int]
    """Requests that reach the origin, cold and warm."""
    once: Outcome = ""
    """What a warm client gets if the origin lies only once; the same as `warm` if it is empty."""

    def __str__(self) -> str:
        return self.name


def nonsense(name: str, *faults: Fault) -> Lie:
    """An answer that is never right and is not asked for again."""
    return Lie(name, faults, "502", "502", "cut", (1, 1))


def broken(name: str, *faults: Fault, asked: tuple[int, int] = (3, 3), status: str = "502") -> Lie:
    """An attempt that fails before its head: it is repeated, three times in all."""
    return Lie(name, faults, status, status, "cut", asked, "right")


def cut_off(name: str, *faults: Fault) -> Lie:
    """A body that breaks off: it is gone on with, three attempts in all. By then the head is out."""
    return Lie(name, faults, "cut", "cut", "cut", (3, 3), "right")


def other_version(name: str, *faults: Fault, cold: Outcome = "right") -> Lie:
    """A pinned request shows that the version is gone; it is begun anew, once, on what there is now."""
    return Lie(name, faults, cold, cold, "cut", (1, 2), "right")


def harmless(name: str, *faults: Fault) -> Lie:
    """Odd, and put up with."""
    return Lie(name, faults, "right", "right", "right", (1, 1))


LIES: Final = (
    harmless("F1 the whole object in place of a range", IgnoreRange()),
    other_version("F2 the whole object, of another version", IgnoreRange(), OtherETag()),
    other_version("F2 a range of another version", OtherETag()),
    nonsense("F3 another range", OtherRange(50, 66)),
    nonsense("F4 a part without Content-Range", ContentRange(None)),
    Lie("F5 a part of unknown length", (Spelled("bytes {first}-{last}/*"),), "502", "right", "right", (1, 1)),
    other_version("F6 another length of the object", Spelled("bytes {first}-{last}/{more}")),
    nonsense("F7 a Content-Range that runs backwards", Spelled("bytes {last}-{first}/{size}")),
    nonsense("F7 a Content-Range beyond its own end", Spelled("bytes {first}-{last}/{first}")),
    nonsense("F7 a Content-Range of another unit", Spelled("octets {first}-{last}/{size}")),
    nonsense("F7 a Content-Range without a length", Spelled("bytes {first}-{last}")),
    nonsense("F7 a Content-Range with a sign", Spelled("bytes +{first}-{last}/{size}")),
    cut_off("F8 less than was asked for", ShortRange(100)),
    nonsense("F9 more than was asked for", LongRange()),
    nonsense("F10 several parts", Multipart()),
    cut_off("F11 a body that ends early", Cut(5)),
    cut_off("F12 a body that is reset", Reset(5)),
    cut_off("F13 a chunked body that ends early", Chunked(), Cut(5)),
    cut_off("F14 a body without a length that ends early", NoContentLength(), Cut(5)),
    nonsense("F15 bytes after the end of the body", ExtraBytes()),
    nonsense("F16 a length and chunks", LengthAndChunked()),
    nonsense("F16 two lengths", TwoLengths()),
    other_version("F19 a weak tag", WeakETag()),
    other_version("F19 no tag and a date of just now", NoETag()),
    other_version("F19 no validator at all", NoValidators()),
    other_version("F20 a tag without quotes", OtherETag("v1")),
    other_version("F21 a tag of 300 bytes", OtherETag(f'"{"x" * 300}"')),
    nonsense("F21 a tag of 9000 bytes", OtherETag(f'"{"x" * 9000}"')),
    nonsense("F21 a tag with control characters", OtherETag('"a\x01b"')),
    other_version("F22 412", Status(412), cold="502"),
    other_version("F23 404", Status(404), cold="404"),
    other_version("F23 410", Status(410), cold="404"),
    Lie("F24 416", (Status(416),), "502", "502", "cut", (3, 4), "right"),
    Lie("F26 403", (Status(403, body=b"secret"),), "403", "403", "cut", (1, 1)),
    nonsense("F27 a redirect elsewhere", Redirect("http://169.254.169.254/latest/meta-data/")),
    nonsense("F27 a redirect to another scheme", Redirect("file:///etc/passwd")),
    nonsense("F28 304 although nobody asked", UnconditionalNotModified()),
    nonsense("F29 204 with a body", Relabel(204)),
    nonsense("F29 status 99", Relabel(99)),
    nonsense("F29 status 600", Relabel(600)),
    nonsense("F29 status 201", Relabel(201)),
    harmless("F30 a hundred times 100 Continue", ManyContinues(100)),
    nonsense("F31 a huge header", HugeHeader()),
    nonsense("F31 a thousand headers", ManyHeaders()),
    nonsense("F31 a header with NUL", Headers({"X-Odd": "a\x00b"})),
    harmless("F32 lines that end in a line feed alone", BareLineFeeds()),
    Lie("F33 a byte now and then", (Drip(),), "cut", "cut", "cut", (3, 3), "right"),
    broken("F34 no answer", Stall(), status="504"),
    cut_off("F34 no end of the answer", Stall(5)),
    broken("F35 a connection closed without an answer", CloseWithoutAnswer(), asked=(3, 4)),
    broken("F35 a connection reset without an answer", Reset(), asked=(3, 4)),
    broken("500", Status(500)),
    broken("503", Status(503), status="503"),
    broken("503 for an hour", Status(503, {"Retry-After": "3600"}), status="503"),
    broken("429 with a Retry-After that says nothing", Status(429, {"Retry-After": "-1"}), status="503"),
    Lie("F41 all without its length", (IgnoreRange(), Chunked()), "502", "right", "right", (1, 1)),
    nonsense("not HTTP at all", RawAnswer(b"\x16\x03\x01\x02\x00\x01\x00")),
)
