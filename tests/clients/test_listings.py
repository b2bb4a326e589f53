"""Clients that list directories through the proxy: GDAL whenever it opens a file, fsspec and rclone when asked to."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final

import fsspec
import pytest

from rangecache.testing.samples import SCENE
from tests.clients.providers import S3Place
from tests.clients.stack import running_proxy
from tests.emulators import PRIVATE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.emulators import SeaweedFS

pytestmark = pytest.mark.emulator

# So that no lifetime ends between two opens: processes take their time to start on a busy machine.
FOR_LONG: Final = {
    "freshness": [{"match": "**", "ttl": "immutable"}],
    "defaults": {"negative_ttl": "1h", "listing_ttl": "1h"},
}
ODD: Final = ("a b", "x+y", "k=v,w", "p%q", "é", "a&b", "q'q", 'd"q', "<b>", "#", "q?m", "http:x", "x-May-2010 1 2 3")

# A process of its own, as GDAL remembers directories for as long as it lives.
_OPEN: Final = """
import sys, rasterio
with rasterio.open("/vsicurl/" + sys.argv[1]) as scene:
    print(scene.width, scene.height, scene.files)
"""


def open_by_gdal(url: str) -> str:
    """Open a file with all defaults of GDAL, directory probing included."""
    done = subprocess.run([sys.executable, "-c", _OPEN, url], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def place(seaweedfs: SeaweedFS) -> S3Place:
    return S3Place(seaweedfs)


@pytest.fixture(scope="module")
def proxy(place: S3Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A proxy in front of SeaweedFS; the address that stands for its bucket."""
    settings: dict[str, Any] = {"providers": place.settings(), **FOR_LONG}
    with running_proxy(tmp_path_factory.mktemp("proxy"), settings) as url:
        yield f"{url}{place.bucket}/"


def test_gdal_opens_a_file_with_its_directory_for_three_requests_and_again_for_none(
    place: S3Place, proxy: str, data: Path
) -> None:
    place.offer(data, SCENE, "probed/")
    place.begin_warm_pass()
    opened = open_by_gdal(f"{proxy}probed/{SCENE}")
    asked = place.asked()
    assert len(asked) <= 3, asked
    assert sum("list-type=2" in each for each in asked) == 1
    assert sum(SCENE in each for each in asked) == len(asked) - 1
    place.begin_warm_pass()
    assert open_by_gdal(f"{proxy}probed/{SCENE}") == opened
    assert place.asked() == []


def test_gdal_finds_in_a_listing_what_lies_beside_a_file(place: S3Place, proxy: str, data: Path, seaweedfs) -> None:
    place.offer(data, SCENE, "beside+plus/")
    seaweedfs.put(PRIVATE, f"beside+plus/{SCENE}.aux.xml", b"<PAMDataset></PAMDataset>")
    assert f"{SCENE}.aux.xml" in open_by_gdal(f"{proxy}beside+plus/{SCENE}")


def test_fsspec_lists_every_name_and_can_read_what_it_has_listed(proxy: str, seaweedfs: SeaweedFS) -> None:
    for size, name in enumerate(ODD):
        seaweedfs.put(PRIVATE, f"odd/{name}", b"x" * size)
    seaweedfs.put(PRIVATE, "odd/deep/er", b"x")
    files = fsspec.filesystem("http", skip_instance_cache=True)
    found = files.ls(f"{proxy}odd/", detail=False)
    assert [each for each in found if each.endswith("/")] == [f"{proxy}odd/deep/"]
    assert sorted(files.info(each)["size"] for each in found if not each.endswith("/")) == list(range(len(ODD)))
    assert files.ls(f"{proxy}odd/deep/", detail=False) == [f"{proxy}odd/deep/er"]
    assert f"{proxy}odd/" in files.ls(proxy, detail=False)
    top = proxy.removesuffix("sea/data/")
    assert files.ls(top, detail=False) == [f"{top}sea/"]
    assert f"{top}sea/{PRIVATE}/" in files.ls(f"{top}sea/", detail=False)


@pytest.mark.skipif(shutil.which("rclone") is None, reason="there is no rclone on this machine")
def test_rclone_lists_every_name_with_its_size(proxy: str, seaweedfs: SeaweedFS, tmp_path: Path) -> None:
    names = [name for name in ODD if ":" not in name]  # rclone asks for ./http:x, which is another key here
    for size, name in enumerate(names):
        seaweedfs.put(PRIVATE, f"cloned/{name}", b"x" * size)
    seaweedfs.put(PRIVATE, "cloned/deep/er", b"x")
    command = ["rclone", "--config", str(tmp_path / "none"), "lsjson", "-R", "--files-only", ":http:cloned"]
    done = subprocess.run([*command, "--http-url", proxy], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    found = {each["Path"]: each["Size"] for each in json.loads(done.stdout)}
    assert found == {**{name: size for size, name in enumerate(names)}, "deep/er": 1}
