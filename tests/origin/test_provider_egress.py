"""No service of the clouds is taken for another one: a certificate for another host is refused before anything of a
request, and of what proves who asks, is sent. Web servers are in test_web_egress, token services beside their
credentials."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from rangecache.errors import InvalidAnswer
from rangecache.origin.session import WebSession
from rangecache.origin.web import MinRate, WebStore
from rangecache.ranges import ByteRange
from tests.dressed import Dressed, DressedOrigin, dialect

from .certificates import Authority
from .conftest import BODY
from .reading import read
from .relay import tls_front
from .test_provider_lies import KINDS, REF

if TYPE_CHECKING:
    from pathlib import Path

    from rangecache.testing.clock import ManualClock


@pytest.mark.parametrize(
    ("certified", "trusted", "works"),
    [("localhost", True, True), ("wrong.example.com", True, False), ("localhost", False, False)],
    ids=["its own name", "another name", "its own name, by nobody we trust"],
)
@pytest.mark.parametrize("kind", KINDS)
async def test_a_service_has_to_prove_that_it_is_the_one_that_was_named(
    kind: str, certified: str, trusted: bool, works: bool, tmp_path: Path, clock: ManualClock
) -> None:
    authority = Authority(tmp_path)
    async with (
        DressedOrigin(kind) as origin,
        tls_front(urlsplit(origin.url).port or 0, authority.server(certified)) as front,
    ):
        origin.put(f"{Dressed(kind, tmp_path).folder}object", BODY)
        session = WebSession(connect_timeout_s=5, ca_file=authority.ca_file if trusted else None)
        store = WebStore(
            session,
            dialect(kind, f"https://localhost:{front.port}/", clock),
            clock=clock,
            first_byte_timeout_s=30,
            min_rate=MinRate(1, 10),
        )
        try:
            if works:
                assert (await read(store, REF, ByteRange(16, 32)))[2] == BODY[16:32]
                return
            for ask in (
                lambda: read(store, REF, ByteRange(16, 32)),
                lambda: store.head(REF),
                lambda: store.list_page(REF),
            ):
                with pytest.raises(InvalidAnswer, match="does not prove who it is"):
                    await ask()
            assert origin.requests == []
        finally:
            await session.aclose()
