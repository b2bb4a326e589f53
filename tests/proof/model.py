"""What the cache may answer, and nothing of how it works: versions, when each was current, and the rules of freshness.

Everything here is said anew, without a look at the product. An answer is right if it is what some version of the object
answers to that request, and if that version was current at a moment that the rules allow: since the reader asked, or as
long before that as a copy may be believed. A refusal may rest on no copy: it has to be true while the reader waits.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from rangecache.httpdate import format_http_date
from rangecache.testing.objects import stamped
from tests.edge.oracle import expected as expected_of_range

BLOCK: Final = 4096
_DAY_0: Final = datetime(2026, 1, 1, tzinfo=UTC)
_EPSILON_S: Final = 1e-6


class Violation(AssertionError):
    """An answer that nothing allows."""


def size_of(version: int) -> int:
    """Versions differ in length; some are empty, some end with a block."""
    return (version * 5 % 7) * BLOCK + (0, 1, 17, BLOCK - 1)[version % 4]


def is_weak(version: int) -> bool:
    """Some versions have no strong validator: nothing of them may be kept."""
    return version % 6 == 5


def tag_of(version: int) -> str:
    """The entity tag of a version, which is also how an answer is recognised."""
    return f'W/"{version}"' if is_weak(version) else f'"{version}"'


def date_of(version: int) -> datetime:
    """When the version says that it was written: later versions later, to the second."""
    return _DAY_0 + timedelta(seconds=version)


_contents: dict[tuple[str, int], bytes] = {}


def content(name: str, version: int) -> bytes:
    """The bytes of one version."""
    data = _contents.get((name, version))
    if data is None:
        data = _contents[name, version] = stamped(name, version, size_of(version))
    return data


class Ask(NamedTuple):
    """A request. Conditions name a version, whose tag or date is sent."""

    head: bool = False
    range: str | None = None
    condition: str | None = None
    """if_match, if_none_match, if_modified_since, if_unmodified_since or if_range."""
    version: int = 0
    by_date: bool = False
    """If-Range with the date in place of the tag."""
    cache_control: str | None = None

    @property
    def fields(self) -> dict[str, str | bool]:
        """As the reader takes them."""
        fields: dict[str, str | bool] = {"head": self.head}
        if self.cache_control is not None:
            fields["cache_control"] = self.cache_control
        if self.condition is not None:
            dated = self.condition.endswith("_since") or (self.condition == "if_range" and self.by_date)
            fields[self.condition] = format_http_date(date_of(self.version)) if dated else tag_of(self.version)
        return fields

    @property
    def insists(self) -> bool:
        """Nothing that was heard before counts."""
        return self.cache_control in {"no-cache", "max-age=0"}


class Expected(NamedTuple):
    """What one version answers."""

    status: int
    spans: tuple[tuple[int, int], ...]
    """First and last byte of each range."""
    refusal: bool
    """The reader does not get what he asked for, so it must not rest on a copy."""


def answer_of(ask: Ask, version: int) -> Expected:
    """RFC 9110 section 13.2.2, for an object that is at hand."""
    size, other = size_of(version), ask.version
    strong = other == version and not is_weak(version)
    whole = ((0, size - 1),) if size and not ask.head else ()
    if (ask.condition == "if_match" and not strong) or (ask.condition == "if_unmodified_since" and version > other):
        return Expected(412, (), refusal=True)
    if (ask.condition == "if_none_match" and other == version) or (
        ask.condition == "if_modified_since" and version <= other
    ):
        return Expected(304, (), refusal=False)
    if ask.head or ask.range is None:
        return Expected(200, whole, refusal=False)
    # A date identifies a version only if an answer has said that it is older than its Date; ours say no Date.
    if ask.condition == "if_range" and not (strong and not ask.by_date):
        return Expected(200, whole, refusal=True)
    found = expected_of_range(ask.range, size)
    return Expected(found.status, found.spans, refusal=found.status == 416)


@dataclass(frozen=True)
class Rules:
    """How long what was heard may be believed, in seconds."""

    ttl_s: float = 0.0
    revalidate_s: float = 0.0
    """stale-while-revalidate"""
    error_s: float = 0.0
    """stale-if-error"""
    absent_s: float = 0.0


class History:
    """One object: which version was current since when; None while there was none."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._since: list[tuple[float, int | None]] = [(float("-inf"), None)]
        self.forgotten_at = float("-inf")
        """When it was purged: nothing heard before may be believed."""

    @property
    def current(self) -> int | None:
        """What is there now."""
        return self._since[-1][1]

    @property
    def versions(self) -> list[int]:
        """All that there ever were, the first one first."""
        return sorted({version for _, version in self._since if version is not None})

    def becomes(self, version: int | None, now: float) -> None:
        """From now on."""
        self._since.append((now, version))

    def between(self, start: float, end: float) -> set[int | None]:
        """All that were current at some moment of that time."""
        untils = [since for since, _ in self._since[1:]] + [float("inf")]
        return {
            version
            for (since, version), until in zip(self._since, untils, strict=True)
            if since <= end + _EPSILON_S and until >= start - _EPSILON_S
        }


class Model:
    """What is known of the origin, and what follows for the cache."""

    def __init__(self, rules: Rules, names: list[str], hearsay_s: float) -> None:
        """`hearsay_s` pass between the moment in which the origin decides what it answers and that in which it is
        heard; only then does it begin to be believed."""
        self.rules = rules
        self._hearsay_s = hearsay_s
        self.histories = {name: History(name) for name in names}
        self._newest = 0
        self.dated_back_s = 0.0
        """How far the wall clock was set back before restarts: what lies on disk is dated by it, and seems younger."""
        self.fault_at = float("-inf")
        """When the origin last failed or lied."""

    def next_version(self, rolls_back_to: int | None) -> int:
        """A version number that was never used, or the one that is to come back."""
        if rolls_back_to is not None:
            return rolls_back_to
        self._newest += 1
        return self._newest

    # --- judging --------------------------------------------------------------------------------------------------

    def credible(self, name: str, ask: Ask, started: float, opened: float, *, faults: bool) -> set[int | None]:
        """The versions that a copy may have been of."""
        history, rules = self.histories[name], self.rules
        believed_s = 0.0
        if not ask.insists:
            believed_s = rules.ttl_s + (max(rules.revalidate_s, rules.error_s * faults) if rules.ttl_s else 0)
            believed_s = believed_s or rules.error_s * faults
            believed_s += self.dated_back_s + self._hearsay_s
        return history.between(max(started - believed_s, min(history.forgotten_at, started)), opened)

    def judge_head(
        self, name: str, ask: Ask, status: int, tag: str, ranges: list[tuple[int, int]], moment: Moment
    ) -> int:
        """Raise `Violation` unless the answer's head is right; which version it is of."""
        version = int(tag.removeprefix("W/").strip('"'))
        expected = answer_of(ask, version)
        shown = tuple((start, end - 1) for start, end in ranges if start < end)
        history = self.histories[name]
        if tag != tag_of(version):
            raise Violation(f"{name}: the tag {tag} is of no version")
        # What passes through is one stream: several ranges cannot be cut out of it, and the whole is the answer.
        undivided = (200, ((0, size_of(version) - 1),)) if len(expected.spans) > 1 else None
        if (status, shown) not in (expected[:2], undivided):
            raise Violation(f"{name}: {ask} of version {version} is {expected} and not {status} {shown}")
        if expected.refusal and ask.cache_control != "only-if-cached":
            allowed = history.between(moment.started, moment.ended)
        else:
            allowed = self.credible(name, ask, moment.started, moment.ended, faults=self._faulty(moment))
        if version not in allowed:
            raise Violation(f"{name}: version {version} was not to be had by {ask}; {allowed} were, {moment}")
        return version

    def judge_body(self, name: str, version: int, ranges: list[tuple[int, int]], body: bytes) -> None:
        """Raise `Violation` unless these are the bytes."""
        data = content(name, version)
        if body != b"".join(data[start:end] for start, end in ranges):
            raise Violation(f"{name}: the bytes at {ranges} are not those of version {version}")

    def judge_absence(self, name: str, ask: Ask, moment: Moment) -> None:
        """Raise `Violation` unless there was no such object at a moment that counts."""
        history = self.histories[name]
        since = moment.started - (0 if ask.insists else self.rules.absent_s + self._hearsay_s)
        if None not in history.between(max(since, min(history.forgotten_at, moment.started)), moment.ended):
            raise Violation(f"{name}: there was one all the time, {moment}")

    def judge_unsatisfiable(self, name: str, ask: Ask, error: Exception, moment: Moment) -> None:
        """Raise `Violation` for a 416 without a version unless it is true of one that was there meanwhile."""
        seen = self.histories[name].between(moment.started, moment.ended)
        if not any(answer_of(ask, version).status == 416 for version in seen if version is not None):
            raise Violation(f"{name}: {error!r} to {ask}, and {seen} were there, {moment}")

    def judge_error(self, name: str, error: Exception, moment: Moment) -> None:
        """Raise `Violation` for an error that nobody caused."""
        if not self._faulty(moment):
            raise Violation(f"{name}: {error!r}, and the origin was well, {moment}")

    def judge_cut(self, name: str, version: int | None, error: Exception, moment: Moment) -> None:
        """Raise `Violation` for an answer that broke off although its version was there and the origin was well.

        `version` is None before anything was sent: then it takes two versions to run out of what can be begun anew.
        """
        there = self.histories[name].between(moment.started, moment.ended)
        if not self._faulty(moment) and (len(there) == 1 if version is None else there == {version}):
            raise Violation(f"{name}: {error!r}, and nothing had changed, {moment}")

    def _faulty(self, moment: Moment) -> bool:
        return self.fault_at >= moment.quiet_at


class Moment(NamedTuple):
    """When something was asked and answered."""

    started: float
    ended: float
    quiet_at: float
    """When nothing was on its way last, before that. A fault since then may be what the reader hears of."""
