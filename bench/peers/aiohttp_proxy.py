"""A plain caching proxy written with aiohttp (`bench/plain_proxy.py`): what rangecache's care costs or gains beside it.

uvloop where it is installed, no access log, blocks of 1 MiB, memory for all.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

from bench.origin import BUCKET
from bench.peers import Running, Setup, Tier
from bench.programs import Program, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@dataclass(frozen=True, slots=True)
class AiohttpProxy:
    """In memory only."""

    name: str = "plain aiohttp proxy"
    needs: Sequence[str] = ()
    tiers: Sequence[Tier] = ("memory",)
    is_cache: bool = True
    far_origin: bool = True

    def version(self) -> str:
        """Of aiohttp."""
        return version("aiohttp")

    @contextmanager
    def running(self, setup: Setup) -> Iterator[Running]:
        """In front of the origin."""
        port = free_port()
        command = [sys.executable, "-m", "bench.plain_proxy", f"http://{setup.origin.address}", str(port)]
        with Program(self.name, command, setup.folder, cpu=setup.cpu) as program:
            program.wait_for(port)
            yield Running(f"http://127.0.0.1:{port}/{BUCKET}/", [program])


PEER = AiohttpProxy()
