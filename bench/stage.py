"""What a scenario has to work with: a folder, the peers that are here, an origin for the asking."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from bench.disk_tier import make_files
from bench.origin import OriginProcess
from bench.peers import Peer, Running, Setup, Tier
from bench.programs import ProgramFailed
from rangecache.testing.objects import Stamped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from bench.figures import Goal, Measured

_PIECE_BYTES = 16 << 20


@dataclass(slots=True)
class Stage:
    """Handed to each scenario; `folder` is emptied afterwards."""

    folder: Path
    shared: Path
    """Stays for all scenarios of a run."""
    peers: Mapping[str, Peer]
    """Those that are installed."""
    quick: bool = False
    """A short version: figures for a first look."""
    wanted_rounds: int | None = None
    say: Callable[[str], None] = lambda _: None
    """Told what is done now."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Peers that could not do a case, and why."""

    def choose(self, full: int, quick: int) -> int:
        """One number or the other."""
        return quick if self.quick else full

    def rounds(self, full: int, quick: int) -> int:
        """How often the sides take turns."""
        return self.wanted_rounds or self.choose(full, quick)

    def scratch(self, prefix: str) -> Path:
        """A new folder."""
        folder = Path(tempfile.mkdtemp(prefix=f"{prefix}-", dir=self.folder))
        folder.chmod(0o755)  # some peers give up root
        return folder

    def store(self, **sizes: int) -> Path:
        """A folder with self-describing objects of these names and sizes."""
        folder = self.scratch("store")
        for name, size in sizes.items():
            content = Stamped(name, 1, size)
            with (folder / name).open("wb") as file:
                for start in range(0, size, _PIECE_BYTES):
                    file.write(content.read(start, start + _PIECE_BYTES))
        return folder

    def hollow(self, name: str, size: int) -> Path:
        """A folder with an object of nothing but zeros, which takes no space."""
        folder = self.scratch("store")
        with (folder / name).open("wb") as file:
            file.truncate(size)
        return folder

    def many_blocks(self, count: int) -> Path:
        """A cache folder with so many blocks, made once a run; they are whole in name only."""
        folder = self.shared / f"{count}-blocks"
        self.say(f"making {count:,} files")
        make_files(folder, count)
        return folder

    def origin(
        self, store: Path, *, latency_s: float = 0.0, bandwidth_bytes_per_s: float | None = None
    ) -> OriginProcess:
        """One over this folder, to be entered."""
        work = self.scratch("origin")
        return OriginProcess(store, work, latency_s=latency_s, bandwidth_bytes_per_s=bandwidth_bytes_per_s)

    def start(self, peer: Peer, origin: OriginProcess, stack: ExitStack, **wishes: object) -> Running:
        """One peer, ended by `stack`. Raises `ProgramFailed`."""
        folder = self.scratch(peer.name.replace(" ", "-").replace(",", ""))
        return stack.enter_context(peer.running(Setup(folder, origin, **wishes)))  # type: ignore[arg-type]

    @contextmanager
    def lineup(
        self,
        origin: OriginProcess,
        tier: Tier = "memory",
        *,
        cpu: int | None = None,
        far: bool = False,
        only: Sequence[str] = (),
    ) -> Iterator[dict[str, Running]]:
        """All peers that can do this, at the same time. Who does not start is left out, and named. `far`: those only
        that read from this very origin; `only`: those of these names."""
        with ExitStack() as stack:
            running = {}
            for name, peer in self.peers.items():
                if tier not in peer.tiers or (far and not peer.far_origin) or (only and name not in only):
                    continue
                self.say(f"starting {name}")
                try:
                    running[name] = self.start(peer, origin, stack, tier=tier, cpu=cpu)
                except ProgramFailed as error:
                    self.leave_out(name, str(error))
            yield running

    def leave_out(self, peer: str, reason: str) -> None:
        """Note that a peer could not do a case."""
        self.say(f"{peer} is left out: {reason}")
        self.left_out[peer] = reason


class Scenario(Protocol):
    """One row or a few of the table."""

    @property
    def title(self) -> str:
        """A line of plain words."""
        ...

    @property
    def order(self) -> int:
        """Its place in the table."""
        ...

    @property
    def goals(self) -> Sequence[Goal]:
        """What has to be reached."""
        ...

    def run(self, stage: Stage) -> list[Measured]:
        """Measure all peers that can do it."""
        ...
