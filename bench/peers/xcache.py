"""XCache: XRootD as a caching proxy, read over its HTTP protocol.

It reads from XRootD, not from HTTP servers (the plugin that does is in no distribution), so it has an origin of its own
over the same folder, without any latency, and takes part in the warm cases only.

Why each setting (the "XRootD Proxy Storage Services" reference, section "Disk Caching Proxy"):

* `pfc.blocksize 1m`: the unit of caching, its default, and that of the other slicing peers.
* `pfc.ram 1g`: the default, for blocks on their way to disk. What is warm is in the page cache.
* `pfc.prefetch 0`: nothing is read ahead; in random reads that would be for nothing.
* `pfc.diskusage`, `pfc.spaces`: left at their defaults, as nothing has to be evicted.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bench.origin import BUCKET
from bench.peers import Running, Setup, Tier, told_version
from bench.programs import NOBODY, Program, free_port, give_to_nobody

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_BOTH: Final = """\
all.export /
all.adminpath {folder}/admin
all.pidpath {folder}/run
xrd.port {port}
xrd.protocol http:{http_port} libXrdHttp.so
oss.localroot {folder}/{root}
"""
_CACHE: Final = """\
ofs.osslib libXrdPss.so
pss.cachelib libXrdFileCache.so
pss.origin 127.0.0.1:{origin_port}
pfc.blocksize 1m
pfc.ram 1g
pfc.prefetch 0
"""


@dataclass(frozen=True, slots=True)
class XCache:
    """Its cache is in files: what is warm is in the kernel's page cache."""

    name: str = "XCache"
    needs: Sequence[str] = ("xrootd",)
    tiers: Sequence[Tier] = ("memory", "disk")
    is_cache: bool = True
    far_origin: bool = False

    def version(self) -> str:
        """Of the program."""
        return told_version("xrootd", "-v")

    @contextmanager
    def running(self, setup: Setup) -> Iterator[Running]:
        """Two servers; only the caching one is measured."""
        with ExitStack() as stack:
            origin, cache = setup.folder / "origin", setup.folder / "cache"
            (origin / "root").mkdir(parents=True)
            (origin / "root" / BUCKET).symlink_to(setup.origin.store)
            origin_port, port = free_port(), free_port()
            _start(stack, "xrootd-origin", origin, "", origin_port, free_port(), None)
            more = _CACHE.format(origin_port=origin_port)
            program = _start(stack, self.name, cache, more, free_port(), port, setup.cpu)
            yield Running(f"http://127.0.0.1:{port}/{BUCKET}/", [program])


def _start(stack: ExitStack, name: str, folder: Path, more: str, port: int, http_port: int, cpu: int | None) -> Program:
    for each in ("admin", "run", "root"):
        (folder / each).mkdir(parents=True, exist_ok=True)
    file = folder / "xrootd.cfg"
    file.write_text(_BOTH.format(folder=folder, root="root", port=port, http_port=http_port) + more)
    command: list[str | Path] = ["xrootd", "-c", file]
    if os.geteuid() == 0:
        command += ["-R", NOBODY]  # it refuses to be root
        for place in (folder, *folder.iterdir()):
            give_to_nobody(place)
    program = stack.enter_context(Program(name, command, folder, cpu=cpu))
    program.wait_for(http_port)
    return program


PEER = XCache()
