"""What commands print, and services send, to give out a secret: a JSON object that may say when it expires.

Errors are `CredentialsUnavailable`, the end of a sentence, and quote nothing of it.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Final

from rangecache.origin.credentials import CredentialsUnavailable

THE_COMMAND: Final = "the command"
_SECONDS_MAX: Final = 1e11  # the year 5138; what is larger are milliseconds


def read_object(document: bytes, whose: str = THE_COMMAND) -> dict[str, Any]:
    """The object. `whose` begins the sentence."""
    try:
        found: Any = json.loads(document)
    except (ValueError, RecursionError):
        raise CredentialsUnavailable(f"{whose} gave something that is not JSON") from None
    if not isinstance(found, dict):
        raise CredentialsUnavailable(f"{whose} gave no JSON object")
    return found


def read_time(value: object, whose: str = THE_COMMAND, name: str = "expires") -> float | None:
    """Seconds since 1970 of an ISO 8601 time, which without a zone is UTC; None where nothing is said."""
    if value is None or value == "":
        return None
    try:
        at = datetime.fromisoformat(value)  # type: ignore[arg-type]  # what is no text is a TypeError
        return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()
    except (TypeError, ValueError, OverflowError):
        raise CredentialsUnavailable(f"{whose} gave an {name} that is no ISO 8601 time") from None


def read_expires(found: dict[str, Any], whose: str = THE_COMMAND) -> float | None:
    """When what was `found` expires, by its member `expires`: an ISO 8601 time or seconds since 1970."""
    value = found.get("expires")
    if isinstance(value, int | float) and not isinstance(value, bool):
        if not 0 <= value < _SECONDS_MAX:
            raise CredentialsUnavailable(f"{whose} gave an expires that is no number of seconds since 1970")
        return float(value)
    return read_time(value, whose)
