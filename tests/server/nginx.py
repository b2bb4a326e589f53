"""Plain requests, and a real nginx that answers them from a static file.

Run as a program (`python -m tests.server.nginx`) it records nginx's answers into `nginx_corpus.json` beside this file.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.server.conftest import MODIFIED, pattern

if TYPE_CHECKING:
    from collections.abc import Iterator

CORPUS: Final = Path(__file__).with_name("nginx_corpus.json")
SIZE: Final = 1000
MTIME: Final = int(MODIFIED.timestamp())
ETAGS: Final = {"k": f"{MTIME:x}-{SIZE:x}", "empty": f"{MTIME:x}-0"}
ETAG: Final = f'"{ETAGS["k"]}"'
DATE: Final = "Fri, 20 Nov 2026 23:05:00 GMT"
EARLIER: Final = "Fri, 20 Nov 2026 23:04:59 GMT"
LATER: Final = "Fri, 20 Nov 2026 23:05:01 GMT"

_RANGES: Final = [
    "0-9", "0-0", "999-999", "990-", "0-", "-10", "-1000", "-1001", "-99999", "0-18446744073709551615", "0-999",
    "0-1000", "500-499", "999-", "1000-", "1000-1001", "-0", "-", "", "a-b", "0-9,", ",0-9", "0-9,20-29", "0-0,-1",
    "990-999,0-9", "0-9, 20-29", "0-9,2000-", "2000-,3000-", "0-99,0-99", "0-999,0-0", "0-,0-", "+0-9", "0x0-0x9",
    "1 0-20", "0-9;1",
]  # fmt: skip
_FIELDS: Final = [
    [], ["Range: items=0-9"], ["Range: bytes 0-9"], ["Range: BYTES=0-9"], ["Request-Range: bytes=0-9"],
    [f"If-None-Match: {ETAG}"], ['If-None-Match: "x"'], ["If-None-Match: *"], [f'If-None-Match: "x", {ETAG}'],
    [f"If-None-Match: W/{ETAG}"], [f"If-Match: {ETAG}"], ['If-Match: "x"'], ["If-Match: *"], [f"If-Match: W/{ETAG}"],
    [f"If-Modified-Since: {DATE}"], [f"If-Modified-Since: {EARLIER}"], [f"If-Modified-Since: {LATER}"],
    ["If-Modified-Since: never"], [f"If-Unmodified-Since: {DATE}"], [f"If-Unmodified-Since: {EARLIER}"],
    [f"If-Range: {ETAG}", "Range: bytes=0-9"], ['If-Range: "x"', "Range: bytes=0-9"],
    [f"If-Range: {DATE}", "Range: bytes=0-9"], [f"If-Range: {EARLIER}", "Range: bytes=0-9"],
    [f"If-Range: {LATER}", "Range: bytes=0-9"], [f"If-Range: W/{ETAG}", "Range: bytes=0-9"], [f"If-Range: {ETAG}"],
    [f"If-None-Match: {ETAG}", "Range: bytes=0-9"], ['If-Match: "x"', "Range: bytes=0-9"],
    [f"If-None-Match: {ETAG}", f"If-Modified-Since: {EARLIER}"], ["Range: bytes=0-9", "Range: bytes=1-2"],
]  # fmt: skip

REQUESTS: Final = [
    *(("GET", "k", [f"Range: bytes={value}"]) for value in _RANGES),
    *(("GET", "k", fields) for fields in _FIELDS),
    ("HEAD", "k", []),
    ("HEAD", "k", ["Range: bytes=0-9"]),
    ("HEAD", "k", [f"If-None-Match: {ETAG}"]),
    ("GET", "empty", []),
    ("HEAD", "empty", []),
    ("GET", "empty", ["Range: bytes=0-"]),
    ("GET", "empty", ["Range: bytes=0-0"]),
    ("GET", "empty", ["Range: bytes=-5"]),
    ("GET", "absent", []),
    ("HEAD", "absent", []),
    ("GET", "absent", ["Range: bytes=0-9"]),
]
"""Method, key, further header lines."""

_TEMPORARY: Final = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
Summary = dict[str, object]


def name_of(request: tuple[str, str, list[str]]) -> str:
    """A request as the corpus names it."""
    method, key, fields = request
    return " | ".join([f"{method} {key}", *fields])


def summary(status: int, headers: dict[str, str], body: bytes) -> Summary:
    """What is compared of an answer: names of header fields in lower case."""
    known = {"status": status}
    if status in {200, 206, 304}:
        known |= {name: headers.get(name) for name in ("etag", "last-modified", "content-range")}
    if status == 200:  # nginx leaves it away in a 206, where it says nothing new
        known["accept-ranges"] = headers.get("accept-ranges")
    if status == 416:
        known["content-range"] = headers.get("content-range")
    kind = headers.get("content-type", "")
    if kind.startswith("multipart/"):
        boundary = kind.partition("boundary=")[2]
        # What separates the parts is each server's own, so it is taken out before the body is compared.
        parts = [part.strip(b"\r\n") for part in body.split(b"--" + boundary.encode())]
        known["parts"] = [hashlib.sha256(part).hexdigest()[:16] for part in parts]
    elif status in {200, 206}:
        known |= {"content-type": kind, "content-length": headers.get("content-length"), "first": body[:8].hex()}
        known["digest"] = hashlib.sha256(body).hexdigest()[:16]
    return known


def ask(address: tuple[str, int], request: tuple[str, str, list[str]]) -> Summary:
    """Send one request and summarise its answer."""
    method, key, fields = request
    lines = [f"{method} /s3/b/{key} HTTP/1.1", "Host: localhost", "Connection: close", *fields, "", ""]
    with socket.create_connection(address, timeout=10) as connected:
        connected.sendall("\r\n".join(lines).encode())
        received = b"".join(iter(lambda: connected.recv(65536), b""))
    head, _, body = received.partition(b"\r\n\r\n")
    first, *rest = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in rest)}
    return summary(int(first.split(" ")[1]), headers, body)


@contextlib.contextmanager
def running_nginx() -> Iterator[tuple[str, int]]:
    """nginx with the two files, on a free loopback port."""
    binary = shutil.which("nginx") or "/usr/sbin/nginx"
    with tempfile.TemporaryDirectory(prefix="rangecache-nginx-") as folder, socket.socket() as free:
        root = Path(folder)
        root.chmod(0o755)
        objects = root / "html" / "s3" / "b"
        objects.mkdir(parents=True)
        for name, size in (("k", SIZE), ("empty", 0)):
            (objects / name).write_bytes(pattern(size))
            os.utime(objects / name, (MTIME, MTIME))
        free.bind(("127.0.0.1", 0))
        address = free.getsockname()
        free.close()
        (root / "nginx.conf").write_text(
            f"daemon off; master_process off; pid {root}/pid; error_log stderr crit;\n"
            f"events {{}}\nhttp {{ access_log off; default_type text/plain; types {{}}\n"
            + "".join(
                f"{kind}_temp_path {root}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
            )
            + f"server {{ listen 127.0.0.1:{address[1]}; root {root}/html; }} }}\n"
        )
        process = subprocess.Popen([binary, "-p", folder, "-c", str(root / "nginx.conf")], stderr=subprocess.DEVNULL)
        try:
            for _ in range(1000):
                with contextlib.suppress(OSError), socket.create_connection(address, timeout=0.02):
                    break
            yield address
        finally:
            process.terminate()
            process.wait(10)


def main() -> None:
    """Record."""
    with running_nginx() as address:
        answers = {name_of(request): ask(address, request) for request in REQUESTS}
    CORPUS.write_text(json.dumps(answers, indent=1) + "\n")
    sys.stdout.write(f"{len(answers)} answers recorded\n")


if __name__ == "__main__":
    main()
