"""The three kinds of places that the proxy reads from, with a way to tell what was really asked of each."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any, Protocol

from tests.clients.data import names_below
from tests.emulators import PRIVATE

if TYPE_CHECKING:
    from pathlib import Path

    from rangecache.testing.origin import Origin
    from tests.emulators import SeaweedFS


class Place(Protocol):
    """Somewhere that files can be put for the proxy to read."""

    bucket: str
    """`provider/bucket` in the proxy's addresses."""

    def settings(self) -> dict[str, Any]:
        """The provider's section of the configuration."""
        ...

    def offer(self, data: Path, needs: str, prefix: str) -> None:
        """Put the file or folder `needs` of `data` there, under `prefix`."""
        ...

    def begin_warm_pass(self) -> None:
        """From here on nothing may be asked any more."""
        ...

    def asked(self) -> list[str]:
        """What was asked since then."""
        ...


class WebPlace:
    """The test origin; its own log tells what was asked."""

    bucket = "web/data"

    def __init__(self, origin: Origin) -> None:
        self._origin = origin

    def settings(self) -> dict[str, Any]:
        """A bucket that is the whole origin."""
        return {"web": {"kind": "http", "buckets": {"data": self._origin.url}}}

    def offer(self, data: Path, needs: str, prefix: str) -> None:
        """Everything under another prefix."""
        self._origin.serve_directory(data, prefix)

    def begin_warm_pass(self) -> None:
        """Clear the log."""
        self._origin.log.clear()

    def asked(self) -> list[str]:
        """The log."""
        return [str(request) for request in self._origin.requests]


class S3Place:
    """SeaweedFS; a pass-through in front of it notes what was asked."""

    bucket = "sea/data"

    def __init__(self, server: SeaweedFS) -> None:
        self._server = server

    def settings(self) -> dict[str, Any]:
        """Static keys, an alias for the bucket, and the pass-through for an endpoint."""
        keys = {"access_key_id": self._server.access_key, "secret_access_key": self._server.secret_key}
        buckets = {"data": {"bucket": PRIVATE}}
        address = {"endpoint": self._server.tap.endpoint, "region": "us-east-1"}
        return {"sea": {"kind": "s3", **address, "credentials": keys, "buckets": buckets}}

    def offer(self, data: Path, needs: str, prefix: str) -> None:
        """Upload it."""
        for name in files_of(data, needs):
            self._server.put(PRIVATE, prefix + name, (data / name).read_bytes())

    def begin_warm_pass(self) -> None:
        """Forget what was noted."""
        self._server.tap.clear()

    def asked(self) -> list[str]:
        """What was noted."""
        return [f"{request.method} {request.target}" for request in self._server.tap.requests]


class FilePlace:
    """A folder. A file that is read leaves no trace, so all of them are gone in the warm pass."""

    bucket = "files/data"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def settings(self) -> dict[str, Any]:
        """A bucket that is the folder."""
        return {"files": {"kind": "file", "buckets": {"data": str(self._folder)}}}

    def offer(self, data: Path, needs: str, prefix: str) -> None:
        """Link it, which copies nothing."""
        for name in files_of(data, needs):
            link = self._folder / prefix / name
            link.parent.mkdir(parents=True, exist_ok=True)
            os.link(data / name, link)

    def begin_warm_pass(self) -> None:
        """Take every file away."""
        for each in self._folder.iterdir():
            shutil.rmtree(each)

    def asked(self) -> list[str]:
        """Whatever has come back: nothing."""
        return list(names_below(self._folder))


def files_of(data: Path, needs: str) -> list[str]:
    """The relative names of the file `needs`, or of all files below it."""
    below = data / needs
    return [needs] if below.is_file() else [f"{needs}/{name}" for name in names_below(below)]
