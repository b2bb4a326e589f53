"""The GCS provider over an origin that knows conditions, says 401 and 403, and lies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rangecache.errors import (
    BadRequest,
    ConfigurationError,
    GenerationGone,
    InvalidAnswer,
    NotFound,
    NotListable,
    OriginError,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
)
from rangecache.model import ObjectRef
from rangecache.origin.base import GetResult, NotModified
from rangecache.origin.credentials import Anonymous, Static
from rangecache.origin.providers.gcs import GcsBucket, GcsDialect
from rangecache.origin.unsigned import UNSIGNED_S
from rangecache.origin.web import MinRate, WebStore
from rangecache.ranges import ByteRange
from rangecache.testing.faults import Headers, OtherETag, Status

from .reading import meta_of, read

if TYPE_CHECKING:
    from rangecache.testing.origin import Origin

REF = ObjectRef("gs", "data", "k")


class Ambient:
    """A token that was found by looking around, and perhaps a second one."""

    may_go_unsigned = True
    signs = True

    def __init__(self, *tokens: str) -> None:
        self.tokens = list(tokens)
        self.renewals = 0

    async def get(self) -> str:
        return self.tokens[0]

    async def renew(self) -> bool:
        self.renewals += 1
        if len(self.tokens) > 1:
            del self.tokens[0]
            return True
        return False

    def describe(self) -> str:
        return "the application default credentials of this machine"

    async def aclose(self) -> None:
        pass


@pytest.fixture
def connect(session, origin: Origin, clock):
    put(origin, b"0123456789", 17)

    def make(credentials=None, **options) -> WebStore:
        dialect = GcsDialect(
            endpoint=origin.url, credentials=credentials or Static("canary", "the token"), clock=clock, **options
        )
        return WebStore(session, dialect, clock=clock, first_byte_timeout_s=10, min_rate=MinRate(16 * 1024, 10))

    return make


def put(origin: Origin, data: bytes, generation: int, etag: str = '"checksum"') -> None:
    origin.put("data/k", data, etag=etag, headers={"x-goog-generation": str(generation)})


def xml(code: str) -> bytes:
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>canary</Message></Error>".encode()


def json_error(reason: str) -> bytes:
    return f'{{"error": {{"code": 0, "message": "canary", "errors": [{{"reason": "{reason}"}}]}}}}'.encode()


# --- versions -----------------------------------------------------------------------------------------------------


async def test_a_confirmation_is_asked_for_by_the_tag_of_the_origin(connect, origin: Origin) -> None:
    store = connect()
    known = await meta_of(store, REF)
    assert (str(known.e_tag), known.headers["etag"]) == ('"17"', '"checksum"')
    async with store.get(REF, range=ByteRange(0, 2), if_none_match=known) as answer:
        assert isinstance(answer, NotModified)
    assert origin.requests[-1].headers["if-none-match"] == '"checksum"'


async def test_the_same_bytes_under_another_generation_are_sent_anew_and_not_confirmed(connect, origin) -> None:
    """Its old generation could not be read any more."""
    store = connect()
    known = await meta_of(store, REF)
    put(origin, b"0123456789", 18)
    async with store.get(REF, if_none_match=known) as answer:
        assert isinstance(answer, GetResult)
        assert answer.meta.validator == "generation 18"


async def test_a_pinned_read_that_gets_another_generation_is_refused(connect, origin: Origin) -> None:
    store = connect()
    known = await meta_of(store, REF)
    put(origin, b"9876543210", 18)
    with pytest.raises(GenerationGone):
        await read(store, REF, ByteRange(0, 2), if_match=known)
    assert origin.requests[-1].target == "/data/k?generation=17"


async def test_without_a_generation_nothing_is_kept(connect, origin: Origin) -> None:
    origin.fail("data/k", Headers({"x-goog-generation": None}), OtherETag())
    assert (await read(connect(), REF))[0].generation == ""


@pytest.mark.parametrize(
    "headers",
    [
        {"x-goog-stored-content-encoding": "gzip"},
        {"x-goog-stored-content-encoding": "gzip", "Content-Length": None, "Transfer-Encoding": None},
        {"x-goog-stored-content-encoding": "identity", "Content-Encoding": "gzip"},
        {"Warning": "214 UploadServer gunzipped"},
    ],
)
async def test_what_was_recoded_on_its_way_is_refused(connect, origin: Origin, headers) -> None:
    store = connect()
    for ask in (meta_of(store, REF), read(store, REF), read(store, REF, ByteRange(1, 3))):
        origin.fail("data/k", Headers(headers))
        with pytest.raises(InvalidAnswer, match="has compressed or decompressed"):
            await ask


# --- who asks, who pays -------------------------------------------------------------------------------------------


async def test_a_token_and_the_project_that_pays_are_sent(connect, origin: Origin) -> None:
    store = connect(buckets={"data": GcsBucket("data", billed_project="my-project")})
    await read(store, REF)
    headers = origin.requests[-1].headers
    assert headers["authorization"] == "Bearer canary"
    assert headers["x-goog-user-project"] == "my-project"


async def test_an_anonymous_bucket_gets_no_token(connect, origin: Origin) -> None:
    await read(connect(buckets={"data": GcsBucket("data", anonymous=True)}), REF)
    assert "authorization" not in origin.requests[-1].headers


async def test_a_rejected_token_is_renewed_once(connect, origin: Origin) -> None:
    origin.fail("data/k", Status(401), when=lambda request: request.headers["authorization"].endswith("old"))
    ambient = Ambient("old", "new")
    assert (await read(connect(ambient), REF))[2] == b"0123456789"
    assert [each.headers["authorization"] for each in origin.requests] == ["Bearer old", "Bearer new"]


async def test_a_public_bucket_is_read_without_a_token_that_is_rejected_and_later_with_one_again(
    connect, origin: Origin, clock
) -> None:
    origin.fail("data/k", Status(401), times=None, when=lambda request: "authorization" in request.headers)
    ambient = Ambient("old")
    store = connect(ambient)
    for _ in range(3):
        assert (await read(store, REF))[2] == b"0123456789"
    assert ["authorization" in each.headers for each in origin.requests] == [True, False, False, False]
    assert ambient.renewals == 1
    await clock.advance(UNSIGNED_S)
    await read(store, REF)
    assert ["authorization" in each.headers for each in origin.requests[4:]] == [True, False]


async def test_a_bucket_may_have_a_token_of_its_own(connect, origin: Origin) -> None:
    own = GcsBucket("data", credentials=Static("other", "the token of the bucket"))
    store = connect(buckets={"alias": own})
    for bucket in ("alias", "data"):
        await read(store, ObjectRef("gs", bucket, "k"))
    assert [each.headers["authorization"] for each in origin.requests] == ["Bearer other", "Bearer canary"]
    origin.fail("data/k", Status(401), times=None)
    with pytest.raises(Unauthenticated, match="does not accept the token of the bucket"):
        await read(store, ObjectRef("gs", "alias", "k"))


async def test_a_token_that_was_asked_for_by_name_is_never_left_out(connect, origin: Origin) -> None:
    origin.fail("data/k", Status(401, body=xml("AuthenticationRequired")), times=None)
    with pytest.raises(Unauthenticated, match="does not accept the token"):
        await read(connect(), REF)
    assert len(origin.requests) == 1


async def test_an_expired_login_for_a_private_bucket_says_what_renews_it(connect, origin: Origin) -> None:
    origin.fail("data/k", Status(401), times=None)
    with pytest.raises(Unauthenticated, match="gcloud auth application-default login"):
        await read(connect(Ambient("old")), REF)


def test_a_token_never_crosses_the_network_in_clear(clock) -> None:
    for credentials in (Static("canary", "the token"), Ambient("canary")):
        with pytest.raises(ConfigurationError, match="in the clear"):
            GcsDialect(credentials=credentials, clock=clock, endpoint="http://gcs.example.org")
        bucket = GcsBucket("data", credentials=credentials)
        with pytest.raises(ConfigurationError, match="in the clear"):
            GcsDialect(
                credentials=Anonymous(), clock=clock, endpoint="http://gcs.example.org", buckets={"data": bucket}
            )
    GcsDialect(credentials=Anonymous(), clock=clock, endpoint="http://gcs.example.org")


# --- errors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "kind", "says"),
    [
        (404, xml("NoSuchKey"), NotFound, "no object gs/data/k"),
        (404, xml("NoSuchBucket"), NotFound, "no bucket gs/data"),
        (404, json_error("notFound"), NotFound, "no object"),
        (404, b'{"error": {"code": 404, "errors": [{"reason": "Not Found"}]}}', NotFound, "no object"),
        (404, b"Not Found\n", NotFound, "no object"),  # fake-gcs-server
        (403, xml("AccessDenied"), PermissionDenied, r"the token.*storage\.objects\.get.*roles/storage\.objectViewer"),
        (403, json_error("forbidden"), PermissionDenied, r"storage\.objects\.get on bucket gs/data"),
        (401, json_error("authError"), Unauthenticated, "the token"),
        (400, xml("UserProjectMissing"), PermissionDenied, "requester_pays: true"),
        (403, xml("UserProjectAccessDenied"), PermissionDenied, r"serviceusage\.services\.use"),
        (429, json_error("rateLimitExceeded"), Unavailable, "fewer requests"),
        (403, json_error("userRateLimitExceeded"), Unavailable, "fewer requests"),
        (503, xml("ServiceUnavailable"), Unavailable, "fewer requests"),
        (500, xml("InternalError"), Unavailable, "failed"),
        (408, b"", Unavailable, "failed"),
        (400, b"<Error>canary", InvalidAnswer, "unexpectedly"),
        (302, b"", InvalidAnswer, "redirects"),
    ],
)
async def test_each_answer_means_one_error_that_says_what_to_do(
    status: int, body: bytes, kind: type[OriginError], says: str, connect, origin: Origin
) -> None:
    origin.fail("data/k", Status(status, {"Retry-After": "7"}, body))
    with pytest.raises(kind, match=says) as caught:
        await read(connect(), REF)
    assert "canary" not in str(caught.value)
    if isinstance(caught.value, Unavailable):
        assert caught.value.retry_after_s == 7
        assert caught.value.throttled == (says == "fewer requests")


@pytest.mark.parametrize("status", [404, 410])
@pytest.mark.parametrize("body", [b"<html><title>404 Not Found</title></html>", b"404 page not found\n", b""])
async def test_a_404_of_somebody_in_between_says_nothing_of_the_object(connect, origin, status, body) -> None:
    store = connect()
    for ask in (read(store, REF), store.list_page(REF)):
        origin.fail(None, Status(status, {"Server": "nginx"}, body))
        with pytest.raises(InvalidAnswer, match="does not speak as Google Cloud Storage does"):
            await ask
    origin.fail(None, Status(status, {"X-GUploader-UploadID": "an-upload"}, body))
    with pytest.raises(NotFound):
        await read(store, REF)


async def test_a_404_to_a_head_is_believed_unless_it_is_a_page(connect, origin: Origin) -> None:
    origin.fail("data/k", Status(404, {"Content-Type": "text/plain; charset=utf-8"}))
    with pytest.raises(NotFound):
        await connect().head(REF)
    origin.fail("data/k", Status(404, {"Content-Type": "text/html"}))
    with pytest.raises(InvalidAnswer):
        await connect().head(REF)


async def test_a_refusal_to_nobody_asks_for_credentials(connect, origin: Origin) -> None:
    for status in (401, 403):
        origin.fail("data/k", Status(status, body=xml("AccessDenied")))
        with pytest.raises(PermissionDenied, match=r"unless the bucket is public.*storage\.objects\.get"):
            await read(connect(Anonymous()), REF)


async def test_a_refusal_means_a_missing_object_only_where_that_is_configured(connect, origin: Origin) -> None:
    buckets = {"data": GcsBucket("data", missing_403_is_404=True)}
    origin.fail("data/k", Status(403, body=xml("AccessDenied")))
    with pytest.raises(NotFound):
        await read(connect(buckets=buckets), REF)
    origin.fail("data/k", Status(401, body=xml("AccessDenied")))
    with pytest.raises(NotFound):
        await read(connect(Anonymous(), buckets=buckets), REF)
    origin.fail("data/k", Status(403, body=b"<html>this page is blocked</html>"))
    with pytest.raises(PermissionDenied):
        await read(connect(buckets=buckets), REF)
    origin.fail("data/k", Status(401))
    with pytest.raises(Unauthenticated):
        await read(connect(buckets=buckets), REF)


async def test_a_listing_that_is_refused_names_its_own_permission(connect, origin: Origin) -> None:
    origin.fail(None, Status(403, body=json_error("forbidden")))
    buckets = {"data": GcsBucket("data", missing_403_is_404=True)}
    with pytest.raises(PermissionDenied, match=r"the listing of gs/data.*storage\.objects\.list"):
        await connect(buckets=buckets).list_page(REF)


# --- names and listings -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["", "k" * 1025, "a/../b", "./a", "..", "a/.", "\ud800"])
async def test_a_key_that_cannot_be_asked_for_here_is_refused_before_anything_is_sent(connect, origin, key) -> None:
    with pytest.raises(BadRequest):
        await read(connect(), REF._replace(key=key))
    assert not origin.requests


async def test_google_itself_is_asked_for_a_key_with_dots_as_for_one_segment(clock) -> None:
    dialect = GcsDialect(credentials=Anonymous(), clock=clock)
    target = await dialect.target("GET", ObjectRef("gs", "data", "a/../b"), {})
    assert str(target.url) == "https://storage.googleapis.com/data/a%2F..%2Fb"


@pytest.mark.parametrize("version", ["", "x", "1&alt=media", "1" * 20, "١"])
async def test_what_is_no_generation_is_refused(connect, origin: Origin, version: str) -> None:
    with pytest.raises(BadRequest, match="generation is a number"):
        await read(connect(), REF._replace(version=version))
    assert not origin.requests


async def test_buckets_are_those_of_a_project(connect, origin: Origin) -> None:
    origin.put("storage/v1/b", b'{"items": [{"name": "one"}, {"name": "two"}], "nextPageToken": "t/1"}')
    page = await connect(project="my-project").bucket_page("gs")
    assert (list(page.names), page.next) == (["one", "two"], "t/1")
    assert "project=my-project" in origin.requests[-1].target
    await connect(project="my-project").bucket_page("gs", at="t/1")
    assert "pageToken=t%2F1" in origin.requests[-1].target
    with pytest.raises(NotListable, match="once its project is configured"):
        await connect().bucket_page("gs")
    with pytest.raises(NotListable, match="without credentials"):
        await connect(Anonymous(), project="my-project").bucket_page("gs")
    origin.fail(None, Status(403, body=json_error("forbidden")))
    with pytest.raises(PermissionDenied, match=r"storage\.buckets\.list"):
        await connect(project="my-project").bucket_page("gs")


@pytest.mark.parametrize(
    "page",
    [
        b"",
        b"[]",
        b"<html>",
        b'{"error": {}}',
        b'{"kind": "storage#buckets"}',
        b'{"items": {}}',
        b'{"items": [1]}',
        b'{"items": [{"name": "a", "size": 1, "generation": "1"}]}',
        b'{"items": [{"name": "a", "size": "-1", "generation": "1"}]}',
        b'{"items": [{"name": "a", "size": "1"}]}',
        b'{"prefixes": [1]}',
        b'{"nextPageToken": 1}',
    ],
)
async def test_what_is_no_listing_is_refused(connect, origin: Origin, page: bytes) -> None:
    origin.put("storage/v1/b/data/o", page)
    with pytest.raises(InvalidAnswer):
        await connect().list_page(REF)
