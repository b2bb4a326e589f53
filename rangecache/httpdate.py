"""HTTP dates (RFC 9110 section 5.6.7): whole seconds, UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from functools import lru_cache
from typing import Final

_STRONG_AFTER: Final = timedelta(seconds=1)

_TIME: Final = r"[0-9]{2}:[0-9]{2}:[0-9]{2}"
_THREE_FORMS = re.compile(
    rf"[a-z]{{3}}, [0-9]{{2}} [a-z]{{3}} [0-9]{{4}} {_TIME} GMT"
    rf"|[a-z]{{6,9}}, [0-9]{{2}}-[a-z]{{3}}-[0-9]{{2}} {_TIME} GMT"
    rf"|[a-z]{{3}} [a-z]{{3}} [ 0-9][0-9] {_TIME} [0-9]{{4}}",
    re.IGNORECASE | re.ASCII,
)


@lru_cache(maxsize=1024)
def parse_http_date(text: str) -> datetime | None:
    """Read a date in any of the three forms that a recipient must accept. None if it is none of them."""
    try:
        date = parsedate_to_datetime(text)
        date = date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return date.replace(microsecond=0)


def parse_expiry(text: str) -> datetime | None:
    """Read a date on which freshness depends: one of the three forms to the letter, whatever the case, and GMT alone.

    None for anything else, which RFC 9111 sections 4.2 and 5.3 take for a time in the past.
    """
    return parse_http_date(text) if _THREE_FORMS.fullmatch(text.strip(" \t")) else None


def format_http_date(moment: datetime) -> str:
    """Print an aware date as an IMF-fixdate."""
    return format_datetime(moment.astimezone(UTC), usegmt=True)


def identifies(last_modified: datetime | None, sent: datetime | None) -> bool:
    """Whether a Last-Modified date can stand for the bytes (RFC 9110 section 8.8.2.2).

    It can where it lies at least a second before the Date of the same answer: the object could not have been written
    once more within that second.
    """
    return last_modified is not None and sent is not None and sent - last_modified >= _STRONG_AFTER
