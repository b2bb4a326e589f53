"""What proves who asks, whatever its form; what has to be fetched now and again is in `fetched`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from pathlib import Path

SECRET_FILE_BYTES_MAX: Final = 64 * 1024

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")


class CredentialsUnavailable(Exception):
    """A source failed. The message is the end of a sentence and holds nothing of the source's output."""


@dataclass(frozen=True, slots=True)
class Grant(Generic[T]):
    """What a source gave. Its `repr` shows nothing of it."""

    value: T = field(repr=False)
    expires_at_s: float | None = None
    """By the wall clock; None where it does not say."""


class Credentials(Protocol[T_co]):
    """Gives what proves who asks. Everything is called inside one event loop."""

    may_go_unsigned: bool
    """Whether a request may be sent unsigned where these credentials are missing or have expired: they were found by
    looking around, and not asked for by name."""

    @property
    def signs(self) -> bool:
        """Whether `get` would give credentials now."""
        ...

    @property
    def expires_at_s(self) -> float | None:
        """By the wall clock, when what `get` gives expires; None where nothing says so."""
        ...

    async def get(self) -> T_co | None:
        """What to sign with; None: send unsigned. Raises `Unauthenticated`."""
        ...

    async def renew(self) -> bool:
        """Called when the origin has rejected what `get` gave. True if there is something else now."""
        ...

    def describe(self) -> str:
        """What `get` gives, for a sentence such as "S3 does not accept …". No secrets."""
        ...

    async def aclose(self) -> None: ...


class Anonymous:
    """Never signs."""

    may_go_unsigned = True
    signs = False
    expires_at_s = None

    async def get(self) -> None:
        """None."""
        return

    async def renew(self) -> bool:
        """There is nothing to renew."""
        return False

    def describe(self) -> str:
        """For a sentence."""
        return "requests without credentials (anonymous)"

    async def aclose(self) -> None:
        """Nothing to give back."""


class Static(Generic[T]):
    """What was given as a value."""

    may_go_unsigned = False
    signs = True
    expires_at_s = None

    def __init__(self, value: T, description: str) -> None:
        self._value = value
        self._description = description

    async def get(self) -> T:
        """The value."""
        return self._value

    async def renew(self) -> bool:
        """There is no other."""
        return False

    def describe(self) -> str:
        """For a sentence."""
        return self._description

    async def aclose(self) -> None:
        """Nothing to give back."""


def read_secret(given: str | Path) -> str:
    """A secret that was given as a value, or the text of the file that holds it. Blocks. Raises
    `CredentialsUnavailable`, which names the file."""
    if isinstance(given, str):
        return given
    try:
        with given.open("rb") as file:
            text = file.read(SECRET_FILE_BYTES_MAX).decode().strip()
    except OSError as error:
        raise CredentialsUnavailable(f"the file {given} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError:
        raise CredentialsUnavailable(f"the file {given} is not text") from None  # the cause would quote the secret
    if not text:
        raise CredentialsUnavailable(f"the file {given} is empty")
    return text
