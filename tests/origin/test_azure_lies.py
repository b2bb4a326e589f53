"""The lying answers of test_web_lies, one at a time, to requests of the Azure provider.

Rows whose meaning is a provider's own to give are left out: statuses, which Azure explains by a code (see
test_azure_dialect), redirects, which it never sends, and answers without a strong tag, which do not identify its bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rangecache.model import ObjectRef
from rangecache.origin.credentials import Anonymous
from rangecache.origin.providers.azure import AzureDialect
from rangecache.origin.providers.azure_address import Endpoint
from rangecache.origin.web import MinRate, WebStore
from rangecache.testing.faults import NoValidators, Redirect, Relabel, Status, WeakETag

from .conftest import BODY
from .reading import meta_of, read
from .test_web_lies import ASKED, RIGHT, ROWS, Row

if TYPE_CHECKING:
    from rangecache.origin.session import WebSession
    from rangecache.testing.clock import ManualClock
    from rangecache.testing.origin import Origin

REF = ObjectRef("az", "data", "object")
OWN = (Status, Redirect, Relabel, NoValidators, WeakETag)
SHARED = [each for each in ROWS if not any(isinstance(fault, OWN) for fault in each.values[0].faults)]


@pytest.fixture
def azure(session: WebSession, origin: Origin, clock: ManualClock) -> WebStore:
    origin.put("demo/data/object", BODY, etag='"v1"')
    dialect = AzureDialect(endpoint=Endpoint.parse(f"{origin.url}demo"), credentials=Anonymous(), clock=clock)
    return WebStore(session, dialect, clock=clock, first_byte_timeout_s=30, min_rate=MinRate(16 * 1024, 10))


def test_most_rows_are_shared() -> None:
    assert len(SHARED) > len(ROWS) / 2


@pytest.mark.parametrize("pin", [False, True], ids=["unpinned", "pinned"])
@pytest.mark.parametrize("given", SHARED)
async def test_a_request_gets_the_right_bytes_or_the_right_error(
    azure: WebStore, origin: Origin, given: Row, pin: bool
) -> None:
    pinned = await meta_of(azure, REF) if pin else None
    origin.fail("demo/data/object", *given.faults)
    expected = given.pinned if pin else given.unpinned
    if isinstance(expected, bytes):
        assert (await read(azure, REF, ASKED, if_match=pinned))[2] == expected
    else:
        with pytest.raises(expected) as caught:
            await read(azure, REF, ASKED, if_match=pinned)
        assert type(caught.value) is expected
    origin.heal()
    assert (await read(azure, REF, ASKED))[2] == RIGHT
