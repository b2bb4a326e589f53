"""What a dialect decides and what it cannot: credentials on redirects, mending once, sources."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from rangecache.errors import GenerationGone, NotFound, PermissionDenied
from rangecache.origin.providers.http import HttpDialect
from rangecache.origin.web import MinRate, WebStore
from rangecache.ranges import ByteRange
from rangecache.testing.faults import Redirect, Status
from rangecache.testing.origin import Origin

from .conftest import BODY, REF
from .reading import meta_of, read

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yarl import URL

    from rangecache.model import ObjectMeta, ObjectRef
    from rangecache.origin.dialect import Answer, Target
    from rangecache.origin.session import WebSession
    from rangecache.telemetry import Metrics
    from rangecache.testing.clock import ManualClock


class Signing(HttpDialect):
    """Proves who asks, learns a better proof from a refusal, and follows every redirect."""

    def __init__(self) -> None:
        super().__init__()
        self.token = "first"
        self.lessons = ["second"]
        self.refusals: list[Answer] = []

    async def target(
        self, method: str, ref: ObjectRef, headers: Mapping[str, str], pinned: ObjectMeta | None = None
    ) -> Target:
        target = await super().target(method, ref, headers, pinned)
        return replace(target, headers={**headers, "Authorization": self.token})

    async def mend(self, answer: Answer, ref: ObjectRef) -> str:
        self.refusals.append(answer)
        if answer.status == 403 and self.lessons:
            self.token = self.lessons.pop(0)
            return self.token
        return ""

    def may_redirect(self, ref: ObjectRef, to: URL) -> bool:
        return True


@pytest.fixture
def dialect(origin: Origin) -> Signing:
    dialect = Signing()
    dialect.add_bucket("bucket", origin.url)
    return dialect


def tokens(origin: Origin) -> list[str | None]:
    return [request.headers.get("authorization") for request in origin.requests]


async def test_a_refusal_is_mended_once(store: WebStore, dialect: Signing, origin: Origin, metrics: Metrics):
    dialect.lessons = ["second", "third"]
    origin.fail("object", Status(403, body=b"<Code>ExpiredToken</Code>"))
    assert (await read(store, REF, ByteRange(0, 5)))[2] == BODY[:5]
    assert tokens(origin) == ["first", "second"]
    assert [request.range for request in origin.requests] == ["bytes=0-4"] * 2
    assert dialect.refusals[0].body == b"<Code>ExpiredToken</Code>"
    assert metrics.origin_requests.total(outcome="mend") == 1


async def test_a_refusal_that_stays_is_an_error_after_two_mendings(store: WebStore, dialect: Signing, origin: Origin):
    dialect.lessons = ["second", "third", "fourth"]
    origin.fail("object", Status(403), times=None)
    with pytest.raises(PermissionDenied):
        await read(store, REF)
    assert tokens(origin) == ["first", "second", "third"]


async def test_a_dialect_sees_64_kib_of_an_error_at_most(store: WebStore, dialect: Signing, origin: Origin):
    for size in (64 * 1024, 64 * 1024 + 1, 3_000_000):
        origin.fail("object", Status(404, body=b"x" * size))
        with pytest.raises(NotFound):
            await read(store, REF)
        assert len(dialect.refusals[-1].body) <= 64 * 1024
    assert len(dialect.refusals[0].body) == 64 * 1024


async def test_credentials_stay_with_their_host(store: WebStore, origin: Origin):
    async with Origin() as other:
        origin.fail("object", Redirect("/here"))
        origin.fail("here", Redirect(f"{other.url}there"))
        other.fail("there", Redirect(f"{origin.url}back"))
        origin.put("back", BODY)
        assert (await read(store, REF, ByteRange(0, 5)))[2] == BODY[:5]
        assert tokens(origin) == ["first", "first", None]
        assert tokens(other) == [None]
        assert other.requests[0].range == "bytes=0-4"


async def test_credentials_do_not_go_to_another_port_or_scheme(store: WebStore, origin: Origin):
    async with Origin() as other:
        other.put("object", BODY)
        origin.fail("object", Redirect(f"{other.url}object"))
        await read(store, REF)
        assert tokens(other) == [None]


async def test_a_pin_follows_a_mended_request(store: WebStore, origin: Origin):
    meta = await meta_of(store, REF)
    origin.fail("object", Status(403))
    await read(store, REF, if_match=meta)
    assert [request.headers.get("if-match") for request in origin.requests] == [None, '"v1"', '"v1"']


async def test_versions_of_two_sources_do_not_compare(session: WebSession, origin: Origin, clock: ManualClock):
    class Elsewhere(HttpDialect):
        def source(self, ref: ObjectRef) -> str:
            return "elsewhere"

    metas = []
    for dialect in (HttpDialect(), Elsewhere()):
        dialect.add_bucket("bucket", origin.url)
        store = WebStore(session, dialect, clock=clock, first_byte_timeout_s=30, min_rate=MinRate(1, 10))
        metas.append(await meta_of(store, REF))
    assert [meta.source for meta in metas] == [origin.url, "elsewhere"]
    with pytest.raises(GenerationGone):
        await read(store, REF, if_match=metas[0])


async def test_a_time_limit_may_differ_from_object_to_object(
    session: WebSession, dialect: Signing, origin: Origin, clock: ManualClock
):
    asked: list[ObjectRef] = []

    def limit(ref: ObjectRef) -> float:
        asked.append(ref)
        return 30

    store = WebStore(session, dialect, clock=clock, first_byte_timeout_s=limit, min_rate=MinRate(1, 10))
    await read(store, REF)
    assert asked == [REF]
