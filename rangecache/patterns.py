"""Patterns over the names of objects: who may read what, and which freshness rule holds for it. Pure.

A name is `provider/bucket/key`, decoded. A pattern is compared segment by segment, whole segments only, so
`s3/data/**` never reaches the bucket `database`:

* `*` stands for any run of characters inside one segment, also none: `s3/logs-*/2024/*.json`;
* `**`, as a whole segment, stands for any number of whole segments, also none: `**/zarr.json`;
* a final `/` is short for `/**`;
* every other character stands for itself. Letters' case counts, and so does how an accent is composed.

Matching takes at most time proportional to the product of the two lengths: wildcards are resolved leftmost first and
never tried again, which is enough because what stands between two wildcards matches best as far left as it can.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PATTERN_CHARS_MAX: Final = 1024  # as long as the longest S3 key
_NAME_SEGMENTS_MIN: Final = 3  # provider, bucket, and a key that has at least one

T = TypeVar("T")


class Pattern:
    """One compiled pattern."""

    __slots__ = ("_beneath", "_runs", "text")

    def __init__(self, text: str) -> None:
        """Compile. Raises ValueError, with a sentence that says what to write, if no object could ever match."""
        self.text = text
        segments = _segments(text)
        self._runs = _split_at_any_depth(segments)
        # By far the most patterns are `**` or `provider/bucket/prefix/**`: one comparison of text.
        plain = segments[-1] == "**" and not any("*" in segment for segment in segments[:-1])
        self._beneath = "".join(f"{segment}/" for segment in segments[:-1]) if plain else None

    def matches(self, name: str) -> bool:
        """Whether the whole of `name` (`provider/bucket/key`) is matched. Never raises."""
        if self._beneath is not None:
            return name.startswith(self._beneath) or name == self._beneath[:-1]
        segments = name.split("/")
        first, *rest = self._runs
        if not rest:
            return len(segments) == len(first) and _run_matches(first, segments, 0)
        *middle, last = rest
        end = len(segments) - len(last)
        if len(first) > end or not _run_matches(first, segments, 0) or not _run_matches(last, segments, end):
            return False
        at = len(first)
        for run in middle:
            while at + len(run) <= end and not _run_matches(run, segments, at):
                at += 1
            at += len(run)
            if at > end:
                return False
        return True

    def reaches(self, beginning: str) -> bool:
        """Whether a name that begins with `beginning`, which ends in a slash or is empty, might be matched."""
        if self._beneath is not None:
            return beginning.startswith(self._beneath) or self._beneath.startswith(beginning)
        segments = beginning.split("/")[:-1]
        first, *rest = self._runs
        if not rest and len(segments) >= len(first):
            return False
        return all(_segment_matches(parts, segment) for parts, segment in zip(first, segments, strict=False))

    def __repr__(self) -> str:
        return f"Pattern({self.text!r})"


class PatternSet:
    """Several patterns: a name is in the set if any of them matches it."""

    __slots__ = ("_patterns",)

    def __init__(self, texts: Iterable[str]) -> None:
        """Compile all. Raises ValueError as `Pattern` does."""
        self._patterns = tuple(Pattern(text) for text in texts)

    def __contains__(self, name: str) -> bool:
        for pattern in self._patterns:  # noqa: SIM110 - every request asks this, and `any` costs twice as much
            if pattern.matches(name):
                return True
        return False

    def reaches(self, beginning: str) -> bool:
        """Whether a name that begins with `beginning`, which ends in a slash or is empty, might be in the set."""
        return any(pattern.reaches(beginning) for pattern in self._patterns)

    def __repr__(self) -> str:
        return f"PatternSet({[pattern.text for pattern in self._patterns]!r})"


def first_match(rules: Sequence[tuple[Pattern, T]], name: str) -> T | None:
    """What belongs to the first pattern that matches `name`; None if none does."""
    for pattern, value in rules:
        if pattern.matches(name):
            return value
    return None


def _segments(text: str) -> list[str]:
    if not text or len(text) > PATTERN_CHARS_MAX:
        raise ValueError(f"expected a pattern of 1 to {PATTERN_CHARS_MAX} characters")
    if text.startswith("/"):
        raise ValueError(f"expected provider/bucket/key without a leading slash: write {text.lstrip('/') or '**'}")
    segments = f"{text}**".split("/") if text.endswith("/") else text.split("/")
    for segment in segments:
        if "**" in segment and segment != "**":
            raise ValueError(f"`**` stands for whole segments: write **/ or * where {segment} is")
    if "**" not in segments and len(segments) < _NAME_SEGMENTS_MIN:
        instead = f"**/{text}" if "*" in text or "." in text else f"{text}/**"
        raise ValueError(f"{text} matches no object, as names are provider/bucket/key: write {instead}")
    return segments


def _split_at_any_depth(segments: list[str]) -> list[list[tuple[str, ...]]]:
    """The runs of segments between `**`, each segment split at its `*`."""
    runs: list[list[tuple[str, ...]]] = [[]]
    for segment in segments:
        if segment == "**":
            runs.append([])
        else:
            runs[-1].append(tuple(segment.split("*")))
    return runs


def _run_matches(run: list[tuple[str, ...]], segments: list[str], at: int) -> bool:
    """Whether the segments from `at` on are matched by `run`, one by one. There are enough of them."""
    return all(_segment_matches(parts, segments[at + offset]) for offset, parts in enumerate(run))


def _segment_matches(parts: tuple[str, ...], segment: str) -> bool:
    if len(parts) == 1:
        return segment == parts[0]
    first, *middle, last = parts
    end = len(segment) - len(last)
    if len(first) > end or not segment.startswith(first) or not segment.endswith(last):
        return False
    at = len(first)
    for part in middle:
        at = segment.find(part, at, end)
        if at < 0:
            return False
        at += len(part)
    return True
