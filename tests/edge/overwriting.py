"""Readers and a writer at the same objects, with the proxy between them killed again and again.

Every 16 bytes of an object say which version they are of and where they belong, and every tag names a version. So each
answer can be checked by itself: its bytes must be exactly those of the version of its tag, and that version must have
been the current one at some moment that the freshness rules allow.
"""

from __future__ import annotations

import asyncio
import random
import time
from bisect import bisect_right
from collections import Counter
from typing import TYPE_CHECKING, Final

from rangecache.testing.objects import Stamped
from tests.edge.client import Answer, Client, CutShort
from tests.edge.rig import BLOCK

if TYPE_CHECKING:
    from rangecache.testing.origin import Origin
    from tests.edge.process import Proxy

OBJECTS: Final = 40
BLOCKS_MAX: Final = 24
READERS: Final = 4
CONNECTIONS: Final = 4  # of each reader
TTL_S: Final = 0.5
STALE_S: Final = 0.2
NEGATIVE_TTL_S: Final = 0.1
# From the moment in which the origin decides what it answers to the one in which the proxy has heard it, on a machine
# that has other work to do.
HEARSAY_S: Final = 2.0
WRITE_EVERY_S: Final = 0.02
KILL_EVERY_S: Final = 6.0
VIOLATIONS_MAX: Final = 5  # more say nothing new


class Violation(AssertionError):
    """An answer that no version of the object allows."""


def size_of(name: str, version: int) -> int:
    """Versions differ in length. Some are empty, some end with a block."""
    chance = random.Random(f"{name} {version}")
    blocks = chance.randrange(BLOCKS_MAX)
    return blocks * BLOCK + chance.choice((0, 1, 17, BLOCK - 1, chance.randrange(BLOCK)))


class History:
    """Which version of one object was current when; None while there was none."""

    def __init__(self) -> None:
        self._since: list[float] = []
        self._versions: list[int | None] = []

    @property
    def current(self) -> int | None:
        """The version that is there now."""
        return self._versions[-1]

    def becomes(self, version: int | None) -> None:
        """From now on."""
        self._since.append(time.monotonic())
        self._versions.append(version)

    def between(self, start: float, end: float) -> set[int | None]:
        """All that were current at some moment of that time."""
        first = max(0, bisect_right(self._since, start) - 1)
        return set(self._versions[first : bisect_right(self._since, end)])

    def __len__(self) -> int:
        return len(self._since)


class Writer:
    """Overwrites, deletes and rolls back, without a pause to speak of."""

    def __init__(self, origin: Origin, seed: int) -> None:
        self._origin = origin
        self._random = random.Random(seed)
        self.names = [f"object-{number}" for number in range(OBJECTS)]
        self.histories = {name: History() for name in self.names}
        self._newest = dict.fromkeys(self.names, 0)
        self.asked = 0
        """Requests that reached the origin. Its log is emptied as they are counted: it would fill the memory."""
        origin.on_request = self._count
        for name in self.names:
            self._write(name, 1)

    @property
    def changes(self) -> int:
        """How many there were."""
        return sum(map(len, self.histories.values()))

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            name, chance = self._random.choice(self.names), self._random.random()
            if chance < 0.1 and self.histories[name].current is not None:
                self._origin.delete(f"b/{name}")
                self.histories[name].becomes(None)
            elif chance < 0.25:
                self._write(name, self._random.randint(1, self._newest[name]))
            else:
                self._write(name, self._newest[name] + 1)
            await asyncio.sleep(WRITE_EVERY_S)

    async def _count(self, _: object) -> None:
        self.asked += 1
        self._origin.log.clear()

    def _write(self, name: str, version: int) -> None:
        self._newest[name] = max(version, self._newest[name])
        self._origin.put(f"b/{name}", Stamped(name, version, size_of(name, version)), etag=f'"{version}"')
        self.histories[name].becomes(version)


class Killer:
    """Kills the proxy with -9 and starts it anew, until it is cancelled."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.kills = 0
        self._up = asyncio.Event()
        self._up.set()

    async def run(self) -> None:
        """A life lasts as long as a client needs to fill the memory tier many times over."""
        while True:
            await asyncio.sleep(KILL_EVERY_S)
            self._up.clear()
            self.kills += 1
            await self.proxy.kill()
            await self.proxy.start()
            self._up.set()

    async def port(self) -> int:
        """Of the proxy that lives, once one does."""
        await self._up.wait()
        return self.proxy.port


class Reading:
    """What has been read so far, and what was wrong with it."""

    def __init__(self, writer: Writer, killer: Killer, reads: int, seed: int) -> None:
        self._writer = writer
        self._killer = killer
        self._random = random.Random(seed)
        self._left = reads
        self.reads = 0
        """Answers that were complete and have been checked."""
        self.bytes = 0
        self.sources: Counter[str] = Counter()
        """By Cache-Status."""
        self.statuses: Counter[int] = Counter()
        self.cuts = 0
        """Answers that were cut although nobody killed the proxy."""
        self.killed = 0
        """Answers that the killing cost."""
        self.violations: list[Violation] = []

    @property
    def errors(self) -> int:
        """Answers that a client could not use: of status 5xx, and cut ones."""
        return self.cuts + sum(count for status, count in self.statuses.items() if status >= 500)

    async def run(self) -> None:
        """All readers, until all reads are done."""
        await asyncio.gather(*(self._reader() for _ in range(READERS * CONNECTIONS)))

    async def _reader(self) -> None:
        client: Client | None = None
        kills = 0  # when the connection was made
        seen: dict[str, str] = {}
        try:
            while self._left > 0 and len(self.violations) < VIOLATIONS_MAX:
                self._left -= 1
                port = await self._killer.port()
                try:
                    if client is None:
                        kills = self._killer.kills
                        client = await Client.connect(port)
                    await self._read(client, seen)
                except (CutShort, OSError):
                    if client is not None:
                        client.close()
                        client = None
                    if self._killer.kills == kills:
                        self.cuts += 1
                    else:
                        self.killed += 1
                        self._left += 1
                except Violation as violation:
                    self.violations.append(violation)
        finally:
            if client is not None:
                client.close()

    async def _read(self, client: Client, seen: dict[str, str]) -> None:
        name = self._random.choice(self._writer.names)
        method, fields = self._request(name, seen)
        started = time.monotonic()
        client.send(f"/web/b/{name}", *fields, method=method)
        answer = await client.answer(method=method)
        self.statuses[answer.status] += 1
        self._check(name, answer, method, fields, started, time.monotonic())
        self.reads += 1
        self.bytes += len(answer.body)
        self.sources[_source(answer)] += 1
        if "etag" in answer.headers:
            seen[name] = answer.headers["etag"]

    def _request(self, name: str, seen: dict[str, str]) -> tuple[str, list[str]]:
        chance, at = self._random.random(), self._random.randrange(BLOCKS_MAX * BLOCK // 2)
        if chance < 0.70:
            return "GET", [f"Range: bytes={at}-{at + self._random.randrange(16, 3000)}"]
        if chance < 0.82:
            return "GET", [f"Range: bytes={at}-{at + 6 * BLOCK}"]
        if chance < 0.87:
            return "GET", [f"Range: bytes=-{1 + at // 8}"]
        if chance < 0.91:
            return "GET", [f"Range: bytes=0-99,{at}-{at + 99},-50"]
        if chance < 0.94:
            return "GET", []
        if chance < 0.96:
            return "HEAD", []
        if chance < 0.98 and name in seen:
            return "GET", [f"If-None-Match: {seen[name]}"]
        return "GET", [f"Range: bytes={at}-{at + 99}", f"If-Range: {seen.get(name, chr(34) + '0' + chr(34))}"]

    def _check(self, name: str, answer: Answer, method: str, fields: list[str], start: float, end: float) -> None:
        history, status = self._writer.histories[name], answer.status
        if status == 404:
            if None not in history.between(start - NEGATIVE_TTL_S - HEARSAY_S, end):
                raise Violation(f"{name} was there all the time, and the answer is 404")
            return
        if status >= 500:
            return
        allowed = history.between(start - TTL_S - STALE_S - HEARSAY_S, end)
        if status == 416 and "etag" not in answer.headers:
            # Passed through: the origin refused, and said only how long the object is.
            sizes = {f"bytes */{size_of(name, each)}" for each in allowed if each is not None}
            if answer.headers.get("content-range") not in sizes:
                raise Violation(f"{name}: 416 with {answer.headers}, and the object had {sizes}")
            return
        version = int(answer.headers["etag"].strip('"'))
        if version not in allowed:
            raise Violation(f"{name}: version {version}, when only {allowed} could be seen; {answer.cache}")
        size = size_of(name, version)
        content = Stamped(name, version, size)
        if status == 416:
            right = answer.headers["content-range"] == f"bytes */{size}"
        elif status == 304:
            right = not answer.body
        elif status == 200:
            right = answer.headers["content-length"] == str(size)
            right = right and (method == "HEAD" or answer.body == content.read(0, size))
        elif "content-range" not in answer.headers:
            parts = answer.parts()
            right = all((each[2], each[3]) == (size, content.read(each[0], each[1] + 1)) for each in parts)
        else:
            span, _, told = answer.headers["content-range"].removeprefix("bytes ").partition("/")
            first, _, last = span.partition("-")
            right = told == str(size) and answer.body == content.read(int(first), int(last) + 1)
        if not right:
            raise Violation(f"{name}, tag of version {version}, {fields}: {status} with wrong bytes, {answer.headers}")


def _source(answer: Answer) -> str:
    """In one word."""
    said = answer.headers["cache-status"]
    for mark, word in (
        ("bypass", "passed through"),
        ("detail=memory", "memory"),
        ("detail=disk", "disk"),
        ("ttl=", "stale"),
        ("fwd-status=304", "revalidated"),
        ("collapsed", "joined"),
        ("fwd=partial", "partial"),
        ("fwd=uri-miss", "miss"),
    ):
        if mark in said:
            return word
    return "refused"
