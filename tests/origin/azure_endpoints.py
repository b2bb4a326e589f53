"""A token service on loopback that plays the metadata service of Azure's machines, or Microsoft Entra ID."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    import ssl


class TokenService:
    """Gives `canary-token-1`, `-2` … that live for `lifetime_s`, or fails with `status`."""

    def __init__(self, context: ssl.SSLContext | None = None, lifetime_s: int = 86_400) -> None:
        self.lifetime_s = lifetime_s
        self.status = 200
        self.asked: list[dict[str, str]] = []
        """The fields of each request for a token, of its query or its form; `path` and `metadata` beside them."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        scheme = "http" if context is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                if parts.path.endswith("openid-configuration"):
                    tenant = f"{service.url}/{parts.path.split('/')[1]}"
                    names = {"authorization_endpoint": "authorize", "token_endpoint": "token", "issuer": "v2.0"}
                    self._send(200, {name: f"{tenant}/oauth2/v2.0/{path}" for name, path in names.items()})
                    return
                self._token(parts.path, parts.query)

            def do_POST(self) -> None:
                self._token(self.path, self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode())

            def _token(self, path: str, fields: str) -> None:
                asked = {name: values[0] for name, values in parse_qs(fields).items()}
                service.asked.append({**asked, "path": path, "metadata": self.headers.get("Metadata", "")})
                if service.status != 200:
                    self._send(service.status, {"error": "invalid_client", "error_description": "AADSTS700016: canary"})
                    return
                token = f"canary-token-{len(service.asked)}"
                found = {"access_token": token, "token_type": "Bearer", "expires_in": str(service.lifetime_s)}
                self._send(200, {**found, "resource": asked.get("resource", "")})

            def _send(self, status: int, body: dict[str, Any]) -> None:
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        return Handler
