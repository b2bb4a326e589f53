"""Google's token services, as far as credentials speak to them: a token endpoint, STS and a metadata server in one."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qsl

from aiohttp import web

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

LIFE_S = 3600


@dataclass
class Asked:
    """One request that reached it."""

    path: str
    fields: dict[str, str]
    headers: dict[str, str]


@dataclass
class Google:
    """A context manager; every token that it gives out is another one: `canary-1`, `canary-2`, …"""

    tls: ssl.SSLContext | None = None
    status: int = 200
    life_s: int = LIFE_S
    asked: list[Asked] = field(default_factory=list)
    url: str = ""

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self.tls)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = f"https://localhost:{port}" if self.tls else f"http://127.0.0.1:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        fields = dict(parse_qsl(await request.text()))
        self.asked.append(Asked(request.path, fields, {name.lower(): value for name, value in request.headers.items()}))
        if request.path == "/subject":
            return web.json_response({"id_token": "canary-subject"})
        if self.status != 200:
            return web.json_response({"error": "invalid_grant", "echo": "canary"}, status=self.status)
        token = f"canary-{len(self.asked)}"
        if request.path == "/impersonate":
            return web.json_response({"accessToken": f"canary-impersonated-{len(self.asked)}"})
        return web.json_response({"access_token": token, "expires_in": self.life_s, "token_type": "Bearer"})

    # --- files that lead here -------------------------------------------------------------------------------------

    def login(self, path: Path) -> Path:
        """What `gcloud auth application-default login` writes."""
        return self._written(
            path,
            type="authorized_user",
            client_id="id",
            client_secret="canary-secret",
            refresh_token="canary-refresh",
        )

    def service_account(self, path: Path, private_key: str) -> Path:
        """A key of a service account."""
        return self._written(path, type="service_account", client_email="reader@example.org", private_key=private_key)

    def federation(self, path: Path, source: dict[str, Any], **more: Any) -> Path:
        """A workload identity federation."""
        named = {"audience": "//iam.example.org/pool", "subject_token_type": "urn:ietf:params:oauth:token-type:jwt"}
        return self._written(
            path, type="external_account", credential_source=source, token_url=f"{self.url}/sts", **named, **more
        )

    def _written(self, path: Path, **fields: Any) -> Path:
        path.write_text(json.dumps({"token_uri": f"{self.url}/token", **fields}))
        return path
