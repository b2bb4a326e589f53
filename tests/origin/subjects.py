"""Every store that there is, as the subject of the checks that are shipped: the real ones against real servers, each
wrapper around one in memory.

`DEVIATIONS` are the flaws of emulators. Each is expected to be there still: a check that passes after all fails the
test, and its line goes.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import botocore.exceptions

from rangecache.errors import BodyCut
from rangecache.model import ObjectRef
from rangecache.origin.breaking import Breaking
from rangecache.origin.credentials import Anonymous, Static
from rangecache.origin.failover import Failover
from rangecache.origin.memory import MemoryStore
from rangecache.origin.providers.azure import AzureDialect
from rangecache.origin.providers.azure_address import Endpoint
from rangecache.origin.providers.azure_credentials import from_account_key
from rangecache.origin.providers.file import FileStore
from rangecache.origin.providers.gcs import GcsDialect
from rangecache.origin.providers.http import HttpDialect
from rangecache.origin.providers.s3 import S3Dialect
from rangecache.origin.providers.s3_credentials import STATIC, S3Credentials
from rangecache.origin.replica import Place, Replica
from rangecache.origin.retry import Retrying
from rangecache.origin.size_first import SizeFirst
from rangecache.origin.web import MinRate, WebStore
from rangecache.testing import name_checks, suites
from rangecache.testing.faults import Cut
from rangecache.testing.subject import Unwritable
from tests.dressed import BUCKET, Dressed, DressedOrigin, dialect
from tests.emulators import PRIVATE
from tests.origin.wrappers import CLOCK, budget

if TYPE_CHECKING:
    from collections.abc import Callable

    from rangecache.origin.base import ObjectStore
    from rangecache.origin.dialect import Dialect
    from rangecache.origin.session import WebSession
    from rangecache.testing.origin import Origin
    from tests.azurite_server import Azurite
    from tests.emulators import FakeGcs, SeaweedFS

KEEPING: Final = "keeping"  # a bucket whose versions are kept

DEVIATIONS: Final[dict[tuple[str, str], str]] = {
    ("s3", name_checks.takes_nothing_in_a_key_for_a_step.__name__): "SeaweedFS takes /a for a, and a/ for a folder",
    ("gcs", suites.says_that_nothing_has_changed.__name__): "fake-gcs-server knows no conditions on reads",
    ("gcs", suites.refuses_a_range_behind_the_end.__name__): "fake-gcs-server's 416 does not say the object's length",
    ("azure", suites.gives_an_empty_object.__name__): "Azurite answers a range at the end with an empty 206",
    ("azure", suites.refuses_a_range_behind_the_end.__name__): "Azurite answers a range at the end with an empty 206",
}


def web(session: WebSession, dialect: Dialect) -> WebStore:
    """The data path."""
    return WebStore(session, dialect, clock=CLOCK, first_byte_timeout_s=10, min_rate=MinRate(16 * 1024, 10))


class InMemory:
    """A store in memory, in whatever it is wrapped. It waits where a real one would."""

    def __init__(self, wrap: Callable[[MemoryStore], ObjectStore] = lambda store: store, provider: str = "mem") -> None:
        self.provider = provider
        self.memory = MemoryStore(chunk_bytes=30_000, before_answer=self._answer, before_chunk=self._chunk)
        self.store = wrap(self.memory)
        self._cut_at: int | None = None
        self._written: dict[ObjectRef, bytes] = {}

    async def _answer(self, _: object) -> None:
        await asyncio.sleep(0)

    async def _chunk(self, _: object, offset: int) -> None:
        await asyncio.sleep(0)
        if self._cut_at is not None and offset >= self._cut_at:
            self._cut_at = None
            raise BodyCut("the body ended early")

    async def put(self, key: str, data: bytes) -> ObjectRef:
        ref = ObjectRef(self.provider, "bucket", key)
        self.memory.put(ref, data)
        self._written[ref] = data
        return ref

    async def delete(self, ref: ObjectRef) -> None:
        self.memory.delete(ref)

    def absent(self) -> ObjectRef:
        return ObjectRef(self.provider, "bucket", "absent")

    async def keep(self, ref: ObjectRef) -> ObjectRef:
        kept = ref._replace(version="1")
        self.memory.put(kept, self._written[ref])
        return kept

    async def cut(self, ref: ObjectRef, after_bytes: int) -> None:
        self._cut_at = after_bytes


class InFiles:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = FileStore({"demo": root}, chunk_bytes=30_000)

    def left_open(self) -> list[str]:
        """The files that this process has open."""
        found = []
        for descriptor in os.listdir("/proc/self/fd"):
            with suppress(OSError):  # that of the listing itself
                found.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        return [name for name in found if name.startswith(f"{self.root}/")]

    async def put(self, key: str, data: bytes) -> ObjectRef:
        if any(part in ("", ".", "..") for part in key.split("/")):
            raise Unwritable(key)
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return ObjectRef("local", "demo", key)

    async def delete(self, ref: ObjectRef) -> None:
        (self.root / ref.key).unlink()

    def absent(self) -> ObjectRef:
        return ObjectRef("local", "demo", "no/such/file")


class OnTheWeb:
    """Our own origin, in whatever its store is wrapped."""

    def __init__(
        self, origin: Origin, session: WebSession, wrap: Callable[[WebStore], ObjectStore] = lambda store: store
    ) -> None:
        self.origin = origin
        dialect = HttpDialect()
        dialect.add_bucket("bucket", origin.url)
        self.store = wrap(web(session, dialect))

    async def put(self, key: str, data: bytes) -> ObjectRef:
        self.origin.put(key, data)
        return ObjectRef("web", "bucket", key)

    async def delete(self, ref: ObjectRef) -> None:
        self.origin.delete(ref.key)

    def absent(self) -> ObjectRef:
        return ObjectRef("web", "bucket", "absent")

    async def cut(self, ref: ObjectRef, after_bytes: int) -> None:
        self.origin.fail(ref.key, Cut(after_bytes))


class OnS3:
    """SeaweedFS; botocore writes."""

    def __init__(self, seaweedfs: SeaweedFS, session: WebSession, bucket: str = PRIVATE) -> None:
        self.seaweedfs = seaweedfs
        self.bucket = bucket
        keys = Static(S3Credentials(seaweedfs.access_key, seaweedfs.secret_key), STATIC)
        self.store = web(session, S3Dialect(endpoint=seaweedfs.tap.endpoint, credentials=keys, clock=CLOCK))

    async def put(self, key: str, data: bytes) -> ObjectRef:
        try:
            await asyncio.to_thread(self.seaweedfs.put, self.bucket, key, data)
        except botocore.exceptions.ClientError as error:
            raise Unwritable(key) from error
        return ObjectRef("s3", self.bucket, key)

    async def delete(self, ref: ObjectRef) -> None:
        self.seaweedfs.delete(ref.bucket, ref.key)

    def absent(self) -> ObjectRef:
        return ObjectRef("s3", self.bucket, "no/such/key")

    async def keep(self, ref: ObjectRef) -> ObjectRef:
        found = self.seaweedfs.client.head_object(Bucket=ref.bucket, Key=ref.key)
        return ref._replace(version=found["VersionId"])

    async def cut(self, ref: ObjectRef, after_bytes: int) -> None:
        self.seaweedfs.tap.cut_next(after_bytes)

    @classmethod
    def keeping(cls, seaweedfs: SeaweedFS, session: WebSession) -> OnS3:
        """In a bucket with versions."""
        with suppress(botocore.exceptions.ClientError):  # a test before this one has made it
            seaweedfs.create_bucket(KEEPING)
        seaweedfs.client.put_bucket_versioning(Bucket=KEEPING, VersioningConfiguration={"Status": "Enabled"})
        return cls(seaweedfs, session, KEEPING)


class OnGcs:
    """fake-gcs-server; its JSON API writes."""

    def __init__(self, fake_gcs: FakeGcs, session: WebSession, bucket: str = PRIVATE) -> None:
        self.fake_gcs = fake_gcs
        self.bucket = bucket
        endpoint = fake_gcs.tap.endpoint
        self.store = web(session, GcsDialect(credentials=Anonymous(), clock=CLOCK, endpoint=endpoint))

    async def put(self, key: str, data: bytes) -> ObjectRef:
        self.fake_gcs.put(self.bucket, key, data)
        return ObjectRef("gs", self.bucket, key)

    async def delete(self, ref: ObjectRef) -> None:
        self.fake_gcs.delete(ref.bucket, ref.key)

    def absent(self) -> ObjectRef:
        return ObjectRef("gs", self.bucket, "no/such/key")

    async def keep(self, ref: ObjectRef) -> ObjectRef:
        return ref._replace(version=self.fake_gcs.generation(ref.bucket, ref.key))

    async def cut(self, ref: ObjectRef, after_bytes: int) -> None:
        self.fake_gcs.tap.cut_next(after_bytes)

    @classmethod
    def keeping(cls, fake_gcs: FakeGcs, session: WebSession) -> OnGcs:
        """In a bucket with versions."""
        with suppress(OSError):  # a test before this one has made it
            fake_gcs.create_bucket(KEEPING, versioning={"enabled": True})
        return cls(fake_gcs, session, KEEPING)


class OnAzure:
    """Azurite; requests that are signed by the tests write."""

    def __init__(self, azurite: Azurite, session: WebSession) -> None:
        self.azurite = azurite
        key = from_account_key(azurite.account, azurite.key, clock=CLOCK)
        dialect = AzureDialect(endpoint=Endpoint.parse(azurite.tapped), credentials=key, clock=CLOCK)
        # Azurite closes connections after 5 s, so that now and then one has to be made anew.
        self.store = Retrying(SizeFirst(web(session, dialect)), budget=budget(), clock=CLOCK, attempts=2)

    async def put(self, key: str, data: bytes) -> ObjectRef:
        try:
            self.azurite.put(PRIVATE, key, data)
        except OSError as error:
            raise Unwritable(key) from error
        return ObjectRef("az", PRIVATE, key)

    async def delete(self, ref: ObjectRef) -> None:
        self.azurite.delete(ref.bucket, ref.key)

    def absent(self) -> ObjectRef:
        return ObjectRef("az", PRIVATE, "no/such/key")

    async def keep(self, ref: ObjectRef) -> ObjectRef:
        return ref._replace(version=f"snapshot={self.azurite.snapshot(ref.bucket, ref.key)}")

    async def cut(self, ref: ObjectRef, after_bytes: int) -> None:
        self.azurite.tap.cut_next(after_bytes)


class OnOurOwn:
    """The dialect of a service, spoken with our own origin: for the checks that an emulator cannot pass."""

    def __init__(self, kind: str, origin: DressedOrigin, session: WebSession) -> None:
        self.origin = origin
        self.folder = Dressed(kind, Path()).folder
        self.store = SizeFirst(web(session, dialect(kind, origin.url, CLOCK)))

    async def put(self, key: str, data: bytes) -> ObjectRef:
        self.origin.put(self.folder + key, data)
        return ObjectRef("cloud", BUCKET, key)

    async def delete(self, ref: ObjectRef) -> None:
        self.origin.delete(self.folder + ref.key)

    def absent(self) -> ObjectRef:
        return ObjectRef("cloud", BUCKET, "absent")


class OnTwo:
    """Two stores that stand in for each other; what is written is written to both."""

    def __init__(self, first: Any, second: Any, identity: Any = "checksum") -> None:
        self.both = (first, second)
        here = [each.absent() for each in self.both]
        replicas = [
            Replica(ref.provider, Breaking(each.store, clock=CLOCK), CLOCK, lambda _, ref=ref: Place(ref.bucket))
            for each, ref in zip(self.both, here, strict=True)
        ]
        self.store = Failover(replicas, identity=identity, budget=budget(), clock=CLOCK)

    async def put(self, key: str, data: bytes) -> ObjectRef:
        for each in self.both:
            await each.put(key, data)
        return ObjectRef("set", "bucket", key)

    async def delete(self, ref: ObjectRef) -> None:
        for each in self.both:
            there = each.absent()
            await each.delete(there._replace(key=ref.key))

    def absent(self) -> ObjectRef:
        return ObjectRef("set", "bucket", "absent")

    async def cut(self, ref: ObjectRef, after_bytes: int) -> None:
        first = self.both[0]
        await first.cut(first.absent()._replace(key=ref.key), after_bytes)
