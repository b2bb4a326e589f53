"""HTTP dates (RFC 9110 section 5.6.7): whole seconds, UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from functools import lru_cache
from typing import Final

_STRONG_AFTER: Final = timedelta(seconds=1)


@lru_cache(maxsize=1024)
def parse_http_date(text: str) -> datetime | None:
    """Read a date in any of the three forms that a recipient must accept. None if it is none of them."""
    try:
        date = parsedate_to_datetime(text)
        date = date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return date.replace(microsecond=0)


def format_http_date(moment: datetime) -> str:
    """Print an aware date as an IMF-fixdate."""
    return format_datetime(moment.astimezone(UTC), usegmt=True)


def identifies(last_modified: datetime | None, sent: datetime | None) -> bool:
    """Whether a Last-Modified date can stand for the bytes (RFC 9110 section 8.8.2.2).

    It can where it lies at least a second before the Date of the same answer: the object could not have been written
    once more within that second.
    """
    return last_modified is not None and sent is not None and sent - last_modified >= _STRONG_AFTER
