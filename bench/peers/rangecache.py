"""rangecache as it is without any configuration, but for addresses, the origin, its folder and what a case needs."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import yaml

from bench.figures import US
from bench.peers import SMALL_MEMORY_MIB, Running, Setup, Tier
from bench.programs import Program, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path


def configuration(setup: Setup, port: int, admin_port: int, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The whole of it. The rule is there because the origin says nothing of freshness and its files are new."""
    cache: dict[str, Any] = {"disk": {"path": str(setup.folder / "cache")}}
    if setup.tier == "disk":
        cache["memory"] = {"size": f"{SMALL_MEMORY_MIB}MiB"}
    settings = {
        "server": {"listen": f"127.0.0.1:{port}", "admin_listen": f"127.0.0.1:{admin_port}"},
        "cache": cache,
        "freshness": [{"match": "origin/data/**", "ttl": "1h"}],
        "providers": {"origin": {"kind": "http", "buckets": {"data": {"url": setup.origin.url}}}},
    }
    return merged(settings, changes)


def merged(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with some of them changed; sections are merged key by key."""
    found = dict(settings)
    for key, value in changes.items():
        found[key] = (
            merged(found[key], value) if isinstance(value, dict) and isinstance(found.get(key), dict) else value
        )
    return found


@dataclass(frozen=True, slots=True)
class Rangecache:
    """This project."""

    name: str = US
    needs: Sequence[str] = ()
    tiers: Sequence[Tier] = ("memory", "disk")
    is_cache: bool = True
    far_origin: bool = True
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Settings of a case that is about one."""

    def version(self) -> str:
        """Of the package."""
        return version("rangecache")

    @contextmanager
    def running(self, setup: Setup) -> Iterator[Running]:
        """The command that users run."""
        port, admin_port = free_port(), free_port()
        file = setup.folder / "rangecache.yaml"
        file.write_text(yaml.safe_dump(configuration(setup, port, admin_port, self.changes)))
        command: list[str | Path] = [sys.executable, "-m", "rangecache", "serve", "--config", file]
        with Program(self.name, command, setup.folder, cpu=setup.cpu) as program:
            program.wait_for(admin_port)
            program.wait_for(port)
            yield Running(
                f"http://127.0.0.1:{port}/origin/data/", [program], admin_url=f"http://127.0.0.1:{admin_port}/"
            )


PEER = Rangecache()
