"""`rclone serve http` over its http backend, with the cache of its VFS.

Why each setting (rclone's "VFS File Caching" and "rclone serve http" pages):

* `--vfs-cache-mode full`: the one mode that keeps what was read, range by range, in sparse files.
* `--vfs-cache-max-size`, `--vfs-cache-max-age`: room and time for all.
* `--vfs-fast-fingerprint`, `--no-modtime`, `--no-checksum`: fewer questions to the origin, as the page says.
* `--dir-cache-time 1h`, `--attr-timeout`: the origin does not change.
* `--vfs-read-ahead 0`: what the page has as default; more would be fetched for nothing in random reads.
* `--buffer-size 16M`: the default.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.peers import LARGE_MIB, Running, Setup, Tier, told_version
from bench.programs import Program, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Rclone:
    """Its cache is in files: what is warm is in the kernel's page cache."""

    name: str = "rclone"
    needs: Sequence[str] = ("rclone",)
    tiers: Sequence[Tier] = ("memory", "disk")
    is_cache: bool = True
    far_origin: bool = True

    def version(self) -> str:
        """Of the program."""
        return told_version("rclone", "version")

    @contextmanager
    def running(self, setup: Setup) -> Iterator[Running]:
        """In front of the origin, whose folders have a page that lists them."""
        port = free_port()
        (setup.folder / "rclone.conf").touch()
        command: list[str | Path] = ["rclone", "serve", "http", ":http:", "--http-url", setup.origin.url]
        command += ["--config", setup.folder / "rclone.conf", "--addr", f"127.0.0.1:{port}", "--read-only"]
        command += ["--vfs-cache-mode", "full", "--cache-dir", setup.folder / "cache"]
        command += ["--vfs-cache-max-size", f"{LARGE_MIB}M", "--vfs-cache-max-age", "24h", "--dir-cache-time", "1h"]
        command += ["--vfs-fast-fingerprint", "--no-modtime", "--no-checksum"]
        with Program(self.name, command, setup.folder, cpu=setup.cpu) as program:
            program.wait_for(port)
            yield Running(f"http://127.0.0.1:{port}/", [program])


PEER = Rclone()
