"""Real clients through a real proxy: what they read is right, and the second time costs the origin nothing."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

import pytest

from rangecache.testing.faults import Cut, Reset, Status
from tests.clients.conftest import assert_same
from tests.clients.providers import FilePlace, Place, S3Place, WebPlace
from tests.clients.stack import origin_on_a_thread, running_proxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rangecache.testing.faults import Fault
    from rangecache.testing.origin import Origin
    from tests.clients.readers import Arrays, Reader
    from tests.emulators import SeaweedFS

# The warm pass is to be about the cache, not about how long a version is good for.
FOR_EVER: Final = {"freshness": [{"match": "**", "ttl": "immutable"}]}

PROVIDERS: Final = ("http", "file", "s3")

FAULTS: Final[dict[str, Fault]] = {
    "429": Status(429, {"Retry-After": "0"}),
    "503": Status(503),
    "reset-before-the-answer": Reset(),
    "reset-in-the-body": Reset(after_bytes=1000),
    "cut-body": Cut(1000),
}


@pytest.fixture(scope="module", params=PROVIDERS)
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Each kind of place. SeaweedFS is started only for the tests that need it."""
    with ExitStack() as stack:
        match request.param:
            case "http":
                yield WebPlace(stack.enter_context(origin_on_a_thread()))
            case "file":
                yield FilePlace(tmp_path_factory.mktemp("files"))
            case "s3":
                seaweedfs: SeaweedFS = request.getfixturevalue("seaweedfs")
                yield S3Place(seaweedfs)


@pytest.fixture(scope="module")
def proxy(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A proxy in front of the place; the address that stands for its bucket."""
    settings: dict[str, Any] = {"providers": place.settings(), **FOR_EVER}
    with running_proxy(tmp_path_factory.mktemp("proxy"), settings) as url:
        yield f"{url}{place.bucket}/"


def test_clients_read_the_same_through_the_proxy_and_the_second_time_costs_nothing(
    reader: Reader, data: Path, local: Callable[[Reader], Arrays], place: Place, proxy: str
) -> None:
    prefix = f"{reader}/"
    place.offer(data, reader.needs, prefix)
    assert_same(reader.read(proxy + prefix), local(reader))
    place.begin_warm_pass()
    assert_same(reader.read(proxy + prefix), local(reader))
    assert place.asked() == []


@pytest.fixture(scope="module", params=FAULTS.values(), ids=FAULTS)
def unlucky(request: pytest.FixtureRequest) -> Iterator[Origin]:
    """An origin where each fault befalls every object once."""
    with origin_on_a_thread() as origin:
        origin.fail(None, request.param, per_object=True)
        yield origin


@pytest.fixture(scope="module")
def patient_proxy(unlucky: Origin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A proxy in front of it with the retries that are set by default; the address that stands for the origin."""
    place = WebPlace(unlucky)
    with running_proxy(tmp_path_factory.mktemp("proxy"), {"providers": place.settings(), **FOR_EVER}) as url:
        yield f"{url}{place.bucket}/"


def test_clients_see_nothing_of_a_fault_that_befalls_each_object_once(
    reader: Reader, data: Path, local: Callable[[Reader], Arrays], unlucky: Origin, patient_proxy: str
) -> None:
    prefix = f"{reader}/"
    unlucky.serve_directory(data, prefix)
    unlucky.log.clear()
    assert_same(reader.read(patient_proxy + prefix), local(reader))
    failed = {request.key for request in unlucky.requests if not request.answered_whole or request.status in {429, 503}}
    assert failed == {request.key for request in unlucky.requests} != set()
