"""What AWS's SDK asks for keys, on loopback: STS, an instance's and a container's metadata. Each request is noted.

moto answers STS too, but neither looks at the token of a web identity nor can be told to refuse.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qsl

if TYPE_CHECKING:
    import ssl

_ROLES = "/latest/meta-data/iam/security-credentials/"


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    headers: dict[str, str]
    """Names in lower case."""
    form: dict[str, str]


@dataclass
class AwsEndpoints:
    """A context manager; serves on threads of its own. Every set of keys that it gives has a number of its own."""

    lives_s: float = 3600
    context: ssl.SSLContext | None = None
    asked: list[Asked] = field(default_factory=list)
    refuse: dict[str, tuple[int, str]] = field(default_factory=dict)
    """By STS action or path: the status and code to answer with."""
    given: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> Self:
        endpoints = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                endpoints._answer(self)

            do_POST = do_PUT = do_GET

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if self.context is not None:
            self._server.socket = self.context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"{'http' if self.context is None else 'https'}://127.0.0.1:{self.port}"

    def actions(self) -> list[str]:
        """What STS was asked to do, or which path was asked for."""
        return [each.form.get("Action", each.path) for each in self.asked]

    def _keys(self) -> dict[str, str]:
        with self._lock:
            self.given += 1
            number = self.given
        until = datetime.now(UTC) + timedelta(seconds=self.lives_s)
        return {
            "AccessKeyId": f"ASIA{number}",
            "SecretAccessKey": f"canary-secret-{number}",
            "SessionToken": f"canary-token-{number}",
            "Expiration": until.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in request.headers.items()}
        form = dict(parse_qsl(body.decode()))
        self.asked.append(Asked(request.command, request.path, headers, form))
        what = form.get("Action", f"{request.command} {request.path}")
        if what in self.refuse:
            status, code = self.refuse[what]
            text = f"<ErrorResponse><Error><Code>{code}</Code><Message>canary</Message></Error></ErrorResponse>"
        else:
            status, text = 200, self._content(request.command, request.path, form)
        request.send_response(status)
        request.send_header("Content-Length", str(len(text)))
        request.end_headers()
        request.wfile.write(text.encode())

    def _content(self, method: str, path: str, form: dict[str, str]) -> str:
        if action := form.get("Action"):
            inside = "".join(f"<{name}>{value}</{name}>" for name, value in self._keys().items())
            role = f"<AssumedRoleUser><Arn>{form['RoleArn']}/x</Arn></AssumedRoleUser>"
            return (
                f'<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{action}Result>'
                f"<Credentials>{inside}</Credentials>{role}</{action}Result></{action}Response>"
            )
        if path == "/latest/api/token":
            return "canary-imds-token"
        if path == _ROLES:
            return "reader"
        keys: dict[str, Any] = self._keys()
        keys["Token"] = keys.pop("SessionToken")
        return json.dumps(keys | {"Code": "Success", "Type": "AWS-HMAC"})
