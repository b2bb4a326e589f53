"""HTTP dates (RFC 9110 section 5.6.7): whole seconds, UTC."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from functools import lru_cache


@lru_cache(maxsize=1024)
def parse_http_date(text: str) -> datetime | None:
    """Read a date in any of the three forms that a recipient must accept. None if it is none of them."""
    try:
        parsed = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def format_http_date(moment: datetime) -> str:
    """Print an aware date as an IMF-fixdate."""
    return format_datetime(moment.astimezone(UTC), usegmt=True)
