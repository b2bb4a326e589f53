"""`rangecache serve` as a process of its own, which can be killed."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import yaml

from rangecache.testing.children import clean_environment
from tests.edge.client import Answer, CutShort, fetch
from tests.edge.rig import BLOCK, until

if TYPE_CHECKING:
    from rangecache.testing.origin import Origin

_SERVE: Final = "from rangecache.cli import main; raise SystemExit(main())"
_DATA_PORT: Final = re.compile(r"http://127\.0\.0\.1:(\d+)/<provider>")
_ADMIN_PORT: Final = re.compile(r"http://127\.0\.0\.1:(\d+)/v1/stats")


class Proxy:
    """A proxy in front of the folder `b` of an origin. Leaving the context kills it if it still runs."""

    def __init__(self, folder: Path, origin: Origin, **sections: Any) -> None:
        """Configuration, cache and log lie in `folder`; `sections` overrule the configuration, key by key."""
        self.folder = folder
        self.origin = origin
        self.cache = folder / "cache"
        self._log = folder / f"proxy-{id(self):x}.log"
        self._config = folder / f"proxy-{id(self):x}.yaml"
        disk = {"path": str(self.cache), "size": "1GiB", "min_free": "1MiB"}
        tree: dict[str, Any] = {
            "server": {"listen": "127.0.0.1:0", "admin_listen": "127.0.0.1:0"},
            "cache": {"block_size": BLOCK, "memory": {"size": "64MiB"}, "disk": disk},
            "freshness": [{"match": "**", "ttl": "1h"}],
            "defaults": {"stale_while_revalidate": "0s", "stale_if_error": "0s", "negative_ttl": "0s"},
            "providers": {"web": {"kind": "http", "buckets": {"b": {"url": f"{origin.url}b/"}}}},
            "telemetry": {"access_log": "off"},
        }
        for name, section in sections.items():
            tree[name] = {**tree.get(name, {}), **section} if isinstance(section, dict) else section
        self._config.write_text(yaml.safe_dump(tree))
        self._process: asyncio.subprocess.Process | None = None
        self.port = 0
        self.admin_port = 0

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process is not None:
            await self.kill()

    async def start(self) -> None:
        """Start it, and wait until it serves."""
        self._log.write_bytes(b"")
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", _SERVE, "serve", "--config", str(self._config)),
                stdout=log,
                stderr=log,
                env=clean_environment(os.environ),
            )
        process = self._process
        await until(lambda: _ADMIN_PORT.search(self._log.read_text()) or process.returncode is not None)
        text = self._log.read_text()
        data, admin = _DATA_PORT.search(text), _ADMIN_PORT.search(text)
        assert data is not None, text
        assert admin is not None, text
        self.port, self.admin_port = int(data[1]), int(admin[1])

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    def rss_bytes(self) -> int:
        """Its resident memory now (proc(5), statm)."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def log(self) -> str:
        """What it has written since it was started."""
        return self._log.read_text()

    def open_files(self) -> int:
        """How many descriptors it has open, without those of blocks, which are bounded in a way of their own."""
        count = 0
        for entry in Path(f"/proc/{self.pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed since it was listed
                count += "/blocks-" not in str(entry.readlink())
        return count

    async def ended(self) -> int:
        """Wait for its end; its exit status, negative for the signal that killed it."""
        assert self._process is not None
        status = await self._process.wait()
        self._process = None
        return status

    async def kill(self) -> None:
        """kill -9."""
        self.signal(signal.SIGKILL)
        assert await self.ended() == -signal.SIGKILL

    async def stop(self) -> None:
        """As an orchestrator does it. It must end by itself, without complaint."""
        self.signal(signal.SIGTERM)
        status = await self.ended()
        assert status == 0, self._log.read_text()

    async def get(self, key: str, *fields: str, method: str = "GET") -> Answer:
        """One request on a connection of its own."""
        return await fetch(self.port, f"/web/b/{key}", *fields, method=method)

    async def stats(self) -> dict[str, Any]:
        """What the admin port shows."""
        return await self.admin("stats")

    async def admin(self, path: str) -> dict[str, Any]:
        """A document of the admin port."""
        found: dict[str, Any] = json.loads((await fetch(self.admin_port, f"/v1/{path}")).body)
        return found

    async def metric(self, name: str) -> float:
        """The value of one series of the metrics; 0 if it is not there."""
        text = (await fetch(self.admin_port, "/metrics")).body.decode()
        found = re.search(rf"^{re.escape(name)} ([0-9.e+-]+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    async def ready(self) -> bool | None:
        """What `/readyz` says; None if nobody answers any more."""
        try:
            return (await fetch(self.admin_port, "/readyz")).status == 200
        except (OSError, CutShort):
            return None

    def block_files(self) -> list[Path]:
        """The files of blocks, complete ones only."""
        return sorted(path for path in self.cache.glob("blocks-*/*/*") if not path.name.startswith("tmp-"))
