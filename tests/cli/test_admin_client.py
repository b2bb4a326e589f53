from __future__ import annotations

import json
import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from rangecache.cli.admin_client import AdminClient, AdminError, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Handler(BaseHTTPRequestHandler):
    """Says what it was asked, or what its path says."""

    asked: list[tuple[str, str, str | None, bytes]]

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append((self.command, self.path, self.headers.get("Content-Type"), body))  # type: ignore[attr-defined]
        if "problem" in self.path:
            status, text = 503, json.dumps({"title": "Not now", "detail": "Wait.", "status": 503, "more": 7})
        elif "page" in self.path:
            status, text = 200, "<html>another server</html>"
        elif "bare" in self.path:
            status, text = 502, "bad gateway"
        else:
            status, text = 200, json.dumps({"a": 1})
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    do_GET = do_POST = do_DELETE = _answer

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def instance() -> Iterator[tuple[AdminClient, list[tuple[str, str, str | None, bytes]]]]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.asked = []  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield AdminClient(f"http://127.0.0.1:{server.server_port}"), server.asked  # type: ignore[attr-defined]
        finally:
            server.shutdown()


def test_requests_are_what_the_admin_port_asks_for() -> None:
    with instance() as (client, asked):
        assert client.get("objects", {"prefix": "s3/a b&c/ä", "limit": 2}).document == {"a": 1}
        client.get(f"objects/{quoted('s3/b/k ä?#%')}")
        client.post("purge", {"prefix": "x"})
        client.delete("jobs/1")
    assert asked == [
        ("GET", "/v1/objects?prefix=s3%2Fa%20b%26c%2F%C3%A4&limit=2", None, b""),
        ("GET", "/v1/objects/s3/b/k%20%C3%A4%3F%23%25", None, b""),
        ("POST", "/v1/purge", "application/json", b'{"prefix": "x"}'),
        ("DELETE", "/v1/jobs/1", "application/json", b""),
    ]


def test_a_problem_is_an_error_with_its_sentence_and_its_document() -> None:
    with instance() as (client, _), pytest.raises(AdminError, match=r"^Not now: Wait\.$") as caught:
        client.get("problem")
    assert (caught.value.status, caught.value.document["more"]) == (503, 7)


@pytest.mark.parametrize(("path", "says"), [("page", "is not rangecache's admin port"), ("bare", "answered 502")])
def test_another_server_is_told_from_an_instance(path: str, says: str) -> None:
    with instance() as (client, _), pytest.raises(AdminError, match=says):
        client.get(path)


def test_nobody_there_is_said_with_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(AdminError, match=rf"no rangecache at 127\.0\.0\.1:{port}; is it running\? Start it with"):
        AdminClient(f"127.0.0.1:{port}").get("stats")


def test_a_socket_file_that_is_not_there_is_nobody_too(tmp_path: Path) -> None:
    with pytest.raises(AdminError, match="no rangecache at unix:"):
        AdminClient(f"unix:{tmp_path}/none.sock").get("stats")


def test_a_connection_that_ends_early_is_no_traceback() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
            connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(AdminError, match="ended early"):
            AdminClient(f"127.0.0.1:{listener.getsockname()[1]}").get("stats")
        thread.join()


@pytest.mark.parametrize(
    ("where", "address"),
    [
        ("http://127.0.0.1:8081/", "127.0.0.1:8081"),
        ("http://[::1]:9", "[::1]:9"),
        ("http://cache.example", "cache.example:80"),
        ("localhost:1", "localhost:1"),
        ("0.0.0.0:8081", "127.0.0.1:8081"),  # where it listens is not where it is found
        ("unix:/run/rc.sock", "unix:/run/rc.sock"),
    ],
)
def test_an_instance_is_named_as_its_setting_or_as_a_url(where: str, address: str) -> None:
    assert str(AdminClient(where).address) == address


@pytest.mark.parametrize(
    "where", ["https://a:1", "http://a:1/v1", "http://a:1?q", "http://u@a:1", "8081", "", "http://a:x"]
)
def test_what_names_no_instance_is_refused(where: str) -> None:
    with pytest.raises(ValueError, match=r"expected|http|Port|port"):
        AdminClient(where)
