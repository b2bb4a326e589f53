"""Who is measured: rangecache and those whom its users could take in its place. One file each."""

from __future__ import annotations

import importlib
import pkgutil
import re
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from bench.origin import OriginProcess
    from bench.programs import Program

Tier = Literal["memory", "disk"]
SMALL_MEMORY_MIB: Final = 8
"""What a peer may keep of objects in memory of its own where warm bytes are to come from disk."""
LARGE_MIB: Final = 1024
"""What the others are given, in memory and on disk: more than any case needs. rangecache has its defaults."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What a peer is started for."""

    folder: Path
    """Its own, empty."""
    origin: OriginProcess
    tier: Tier = "memory"
    """Where warm bytes are to come from."""
    cpu: int | None = None
    """The one core that it may use; None: all."""


@dataclass(frozen=True, slots=True)
class Running:
    """A peer that serves."""

    url: str
    """Stands for the origin's bucket; with a final slash."""
    programs: Sequence[Program]
    admin_url: str = ""
    """Of rangecache only; with a final slash."""

    def cpu_s(self) -> float:
        """User and system time so far."""
        return sum(each.cpu_s() for each in self.programs)

    def rss_bytes(self) -> int:
        """Resident memory."""
        return sum(each.rss_bytes() for each in self.programs)

    def peak_rss_bytes(self) -> int:
        """The most that each of its processes has had."""
        return sum(each.peak_rss_bytes() for each in self.programs)


class Peer(Protocol):
    """One that can be measured. Its file says why each of its settings is as it is."""

    @property
    def name(self) -> str:
        """What tables call it."""
        ...

    @property
    def needs(self) -> Sequence[str]:
        """Programs that have to be installed."""
        ...

    @property
    def tiers(self) -> Sequence[Tier]:
        """Where it can be made to keep warm bytes."""
        ...

    @property
    def is_cache(self) -> bool:
        """False: it is shown for comparison, and is no rival."""
        ...

    @property
    def far_origin(self) -> bool:
        """Whether it reads from our origin, and so can be measured cold with one that is far away."""
        ...

    def version(self) -> str:
        """As it tells itself."""
        ...

    def running(self, setup: Setup) -> AbstractContextManager[Running]:
        """Start it and wait until it serves; leaving ends it. Raises `ProgramFailed`."""
        ...


def find_peers() -> dict[str, Peer]:
    """All that have a file here, by name."""
    modules = (importlib.import_module(f"{__name__}.{each.name}") for each in pkgutil.iter_modules(__path__))
    found: list[Peer] = [module.PEER for module in modules]
    return {peer.name: peer for peer in sorted(found, key=lambda peer: (not peer.is_cache, peer.name))}


def missing(peer: Peer) -> list[str]:
    """Those of its programs that are not installed."""
    return [program for program in peer.needs if shutil.which(program) is None]


def told_version(*command: str) -> str:
    """The first thing that looks like a version in what a program prints."""
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=20)
    found = re.search(r"\d+\.\d[\w.]*", done.stdout + done.stderr)
    return found.group() if found else "unknown"
