"""`python -m bench.plain_proxy ORIGIN PORT`: the caching proxy that one writes in an afternoon, with aiohttp.

Blocks of 1 MiB in a dictionary, the oldest thrown away, a lock for each so that nobody fetches one twice. It trusts its
origin, knows one version of an object for ever, and answers single ranges only: what is left of rangecache when all
that takes care is taken away.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections import OrderedDict, defaultdict
from typing import TYPE_CHECKING, Final

from aiohttp import ClientSession, TCPConnector, web

from bench.origin import fast_loop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

BLOCK_BYTES: Final = 1 << 20
CACHE_BLOCKS: Final = 1024
_RANGE: Final = re.compile(r"bytes=(\d+)-(\d*)")


class PlainProxy:
    """All of it."""

    def __init__(self, origin: str) -> None:
        self._origin = origin
        self._blocks: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._sizes: dict[str, int] = {}
        self._locks: defaultdict[tuple[str, int], asyncio.Lock] = defaultdict(asyncio.Lock)
        self._session: ClientSession

    async def life(self, _: web.Application) -> AsyncIterator[None]:
        """One pool of connections for as long as it serves."""
        async with ClientSession(connector=TCPConnector(limit=64), auto_decompress=False) as self._session:
            yield

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """A single range, or all of an object."""
        path = request.path
        if path not in self._sizes:
            await self._block(path, 0)
        size = self._sizes[path]
        asked = _RANGE.fullmatch(request.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        end = min(size, int(asked[2]) + 1 if asked and asked[2] else size)
        headers = {"Content-Range": f"bytes {start}-{end - 1}/{size}"} if asked else {}
        answer = web.StreamResponse(status=206 if asked else 200, headers=headers)
        answer.content_length = end - start
        await answer.prepare(request)
        for number in range(start // BLOCK_BYTES, -(-end // BLOCK_BYTES)):
            block, base = await self._block(path, number), number * BLOCK_BYTES
            await answer.write(memoryview(block)[max(start - base, 0) : end - base])
        return answer

    async def _block(self, path: str, number: int) -> bytes:
        key = (path, number)
        if (block := self._blocks.get(key)) is None:
            async with self._locks[key]:
                if (block := self._blocks.get(key)) is None:
                    block = self._blocks[key] = await self._fetch(path, number)
                    if len(self._blocks) > CACHE_BLOCKS:
                        self._blocks.popitem(last=False)
        self._blocks.move_to_end(key)
        return block

    async def _fetch(self, path: str, number: int) -> bytes:
        wanted = f"bytes={number * BLOCK_BYTES}-{(number + 1) * BLOCK_BYTES - 1}"
        async with self._session.get(self._origin + path, headers={"Range": wanted}) as answer:
            if answer.status != 206:
                raise web.HTTPBadGateway(text=f"the origin said {answer.status}")
            self._sizes[path] = int(answer.headers["Content-Range"].rpartition("/")[2])
            return await answer.read()


def main() -> None:
    """Serve until interrupted."""
    origin, port = sys.argv[1:]
    proxy = PlainProxy(origin)
    application = web.Application()
    application.cleanup_ctx.append(proxy.life)
    application.router.add_get("/{path:.*}", proxy.answer)
    loop = fast_loop()
    web.run_app(application, host="127.0.0.1", port=int(port), access_log=None, print=lambda *_: None, loop=loop)


if __name__ == "__main__":
    main()
