"""The whole program in this process, in front of the scripted origin, on free ports."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from rangecache.settings import Settings, TcpAddress
from rangecache.testing.origin import Origin
from rangecache.wiring.memory import memory_use
from rangecache.wiring.program import Program
from tests.edge.client import Answer, Client, CutShort, fetch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from rangecache.aio.clock import Clock
    from rangecache.server.stats import MemoryUse

BLOCK: Final = 4096
KEPT_PLACES: Final = {"resident", "catalog", "listings"}  # what a cache is for; all else is empty when nobody reads
PATIENCE_S: Final = 60.0  # a condition that has not come true by then never will


class HurriedClock:
    """Time that runs `factor` times as fast: a pause of a second is over in a few milliseconds."""

    def __init__(self, factor: float) -> None:
        self._factor = factor
        self._monotonic_s, self._wall_s = time.monotonic(), time.time()

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return self._monotonic_s + (time.monotonic() - self._monotonic_s) * self._factor

    def wall(self) -> float:
        """Seconds since 1970, UTC."""
        return self._wall_s + (time.monotonic() - self._monotonic_s) * self._factor

    async def sleep(self, delay_s: float) -> None:
        """Wait a part of it."""
        await asyncio.sleep(delay_s / self._factor)


class Rig:
    """An origin and a program, both started. Objects of the origin's folder `b` are read as `/web/b/…`."""

    def __init__(self, origin: Origin, program: Program, bucket: str = "b") -> None:
        self.origin = origin
        self.program = program
        self._bucket = bucket
        self._clients: list[Client] = []

    @property
    def port(self) -> int:
        """Of the data port."""
        (address,) = self.program.addresses
        assert isinstance(address, TcpAddress)
        return address.port

    @property
    def admin_port(self) -> int:
        """Of the admin port."""
        address = self.program.admin.address
        assert isinstance(address, TcpAddress)
        return address.port

    async def connect(self) -> Client:
        """A client of the data port; it leaves at the end of the test at the latest."""
        client = await Client.connect(self.port)
        self._clients.append(client)
        return client

    def close_clients(self) -> None:
        """All leave."""
        for client in self._clients:
            client.close()

    async def get(self, key: str, *fields: str, method: str = "GET") -> Answer:
        """One request on a connection of its own."""
        return await fetch(self.port, f"/web/{self._bucket}/{key}", *fields, method=method)

    async def get_or_cut(self, key: str, *fields: str) -> Answer | CutShort:
        """As `get`, with a cut as a result."""
        try:
            return await self.get(key, *fields)
        except CutShort as cut:
            return cut

    def memory(self) -> dict[str, MemoryUse]:
        """What each place holds now."""
        return memory_use(self.program)

    def asked(self, key: str | None = None) -> list[str | None]:
        """The ranges that the origin was asked for."""
        return [each.range for each in self.origin.log.select(None if key is None else f"b/{key}", "GET")]


def settings_for(
    origin: Origin,
    bucket: Mapping[str, Any] | None = None,
    provider: Callable[[str], Mapping[str, Any]] | None = None,
    **sections: Mapping[str, Any],
) -> Settings:
    """Blocks of 4 KiB, no disk, everything fresh for an hour and never stale; `sections` overrule, key by key. `bucket`
    is what else is set for `b`; `provider` makes another `web` of the origin's address."""
    web: Mapping[str, Any] = {"kind": "http", "buckets": {"b": {"url": f"{origin.url}b/", **(bucket or {})}}}
    if provider is not None:
        web = provider(origin.url)
    tree: dict[str, Any] = {
        "server": {"listen": "127.0.0.1:0", "admin_listen": "127.0.0.1:0"},
        "cache": {"block_size": BLOCK, "memory": {"size": 64 << 20}, "disk": {"enabled": False}},
        "freshness": [{"match": "**", "ttl": "1h"}],
        "defaults": {"stale_while_revalidate": "0s", "stale_if_error": "0s", "negative_ttl": "0s"},
        "providers": {"web": web},
        "telemetry": {"access_log": "off"},
    }
    for name, section in sections.items():
        tree[name] = {**tree.get(name, {}), **section} if isinstance(section, dict) else section
    return Settings.model_validate(tree)


@asynccontextmanager
async def running(
    *,
    clock: Clock | None = None,
    origin: Origin | None = None,
    bucket: Mapping[str, Any] | None = None,
    provider: Callable[[str], Mapping[str, Any]] | None = None,
    bucket_name: str = "b",
    **sections: Mapping[str, Any],
) -> AsyncIterator[Rig]:
    """Both servers, up until the end; then nothing may be left behind."""
    own = Origin(clock=clock) if origin is None else origin
    async with own:
        program = Program(settings_for(own, bucket, provider, **sections), clock or own.clock)
        await program.start()
        rig = Rig(own, program, bucket_name)
        faults = _Faults()
        logger = logging.getLogger("rangecache")
        logger.addHandler(faults)
        try:
            yield rig
        finally:
            rig.close_clients()
            await program.stop()
            logger.removeHandler(faults)
        assert not faults.told
        assert not program.port.connections
        assert not len(program.fetcher)
        assert program.fetcher.has_room(program.settings.fetch.prefetch.memory)
        assert not {place: use.bytes for place, use in rig.memory().items() if use.bytes and place not in KEPT_PLACES}


class _Faults(logging.Handler):
    """What the program itself calls a fault of its own: errors that nobody handled."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.told: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.told.append(logging.Formatter().format(record))


async def until(holds: Callable[[], object]) -> None:
    """Give way until a condition holds that other tasks make true."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, "it never came true"
        await asyncio.sleep(0.001)
