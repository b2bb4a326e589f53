"""Roles against a server that knows users, roles and policies, and checks every signature."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from rangecache.aio.clock import SystemClock
from rangecache.errors import PermissionDenied, Unauthenticated
from rangecache.model import ObjectRef
from rangecache.origin.web import MinRate, WebStore
from rangecache.ranges import ByteRange
from rangecache.settings import Egress, S3Provider
from rangecache.wiring.s3 import s3_dialect
from tests.moto_server import BODY, BUCKET, Moto

from .reading import read

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

pytestmark = pytest.mark.emulator

REF = ObjectRef("s3", BUCKET, "k")


@pytest.fixture
async def connect(session, moto: Moto, aws_free: pytest.MonkeyPatch) -> AsyncIterator[Callable[..., WebStore]]:
    """A store with credentials as they are configured; moto is S3 and STS."""
    aws_free.setenv("AWS_ENDPOINT_URL_STS", moto.endpoint)
    dialects = []

    def make(**credentials: Any) -> WebStore:
        given = {"kind": "s3", "preset": "minio", "endpoint": moto.endpoint, "credentials": credentials}
        clock = SystemClock()
        dialect = s3_dialect(S3Provider.model_validate(given), clock, Egress())
        dialects.append(dialect)
        return WebStore(session, dialect, clock=clock, first_byte_timeout_s=10, min_rate=MinRate(1, 10))

    yield make
    for each in dialects:
        await each.aclose()


def own(moto: Moto) -> dict[str, Any]:
    return {"access_key_id": moto.access_key, "secret_access_key": moto.secret_key}


async def test_a_role_reads_what_the_keys_that_assume_it_may_not(connect, moto: Moto) -> None:
    with pytest.raises(PermissionDenied):
        await read(connect(**own(moto)), REF)
    role = {"arn": moto.role, "session_name": "nightly", "external_id": "partner-7"}
    assert (await read(connect(**own(moto), assume_role=role), REF, ByteRange(10, 20)))[2] == BODY[10:20]


async def test_a_profile_assumes_the_role_too(connect, moto: Moto, tmp_path: Path) -> None:
    (tmp_path / "config").write_text(
        f"[profile base]\naws_access_key_id={moto.access_key}\naws_secret_access_key={moto.secret_key}\n"
        f"[profile reader]\nrole_arn={moto.role}\nsource_profile=base\n"
    )
    assert (await read(connect(profile="reader"), REF, ByteRange(0, 5)))[2] == BODY[:5]


async def test_keys_that_sts_does_not_know_are_said_to_be_the_reason(connect, moto: Moto) -> None:
    wrong = own(moto) | {"secret_access_key": "canary-wrong"}
    with pytest.raises(Unauthenticated, match="AssumeRole was answered SignatureDoesNotMatch") as caught:
        await read(connect(**wrong, assume_role={"arn": moto.role}), REF)
    assert "canary" not in str(caught.value)
