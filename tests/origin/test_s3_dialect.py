"""The S3 provider against an origin that plays AWS: regions, tokens that expire, public buckets, faults.

What went over the wire is read in the origin's own log.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from rangecache.aio.budget import RetryBudget
from rangecache.errors import (
    BadRequest,
    ConfigurationError,
    GenerationGone,
    InvalidAnswer,
    NotFound,
    PermissionDenied,
    TransientError,
    Unauthenticated,
)
from rangecache.model import ETag, ObjectMeta, ObjectRef
from rangecache.origin.credentials import Anonymous, Static
from rangecache.origin.dialect import Answer
from rangecache.origin.providers.s3 import S3Dialect
from rangecache.origin.providers.s3_buckets import BUCKETS_REMEMBERED, S3Bucket
from rangecache.origin.providers.s3_credentials import STATIC, S3Credentials
from rangecache.origin.providers.s3_signing import sign
from rangecache.origin.unsigned import UNSIGNED_S
from rangecache.origin.web import MinRate, WebStore
from rangecache.ranges import ByteRange
from rangecache.testing.faults import Redirect, Status

from .reading import read

if TYPE_CHECKING:
    from rangecache.origin.session import WebSession
    from rangecache.testing.clock import ManualClock
    from rangecache.testing.log import LoggedRequest
    from rangecache.testing.origin import Origin

KEYS = S3Credentials("AKIDEXAMPLE", "canary-secret", "canary-token")
NEWER = S3Credentials("AKIDNEWER", "canary-secret-2", "canary-token-2")
REF = ObjectRef("s3", "data", "k")


class Renewable:
    """Credentials found by looking around, which a test replaces."""

    def __init__(self, current: S3Credentials | None, later: S3Credentials | None = None) -> None:
        self.current = current
        self.later = later
        self.may_go_unsigned = True
        self.renewals = 0
        self.always = False

    @property
    def signs(self) -> bool:
        return self.current is not None

    async def get(self) -> S3Credentials | None:
        return self.current

    async def renew(self) -> bool:
        self.renewals += 1
        if self.always:
            self.current, self.later = self.later, self.current
            return True
        if self.later is None:
            return False
        self.current, self.later = self.later, None
        return True

    def describe(self) -> str:
        return "the credentials of this machine's environment"

    async def aclose(self) -> None:
        pass


@pytest.fixture
def connect(session: WebSession, origin: Origin, clock: ManualClock):
    """A store over the origin; its objects are put under `bucket/key`."""
    origin.put("data/k", b"0123456789", etag='"v1"')

    def make(credentials=None, **options) -> WebStore:
        dialect = S3Dialect(
            endpoint=origin.url, credentials=credentials or Static(KEYS, STATIC), clock=clock, **options
        )
        return WebStore(session, dialect, clock=clock, first_byte_timeout_s=10, min_rate=MinRate(16 * 1024, 10))

    return make


def xml(code: str, more: str = "") -> bytes:
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>canary</Message>{more}</Error>".encode()


def scope(request: LoggedRequest) -> str:
    """`access key/date/region` that a request was signed with; empty if it was not."""
    authorization = request.headers.get("authorization", "")
    return authorization.partition("Credential=")[2].partition("/s3/aws4_request")[0]


def signed_with(key: S3Credentials):
    return lambda request: scope(request).startswith(key.access_key_id)


def signed_for(region: str):
    return lambda request: scope(request).endswith("/" + region)


# --- signing ------------------------------------------------------------------------------------------------------


async def test_a_request_is_signed_for_the_region_the_day_and_the_token(connect, origin: Origin, clock) -> None:
    store = connect(region="eu-central-1")
    _, _, body = await read(store, REF, ByteRange(2, 4))
    assert body == b"23"
    (request,) = origin.requests
    at = datetime.fromtimestamp(clock.wall(), UTC)
    assert scope(request) == f"AKIDEXAMPLE/{at:%Y%m%d}/eu-central-1"
    assert request.headers["x-amz-date"] == f"{at:%Y%m%dT%H%M%SZ}"
    assert request.headers["x-amz-security-token"] == "canary-token"
    assert request.target == "/data/k"
    assert "canary-secret" not in str(request.raw_headers)


async def test_what_is_signed_is_what_is_sent(connect, origin: Origin, clock) -> None:
    ref = ObjectRef("s3", "data", "a b/+é?&=#;%2F", "version/1+2")
    origin.put("data/" + ref.key, b"odd", etag='"odd"', headers={"x-amz-version-id": "version/1+2"})
    meta, _, _ = await read(connect(), ref)
    await read(connect(), ref, ByteRange(0, 2), if_match=meta)
    request = origin.requests[-1]
    again = sign(
        request.method,
        "http://" + request.headers["host"] + request.target,
        {"Range": request.headers["range"], "If-Match": request.headers["if-match"]},
        KEYS,
        region="us-east-1",
        now_s=clock.wall(),
    )
    assert request.headers["authorization"] == again["Authorization"]
    assert request.target == "/data/a%20b/%2B%C3%A9%3F%26%3D%23%3B%252F?versionId=version%2F1%2B2"
    assert meta.version == "version/1+2"


async def test_dot_segments_survive_on_the_wire(connect, origin: Origin, clock) -> None:
    origin.put("data/a/../../other/k", b"dots", etag='"dots"')
    await read(connect(), ObjectRef("s3", "data", "a/../../other/k"))
    (request,) = origin.requests
    assert request.target == "/data/a/%2E%2E/%2E%2E/other/k"
    bare = f"http://{request.headers['host']}/data/a/../../other/k"
    signature = sign("GET", bare, {}, KEYS, region="us-east-1", now_s=clock.wall())["Authorization"]
    assert request.headers["authorization"] == signature


async def test_dot_segments_are_refused_where_no_signature_keeps_them_in_their_bucket(connect, origin) -> None:
    with pytest.raises(BadRequest):
        await read(connect(Anonymous()), ObjectRef("s3", "data", "../other/k"))
    assert origin.requests == []


@pytest.mark.parametrize("bucket", ["..", "b/x", "DATA", "a", "169.254.169.254"])
async def test_a_bucket_that_cannot_exist_is_refused_before_anything_is_sent(bucket: str, connect, origin) -> None:
    with pytest.raises(BadRequest):
        await read(connect(), ObjectRef("s3", bucket, "k"))
    assert origin.requests == []


def test_a_configured_bucket_name_that_cannot_exist_is_a_fault_of_the_configuration(clock) -> None:
    with pytest.raises(ConfigurationError, match="bucket alias"):
        S3Dialect(credentials=Anonymous(), clock=clock, buckets={"alias": S3Bucket("No_Such")})


async def test_an_alias_is_its_bucket_at_the_service(connect, origin: Origin) -> None:
    store = connect(buckets={"Alias_1": S3Bucket("data")})
    assert (await read(store, ObjectRef("s3", "Alias_1", "k")))[2] == b"0123456789"
    assert origin.requests[0].target == "/data/k"


async def test_the_tag_is_the_validator_only_if_it_is_strong(clock) -> None:
    dialect = S3Dialect(credentials=Anonymous(), clock=clock)
    assert dialect.validator({}, ETag("v1")) == 'etag "v1"'
    assert dialect.validator({}, ETag("v1", weak=True)) == ""
    assert dialect.validator({}, None) == ""


async def test_a_pin_is_an_if_match(connect, origin: Origin) -> None:
    store = connect()
    meta, _, _ = await read(store, REF)
    origin.put("data/k", b"9876543210", etag='"v2"')
    with pytest.raises(GenerationGone):
        await read(store, REF, ByteRange(0, 3), if_match=meta)
    assert origin.requests[-1].headers["if-match"] == '"v1"'


# --- regions ------------------------------------------------------------------------------------------------------

ELSEWHERE = [
    pytest.param(Status(301, {"x-amz-bucket-region": "eu-west-3"}, xml("PermanentRedirect")), id="301"),
    pytest.param(Status(307, {"x-amz-bucket-region": "eu-west-3", "Location": "http://127.0.0.1:1/"}), id="307"),
    pytest.param(
        Status(400, {}, xml("AuthorizationHeaderMalformed", "<Region>eu-west-3</Region>")), id="400 in the body"
    ),
    pytest.param(Status(403, {"x-amz-bucket-region": "eu-west-3"}, xml("AccessDenied")), id="403"),
]


@pytest.mark.parametrize("fault", ELSEWHERE)
async def test_a_bucket_elsewhere_is_asked_for_again_in_its_region_and_ever_after(fault, connect, origin) -> None:
    origin.fail("data/k", fault, times=None, when=signed_for("us-east-1"))
    store = connect()
    assert (await read(store, REF))[2] == b"0123456789"
    assert (await read(store, REF))[2] == b"0123456789"
    assert [scope(each).rpartition("/")[2] for each in origin.requests] == ["us-east-1", "eu-west-3", "eu-west-3"]


async def test_regions_are_learned_for_each_bucket_apart(connect, origin: Origin) -> None:
    origin.put("other/k", b"other")
    origin.fail("data/k", Status(301, {"x-amz-bucket-region": "eu-west-3"}), times=None, when=signed_for("us-east-1"))
    store = connect()
    await read(store, REF)
    await read(store, ObjectRef("s3", "other", "k"))
    assert [scope(each).rpartition("/")[2] for each in origin.requests] == ["us-east-1", "eu-west-3", "us-east-1"]


async def test_a_region_that_does_not_help_ends_after_one_more_request(connect, origin: Origin) -> None:
    for region in ("eu-west-1", "eu-west-2", "eu-west-3"):
        origin.fail("data/k", Status(301, {"x-amz-bucket-region": region}))
    with pytest.raises(InvalidAnswer):
        await read(connect(), REF)
    assert len(origin.requests) <= 3


@pytest.mark.parametrize("options", [{"region": "eu-west-1"}, {"buckets": {"data": S3Bucket("data", "eu-west-1")}}])
async def test_a_configured_region_is_respected_and_the_right_one_named(options, connect, origin: Origin) -> None:
    origin.fail("data/k", Status(301, {"x-amz-bucket-region": "eu-west-3"}, xml("PermanentRedirect")), times=None)
    with pytest.raises(InvalidAnswer, match=r"in region eu-west-3.*signed for eu-west-1"):
        await read(connect(**options), REF)
    assert len(origin.requests) == 1


@pytest.mark.parametrize("status", [404, 429, 500, 503])
async def test_a_final_answer_is_final_whatever_region_it_names(status: int, connect, origin: Origin) -> None:
    origin.fail("data/k", Status(status, {"x-amz-bucket-region": "eu-west-3"}, b""), times=None)
    with pytest.raises((NotFound, TransientError)):
        await read(connect(), REF)
    assert len(origin.requests) == 1


async def test_a_refusal_in_the_right_region_is_not_repeated(connect, origin: Origin) -> None:
    origin.fail("data/k", Status(403, {"x-amz-bucket-region": "us-east-1"}, xml("AccessDenied")), times=None)
    with pytest.raises(PermissionDenied):
        await read(connect(), REF)
    assert len(origin.requests) == 1


async def test_an_evil_region_is_not_put_into_an_address(clock) -> None:
    dialect = S3Dialect(credentials=Anonymous(), clock=clock)
    assert not await dialect.mend(Answer(301, {"x-amz-bucket-region": "x.evil.org/"}), REF)
    assert (await dialect.target("GET", REF, {})).url.host == "data.s3.us-east-1.amazonaws.com"
    assert await dialect.mend(Answer(301, {"x-amz-bucket-region": "eu-west-3"}), REF)
    assert (await dialect.target("GET", REF, {})).url.host == "data.s3.eu-west-3.amazonaws.com"


async def test_the_memory_of_regions_is_bounded(clock) -> None:
    dialect = S3Dialect(credentials=Anonymous(), clock=clock)
    for number in range(BUCKETS_REMEMBERED + 10):
        await dialect.mend(Answer(301, {"x-amz-bucket-region": "eu-west-3"}), ObjectRef("s3", f"b-{number}", "k"))
    assert len(dialect._buckets._learned) == BUCKETS_REMEMBERED
    assert "us-east-1" in str((await dialect.target("GET", ObjectRef("s3", "b-0", "k"), {})).url)
    newest = ObjectRef("s3", f"b-{BUCKETS_REMEMBERED + 9}", "k")
    assert "eu-west-3" in str((await dialect.target("GET", newest, {})).url)


async def test_a_redirect_elsewhere_is_not_followed(connect, origin: Origin) -> None:
    async with type(origin)() as metadata_service:
        metadata_service.put("latest", b"secret")
        origin.fail("data/k", Redirect(metadata_service.url + "latest", 307))
        with pytest.raises(InvalidAnswer):
            await read(connect(), REF)
        assert metadata_service.requests == []


# --- credentials that are rejected --------------------------------------------------------------------------------

EXPIRED = Status(400, {}, xml("ExpiredToken"))
DENIED = Status(403, {}, xml("AccessDenied"))


def unsigned(request: LoggedRequest) -> bool:
    return scope(request) == ""


async def test_an_expired_token_is_renewed_and_the_request_sent_once_more(connect, origin: Origin) -> None:
    origin.fail("data/k", EXPIRED, times=None, when=signed_with(KEYS))
    credentials = Renewable(KEYS, later=NEWER)
    store = connect(credentials)
    assert (await read(store, REF))[2] == b"0123456789"
    await read(store, REF)
    assert [scope(each).split("/")[0] for each in origin.requests] == ["AKIDEXAMPLE", "AKIDNEWER", "AKIDNEWER"]
    assert credentials.renewals == 1


async def test_keys_that_stay_rejected_are_renewed_and_tried_once(connect, origin: Origin) -> None:
    """A role gives other keys whenever it is asked: that is no reason to ask again and again."""
    credentials = Renewable(KEYS, NEWER)
    credentials.always = True
    origin.fail("data/k", Status(400, {}, xml("ExpiredToken")), times=None)
    with pytest.raises(Unauthenticated):
        await read(connect(credentials), REF)
    assert len(origin.requests) == 2


async def test_repeats_for_rejected_keys_and_for_regions_are_charged_to_the_ledger(
    session, origin: Origin, clock
) -> None:
    budget = RetryBudget(ratio=0, min_per_second=0, burst=1, clock=clock)
    dialect = S3Dialect(endpoint=origin.url, credentials=Renewable(KEYS, NEWER), clock=clock)
    store = WebStore(
        session,
        dialect,
        clock=clock,
        first_byte_timeout_s=10,
        min_rate=MinRate(1, 10),
        may_repeat=budget.try_withdraw,
    )
    origin.put("data/k", b"0123456789", etag='"v1"')
    origin.fail("data/k", Status(400, {}, xml("ExpiredToken")), times=1)
    assert (await read(store, REF))[2] == b"0123456789"
    assert (len(origin.requests), budget.balance) == (2, 0)
    origin.fail("data/k", Status(301, {"x-amz-bucket-region": "eu-west-3"}, xml("PermanentRedirect")), times=1)
    with pytest.raises(InvalidAnswer):
        await read(store, REF)
    assert len(origin.requests) == 3
    await read(store, REF)
    assert scope(origin.requests[-1]).endswith("/eu-west-3"), "what was learned without a repeat is used by the next"


async def test_a_head_that_is_answered_400_without_a_word_may_be_an_expired_token(connect, origin: Origin) -> None:
    origin.fail("data/k", Status(400, {}, b""), times=None, when=signed_with(KEYS))
    meta = await connect(Renewable(KEYS, later=NEWER)).head(REF)
    assert isinstance(meta, ObjectMeta)


async def test_a_public_bucket_is_read_unsigned_when_the_credentials_found_have_expired(connect, origin) -> None:
    origin.fail("data/k", EXPIRED, times=None, when=signed_with(KEYS))
    credentials = Renewable(KEYS)
    store = connect(credentials)
    for _ in range(3):
        assert (await read(store, REF))[2] == b"0123456789"
    assert [unsigned(each) for each in origin.requests] == [False, True, True, True]
    assert credentials.renewals == 1


async def test_a_public_bucket_elsewhere_is_read_at_once_though_the_credentials_found_have_expired(
    connect, origin: Origin
) -> None:
    elsewhere = Status(400, {"x-amz-bucket-region": "eu-west-3"}, xml("AuthorizationHeaderMalformed"))
    origin.fail("data/k", elsewhere, times=1)
    origin.fail("data/k", EXPIRED, times=None, when=signed_with(KEYS))
    assert (await read(connect(Renewable(KEYS)), REF))[2] == b"0123456789"
    assert [unsigned(each) for each in origin.requests] == [False, False, True]


async def test_after_a_minute_the_credentials_are_tried_again(connect, origin: Origin, clock) -> None:
    origin.fail("data/k", EXPIRED, times=1, when=signed_with(KEYS))
    store = connect(Renewable(KEYS))
    await read(store, REF)
    clock.shift(UNSIGNED_S)
    await read(store, REF)
    assert [unsigned(each) for each in origin.requests] == [False, True, False]


async def test_new_credentials_are_used_at_once(connect, origin: Origin) -> None:
    origin.fail("data/k", EXPIRED, times=None, when=signed_with(KEYS))
    credentials = Renewable(KEYS)
    store = connect(credentials)
    await read(store, REF)
    credentials.current = NEWER
    await read(store, REF)
    assert [scope(each).split("/")[0] for each in origin.requests] == ["AKIDEXAMPLE", "", "AKIDNEWER"]


async def test_a_private_bucket_says_that_the_credentials_have_to_be_renewed(connect, origin: Origin) -> None:
    origin.fail("data/k", EXPIRED, times=None, when=signed_with(KEYS))
    origin.fail("data/k", DENIED, times=None, when=unsigned)
    store = connect(Renewable(KEYS))
    for _ in range(2):
        with pytest.raises(Unauthenticated, match=r"no longer accepts the credentials of this machine.*renew them"):
            await read(store, REF)
    assert [unsigned(each) for each in origin.requests] == [False, True, True]


async def test_another_bucket_is_still_signed_for(connect, origin: Origin) -> None:
    origin.put("other/k", b"other")
    origin.fail("data/k", EXPIRED, times=None, when=signed_with(KEYS))
    store = connect(Renewable(KEYS))
    await read(store, REF)
    await read(store, ObjectRef("s3", "other", "k"))
    assert [unsigned(each) for each in origin.requests] == [False, True, False]


async def test_keys_that_were_given_are_never_left_out(connect, origin: Origin) -> None:
    origin.fail("data/k", EXPIRED, times=None)
    with pytest.raises(Unauthenticated, match=r"the static keys of the configuration.*ExpiredToken"):
        await read(connect(), REF)
    assert [unsigned(each) for each in origin.requests] == [False]


async def test_an_unsigned_request_that_is_rejected_too_is_the_last(connect, origin: Origin) -> None:
    origin.fail("data/k", EXPIRED, times=None)
    credentials = Renewable(KEYS)
    store = connect(credentials)
    for _ in range(2):
        with pytest.raises(Unauthenticated):
            await read(store, REF)
    assert [unsigned(each) for each in origin.requests] == [False, True, True]
    assert credentials.renewals == 1


async def test_a_name_with_keys_of_its_own_is_not_left_unsigned_when_another_name_of_its_bucket_is(
    connect, origin: Origin
) -> None:
    origin.fail("data/k", EXPIRED, times=None, when=signed_with(KEYS))
    own = S3Bucket("data", credentials=Static(NEWER, "the keys of the bucket"))
    store = connect(Renewable(KEYS), buckets={"alias": own})
    for bucket in ("data", "alias", "data"):
        await read(store, ObjectRef("s3", bucket, "k"))
    assert [unsigned(each) for each in origin.requests] == [False, True, False, True]
    origin.fail("data/k", DENIED, times=None)
    with pytest.raises(PermissionDenied, match="the keys of the bucket"):
        await read(store, ObjectRef("s3", "alias", "k"))


async def test_an_anonymous_bucket_is_never_signed_for_nor_its_credentials_renewed(connect, origin: Origin) -> None:
    origin.fail("data/k", EXPIRED, times=None)
    credentials = Renewable(KEYS, later=NEWER)
    with pytest.raises(Unauthenticated, match="anonymous"):
        await read(connect(credentials, buckets={"data": S3Bucket("data", anonymous=True)}), REF)
    assert [unsigned(each) for each in origin.requests] == [True]
    assert credentials.renewals == 0


async def test_refused_access_is_no_reason_to_go_unsigned(connect, origin: Origin) -> None:
    origin.fail("data/k", DENIED, times=None)
    with pytest.raises(PermissionDenied, match="s3:GetObject") as caught:
        await read(connect(Renewable(KEYS, later=NEWER)), REF)
    assert len(origin.requests) == 1
    assert "canary" not in caught.value.message


async def test_without_credentials_requests_are_sent_unsigned(connect, origin: Origin) -> None:
    assert (await read(connect(Renewable(None)), REF))[2] == b"0123456789"
    assert unsigned(origin.requests[0])
    assert "x-amz-date" not in origin.requests[0].headers


# --- errors -------------------------------------------------------------------------------------------------------


async def test_a_forbidden_object_is_missing_where_the_bucket_says_so(connect, origin: Origin) -> None:
    origin.fail("data/k", DENIED, times=None)
    lenient = connect(buckets={"data": S3Bucket("data", missing_403_is_404=True)})
    with pytest.raises(NotFound):
        await read(lenient, REF)
    with pytest.raises(NotFound):
        await lenient.head(REF)


async def test_other_refusals_are_not_taken_for_a_missing_object(connect, origin: Origin) -> None:
    origin.fail("data/k", Status(403, {}, xml("InvalidObjectState")), times=None)
    with pytest.raises(PermissionDenied, match="restore it first"):
        await read(connect(buckets={"data": S3Bucket("data", missing_403_is_404=True)}), REF)


async def test_a_page_that_refuses_is_not_taken_for_a_missing_object(connect, origin: Origin) -> None:
    origin.fail("data/k", Status(403, {}, b"<html>this page is blocked</html>"), times=None)
    with pytest.raises(PermissionDenied):
        await read(connect(buckets={"data": S3Bucket("data", missing_403_is_404=True)}), REF)


async def test_slow_down_is_throttling(connect, origin: Origin) -> None:
    origin.fail("data/k", Status(503, {"Retry-After": "3"}, xml("SlowDown")))
    with pytest.raises(TransientError) as caught:
        await read(connect(), REF)
    assert (caught.value.throttled, caught.value.retry_after_s) == (True, 3.0)


async def test_a_missing_object_is_not_found_and_a_pinned_one_gone(connect, origin: Origin) -> None:
    store = connect()
    meta, _, _ = await read(store, REF)
    origin.fail("data/k", Status(404, {}, xml("NoSuchKey")), times=2)
    with pytest.raises(GenerationGone):
        await read(store, REF, if_match=meta)
    with pytest.raises(NotFound):
        await read(store, REF)


def test_nothing_shows_the_secrets(clock) -> None:
    dialect = S3Dialect(credentials=Static(KEYS, STATIC), clock=clock, endpoint="https://s3.example.org/")
    assert repr(dialect) == "<S3Dialect https://s3.example.org>"
    assert "canary" not in repr(vars(dialect))


# --- versions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", [{}, {"x-amz-version-id": "v2"}])
async def test_an_answer_that_does_not_name_the_version_asked_for_is_refused(said, connect, origin: Origin) -> None:
    """A service without versions answers with the current one, whatever it was asked for."""
    origin.put("data/k", b"newer", etag='"v2"', headers=said)
    versioned = ObjectRef("s3", "data", "k", "v1")
    with pytest.raises(InvalidAnswer, match="x-amz-version-id"):
        await read(connect(), versioned)
    with pytest.raises(InvalidAnswer, match="x-amz-version-id"):
        await connect().head(versioned)


async def test_the_version_null_need_not_be_named(connect, origin: Origin) -> None:
    assert (await read(connect(), ObjectRef("s3", "data", "k", "null")))[2] == b"0123456789"
