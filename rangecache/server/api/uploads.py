"""Bodies that are too long for one piece: lines, checked as they come, bounded in number and in bytes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from rangecache.errors import BadRequest, Overloaded
from rangecache.jobs.manifest import LINE_BYTES_MAX
from rangecache.server.problems import Problem, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

UPLOAD_BYTES_MAX: Final = 16 * 1024 * 1024  # some 100,000 to 400,000 objects
UPLOADS_MAX: Final = 2  # at a time
UPLOAD_TIMEOUT_S: Final = 60.0
_BREATH_LINES: Final = 1_000
_TOO_LONG: Final = Problem(413, "content-too-large", "The body is too large")
_TOO_LONG_DETAIL: Final = f"A manifest may have up to {UPLOAD_BYTES_MAX >> 20} MiB; send it in parts."


class Lines:
    """Reads such bodies, a few at a time."""

    def __init__(self) -> None:
        self._under_way = 0

    async def read(self, request: web.Request, check: Callable[[bytes, int], bool]) -> list[bytes]:
        """The lines that `check`, which is given each with its number, does not skip.

        Raises what `check` raises, `ProtocolError` (413) and `Overloaded`.
        """
        if request.content_length is not None and request.content_length > UPLOAD_BYTES_MAX:
            raise ProtocolError(_TOO_LONG, _TOO_LONG_DETAIL)
        if self._under_way >= UPLOADS_MAX:
            raise Overloaded("Other manifests are being sent at this moment; try again in a little while.")
        self._under_way += 1
        try:
            async with asyncio.timeout(UPLOAD_TIMEOUT_S):
                return await self._read(request, check)
        except TimeoutError:
            raise BadRequest(f"The manifest did not arrive within {UPLOAD_TIMEOUT_S:g} s.") from None
        finally:
            self._under_way -= 1

    async def _read(self, request: web.Request, check: Callable[[bytes, int], bool]) -> list[bytes]:
        lines: list[bytes] = []
        number, size, rest = 0, 0, b""
        while True:
            chunk = await request.content.readany()
            size += len(chunk)
            if size > UPLOAD_BYTES_MAX:
                raise ProtocolError(_TOO_LONG, _TOO_LONG_DETAIL)
            *whole, rest = (rest + chunk).split(b"\n")
            if not chunk:
                whole.append(rest)
            elif len(rest) > LINE_BYTES_MAX:
                whole.append(rest)  # too long already, which its check will say
            for line in whole:
                number += 1
                if check(line.strip(), number):
                    lines.append(line.strip())
                if not number % _BREATH_LINES:
                    await asyncio.sleep(0)
            if not chunk:
                return lines
