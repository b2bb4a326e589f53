"""`throttle`: how fast origins are asked at most; for all providers together, and for one."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field

from rangecache.settings.fields import KIB, Bytes, Section, between, sized
from rangecache.settings.units import parse_size

_TIB: Final = 1 << 40


def _read_bandwidth(value: Any) -> Any:
    if value == "unlimited" or isinstance(value, int):
        return value
    try:
        return parse_size(value if isinstance(value, str) else "")
    except ValueError as error:
        raise ValueError(f"{error}; or `unlimited`") from None


Bandwidth = Annotated[Literal["unlimited"] | Annotated[Bytes, sized(4 * KIB, _TIB)], BeforeValidator(_read_bandwidth)]
RequestRate = Literal["unlimited"] | Annotated[float, Field(allow_inf_nan=False), between(0.01, 1_000_000)]


class Throttle(Section):
    """The most that is asked of origins. Readers come before what is fetched ahead of them."""

    bandwidth: Bandwidth = "unlimited"
    """Bytes of objects a second, such as `50MiB`. `unlimited`: as fast as it goes."""
    requests_per_second: RequestRate = "unlimited"
    """Requests a second, repeats included. `unlimited`: as many as there are."""
