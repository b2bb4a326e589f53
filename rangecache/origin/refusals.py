"""What an answer without the object means: where it leads, or which error it is."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from yarl import URL

from rangecache.errors import GenerationGone, InvalidAnswer, NotFound, RangecacheError, RangeNotSatisfiable
from rangecache.origin import answers
from rangecache.ranges import parse_unsatisfied

if TYPE_CHECKING:
    from rangecache.model import ObjectRef
    from rangecache.origin.answers import Asked
    from rangecache.origin.dialect import Answer, Dialect

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


def redirect(dialect: Dialect, answer: Answer, ref: ObjectRef, url: URL) -> URL | None:
    """Where a redirect leads, if it may be followed."""
    location = answer.headers.get("Location", "")
    if answer.status not in _REDIRECTS or not location or not location.isascii():
        return None
    try:
        to = url.join(URL(location, encoded=True)).with_fragment(None)
    except ValueError:
        return None
    downgrade = url.scheme == "https" and to.scheme != "https"
    if to.scheme not in ("http", "https") or downgrade or to.user is not None or not to.host:
        return None
    return to if dialect.may_redirect(ref, to) else None


def error(dialect: Dialect, answer: Answer, asked: Asked) -> RangecacheError:
    """What an answer without the object means."""
    ref = asked.ref
    if answer.status == 412 and asked.if_match is not None:
        return GenerationGone(f"{ref} has changed at the origin")
    if answer.status == 416 and asked.range is not None:
        if asked.if_match is not None:
            return GenerationGone(f"{ref} has become shorter at the origin")
        size = parse_unsatisfied(answer.headers.get("Content-Range", ""))
        return RangeNotSatisfiable(f"the range asked for lies outside {ref}", size)
    if answer.status in (304, 412, 416):
        return InvalidAnswer(f"the origin answered {answer.status} to a request that gave no cause for it")
    meaning = dialect.error(answer, ref)
    if isinstance(meaning, NotFound):
        if asked.if_match is not None:
            return GenerationGone(f"{ref} is no longer at the origin")
        with suppress(InvalidAnswer):  # headers that cannot be believed do not make it another answer
            meaning.headers = answers.end_to_end(answer.headers)
    return meaning
