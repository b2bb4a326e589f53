"""Real clients read through a failover set of four kinds of origins, each of which dies and comes back meanwhile."""

from __future__ import annotations

import random
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest

from tests.clients.providers import S3Place, WebPlace, files_of
from tests.clients.readers import READERS
from tests.clients.stack import origin_on_a_thread, running_proxy
from tests.emulators import PRIVATE
from tests.tap import Tap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.azurite_server import Azurite
    from tests.clients.readers import Arrays, Reader
    from tests.emulators import FakeGcs, SeaweedFS
    from tests.proving import Proof

CLIENTS: Final = tuple(each for each in READERS if each.name in ("gdal", "zarr-fsspec"))
PATIENCE_S: Final = 90.0


class Replicas:
    """The same files at four origins, each behind something that can be made to die."""

    def __init__(self, seaweedfs: SeaweedFS, fake_gcs: FakeGcs, azurite: Azurite, web: Tap, place: WebPlace) -> None:
        self.taps = {"sea": seaweedfs.tap, "gs": fake_gcs.tap, "az": azurite.tap, "web": web}
        self._seaweedfs, self._fake_gcs, self._azurite = seaweedfs, fake_gcs, azurite
        self._place = place

    def offer(self, data: Path, needs: str, prefix: str) -> None:
        """Write it everywhere."""
        self._place.offer(data, needs, prefix)
        for name in files_of(data, needs):
            content = (data / name).read_bytes()
            self._seaweedfs.put(PRIVATE, prefix + name, content)
            self._fake_gcs.put(PRIVATE, prefix + name, content)
            self._azurite.put(PRIVATE, prefix + name, content)

    def settings(self, identity: str) -> dict[str, Any]:
        """The set is `all/data`."""
        providers = S3Place(self._seaweedfs).settings()
        providers["gs"] = {"kind": "gcs", "endpoint": self._fake_gcs.tap.endpoint, "credentials": {"anonymous": True}}
        keys = {"account": self._azurite.account, "account_key": self._azurite.key}
        providers["az"] = {"kind": "azure", "endpoint": self._azurite.tapped, "credentials": keys}
        providers["web"] = {"kind": "http", "buckets": {"data": f"{self.taps['web'].endpoint}/"}}
        places = [{"provider": name, "buckets": {"data": PRIVATE}} for name in ("gs", "az")]
        providers["all"] = {"kind": "failover", "replicas": ["sea", *places, "web"], "identity": identity}
        return {"providers": providers, "freshness": [{"match": "**", "ttl": "1s"}]}


@pytest.fixture(scope="module")
def replicas(seaweedfs: SeaweedFS, fake_gcs: FakeGcs, azurite: Azurite) -> Iterator[Replicas]:
    with origin_on_a_thread() as origin, ExitStack() as stack:
        port = int(origin.url.rstrip("/").rpartition(":")[2])
        tap = stack.enter_context(Tap("127.0.0.1", port))
        yield Replicas(seaweedfs, fake_gcs, azurite, tap, WebPlace(origin))


@pytest.mark.parametrize("client", [CLIENTS[0], pytest.param(CLIENTS[1], marks=pytest.mark.prove)], ids=str)
def test_a_client_notices_nothing_of_origins_that_die_one_after_the_other(
    client: Reader, data: Path, local: Callable[[Reader], Arrays], replicas: Replicas, tmp_path: Path
) -> None:
    """From the first to the last: each pass has another one's bytes, through a proxy that has seen nothing yet."""
    replicas.offer(data, client.needs, "die/")
    died = []
    try:
        for name, tap in replicas.taps.items():
            with running_proxy(folder(tmp_path, name), replicas.settings("checksum")) as url:
                assert agrees(client.read(f"{url}all/data/die/"), local(client)), f"{name} has not died yet"
            assert tap.requests, f"{name} was not asked"
            tap.go_down()
            died.append(tap)
    finally:
        for tap in died:
            tap.come_back()


def folder(parent: Path, name: str) -> Path:
    (parent / name).mkdir()
    return parent / name


def agrees(found: Arrays, right: Arrays) -> bool:
    return len(found) == len(right) and all(map(np.array_equal, found, right))


@pytest.mark.prove
@pytest.mark.parametrize("identity", ["checksum", "none"])
def test_clients_read_nothing_wrong_while_origins_die_and_come_back(
    identity: str, data: Path, local: Callable[[Reader], Arrays], replicas: Replicas, tmp_path: Path, proof: Proof
) -> None:
    right, refused, deaths = under_load(identity, 60.0, data, local, replicas, tmp_path)
    proof.row(
        f"GDAL and Zarr read S3, Google, Azure and HTTP as one set while each dies (identity: {identity})",
        f"{right} passes right, {refused} ended with an error, {deaths} deaths, 0 wrong pixels",
    )


def test_clients_read_nothing_wrong_while_origins_die_and_come_back_for_seconds(
    data: Path, local: Callable[[Reader], Arrays], replicas: Replicas, tmp_path: Path
) -> None:
    right, _, deaths = under_load("checksum", PATIENCE_S, data, local, replicas, tmp_path, enough=2)
    assert right >= 2
    assert deaths >= 2


def under_load(
    identity: str,
    seconds: float,
    data: Path,
    local: Callable[[Reader], Arrays],
    replicas: Replicas,
    tmp_path: Path,
    enough: int = 1_000_000,
) -> tuple[int, int, int]:
    """Passes that were right, passes that ended with an error, and deaths; it ends early with `enough` of the first
    and the last. Fails at the first wrong number."""
    seeded = random.Random(identity)
    end_at = time.monotonic() + seconds
    counts = {"right": 0, "refused": 0, "deaths": 0}
    wrong: list[str] = []
    for client in CLIENTS:
        replicas.offer(data, client.needs, f"load-{identity}/")
        local(client)

    def goes_on() -> bool:
        return time.monotonic() < end_at and not wrong and min(counts["right"], counts["deaths"]) < enough

    def read(url: str, client: Reader) -> None:
        while goes_on():
            try:
                found = client.read(f"{url}all/data/load-{identity}/")
            except Exception:  # each client has errors of its own; a refused read is none that is wrong
                counts["refused"] += 1
                continue
            if agrees(found, local(client)):
                counts["right"] += 1
            else:
                wrong.append(client.name)

    # A cache that forgets: each pass has to ask the origins for most of what it reads.
    settings = {**replicas.settings(identity), "cache": {"memory": {"size": "1MiB"}, "disk": {"enabled": False}}}
    settings["fetch"] = {"prefetch": {"memory": "256KiB", "max_window": "0B"}, "max_request": "256KiB"}
    with running_proxy(tmp_path, settings) as url:
        threads = [threading.Thread(target=read, args=(url, client)) for client in CLIENTS]
        for thread in threads:
            thread.start()
        try:
            while goes_on():
                tap = seeded.choice(list(replicas.taps.values())[:3])
                time.sleep(seeded.uniform(0.1, 1.0))
                tap.go_down()
                counts["deaths"] += 1
                time.sleep(seeded.uniform(0.1, 2.0))
                tap.come_back()
        finally:
            for thread in threads:
                thread.join()
    assert not wrong
    return counts["right"], counts["refused"], counts["deaths"]
