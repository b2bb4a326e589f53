"""A client of the admin port."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

JSON = {"Content-Type": "application/json"}
LINES = {"Content-Type": "application/x-ndjson"}


class Admin:
    """Asks, and reads JSON."""

    def __init__(self, session: aiohttp.ClientSession, port: int) -> None:
        self.session = session
        self.base = f"http://127.0.0.1:{port}/v1/"

    async def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, Any]:
        """Status and document."""
        named = {**JSON, **{name.replace("_", "-"): value for name, value in headers.items()}}
        async with self.session.request(method, self.base + path, data=body, headers=named) as answer:
            return answer.status, json.loads(await answer.read())

    async def get(self, path: str) -> Any:
        """A document that is there."""
        status, document = await self.ask("GET", path)
        assert status == 200, document
        return document

    async def start(self, path: str, **body: Any) -> str:
        """Start a job; its id."""
        status, document = await self.ask("POST", path, json.dumps(body).encode())
        assert status == 202, document
        return document["id"]

    async def refused(self, path: str, **body: Any) -> tuple[int, str]:
        """The answer to a job that is not taken."""
        status, document = await self.ask("POST", path, json.dumps(body).encode())
        assert status >= 400, document
        return status, document["detail"]

    async def warm(self, **body: Any) -> dict[str, Any]:
        """A warm job, from its start to its end."""
        return await self.ended(await self.start("warm", **body))

    async def ended(self, job: str) -> dict[str, Any]:
        """The last word about a job, which is waited for."""
        return (await self.events(job))[-1][1]

    async def events(self, job: str) -> list[tuple[str, dict[str, Any]]]:
        """All that is told about a job until it ends."""
        found = []
        async with self.session.get(f"{self.base}jobs/{job}", headers={"Accept": "text/event-stream"}) as answer:
            assert answer.status == 200
            assert answer.headers["Content-Type"] == "text/event-stream"
            for event in (await answer.text()).split("\n\n")[:-1]:
                if not event.startswith(":"):
                    name, data = event.split("\n")
                    found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
        return found

    async def cancel(self, job: str) -> dict[str, Any]:
        """End a job; what it is then."""
        status, document = await self.ask("DELETE", f"jobs/{job}")
        assert status == 200, document
        return document


@asynccontextmanager
async def admin_of(port: int) -> AsyncIterator[Admin]:
    """A client with connections of its own."""
    async with aiohttp.ClientSession() as session:
        yield Admin(session, port)
