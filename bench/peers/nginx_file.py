"""The floor: nginx that serves the object as a file, with nothing cached and nobody behind it. No rival."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.origin import BUCKET
from bench.peers import Running, Setup, Tier, told_version
from bench.peers.nginx import running_nginx
from bench.programs import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@dataclass(frozen=True, slots=True)
class NginxFile:
    """What direct reading from a file server on this machine would cost."""

    name: str = "nginx, a plain file"
    needs: Sequence[str] = ("nginx",)
    tiers: Sequence[Tier] = ("memory", "disk")
    is_cache: bool = False
    far_origin: bool = False

    def version(self) -> str:
        """Of the program."""
        return told_version("nginx", "-v")

    @contextmanager
    def running(self, setup: Setup) -> Iterator[Running]:
        """Over the origin's own folder."""
        port = free_port()
        server = f"server {{ listen 127.0.0.1:{port}; location /{BUCKET}/ {{ alias {setup.origin.store}/; }} }}"
        with running_nginx(self.name, setup, port, server) as running:
            yield running


PEER = NginxFile()
