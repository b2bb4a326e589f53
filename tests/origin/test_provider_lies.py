"""The lying answers of test_web_lies, one at a time, to requests of S3, Azure and Google Cloud Storage.

The origin lies in the words of the service; what a row expects is the same for all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rangecache.errors import StaleConnection
from rangecache.model import ObjectRef
from rangecache.origin.web import MinRate, WebStore
from tests.dressed import BUCKET, Dressed, DressedOrigin, dialect

from .conftest import BODY
from .reading import meta_of, read
from .test_web_lies import ASKED, RIGHT, ROWS, Row

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from rangecache.origin.session import WebSession
    from rangecache.testing.clock import ManualClock

REF = ObjectRef("cloud", BUCKET, "object")
KINDS = ("s3", "azure", "gcs")


@pytest.fixture
async def origin(kind: str, tmp_path: Path) -> AsyncIterator[DressedOrigin]:
    async with DressedOrigin(kind) as origin:
        origin.put(f"{Dressed(kind, tmp_path).folder}object", BODY, etag='"v1"')
        yield origin


@pytest.fixture
def cloud(kind: str, session: WebSession, origin: DressedOrigin, clock: ManualClock) -> WebStore:
    return WebStore(
        session,
        dialect(kind, origin.url, clock),
        clock=clock,
        first_byte_timeout_s=30,
        min_rate=MinRate(16 * 1024, 10),
    )


@pytest.mark.parametrize("kind", KINDS)
async def test_each_lie_gives_the_right_bytes_or_the_right_error(cloud: WebStore, origin: DressedOrigin) -> None:
    for each in ROWS:
        try:
            await check(cloud, origin, each.values[0])
        except BaseException as error:
            error.add_note(f"in the row {each.id}")
            raise


async def check(cloud: WebStore, origin: DressedOrigin, given: Row) -> None:
    # In this test no request is the first one on its connection, unless the row before it closed it.
    reused = given.pinned is StaleConnection
    await meta_of(cloud, REF)
    for pin, expected in ((False, given.pinned if reused else given.unpinned), (True, given.pinned)):
        pinned = await meta_of(cloud, REF) if pin else None
        origin.log.clear()
        origin.fail(None, *given.faults, times=None)
        if isinstance(expected, bytes):
            assert (await read(cloud, REF, ASKED, if_match=pinned))[2] == expected
        else:
            with pytest.raises(expected) as caught:
                await read(cloud, REF, ASKED, if_match=pinned)
            assert type(caught.value) is expected
        assert len(origin.requests) == 1
        origin.heal()
        assert (await read(cloud, REF, ASKED))[2] == RIGHT
