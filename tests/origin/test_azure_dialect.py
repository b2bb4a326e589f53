"""The Azure provider against an origin that plays Azure: names, credentials that are rejected, error answers.

What went over the wire is read in the origin's own log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from multidict import CIMultiDict

from rangecache.errors import (
    BadRequest,
    ConfigurationError,
    InvalidAnswer,
    NotFound,
    NotListable,
    OriginError,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
)
from rangecache.model import ObjectRef
from rangecache.origin.credentials import Anonymous, Static
from rangecache.origin.dialect import Answer
from rangecache.origin.providers.azure import AzureBucket, AzureDialect
from rangecache.origin.providers.azure_address import Endpoint, container_fault
from rangecache.origin.providers.azure_errors import Sent, explain
from rangecache.origin.providers.azure_listing import read_containers, read_page
from rangecache.origin.providers.azure_signing import API_VERSION, AccountKey, Bearer, Sas, prove, string_to_sign
from rangecache.origin.size_first import TRIES, SizeFirst
from rangecache.origin.web import MinRate, WebStore
from rangecache.ranges import ByteRange, SuffixRange
from rangecache.testing.faults import Status

from .reading import read

if TYPE_CHECKING:
    from rangecache.origin.providers.azure_signing import AzureCredential
    from rangecache.origin.session import WebSession
    from rangecache.testing.clock import ManualClock
    from rangecache.testing.origin import Origin

REF = ObjectRef("az", "data", "k")
SAS = Sas("sv=2023-11-03&sig=canary-one")
NEWER = Sas("sv=2023-11-03&sig=canary-two")


class Found:
    """Credentials found by looking around, which a test replaces."""

    may_go_unsigned = True

    def __init__(self, current: AzureCredential | None, later: AzureCredential | None = None) -> None:
        self.current = current
        self.later = later
        self.renewals = 0

    @property
    def signs(self) -> bool:
        return self.current is not None

    async def get(self) -> AzureCredential | None:
        return self.current

    async def renew(self) -> bool:
        self.renewals += 1
        if self.later is None:
            return False
        self.current, self.later = self.later, None
        return True

    def describe(self) -> str:
        return "the Azure credentials of this machine's environment"

    async def aclose(self) -> None:
        pass


@pytest.fixture
def connect(session: WebSession, origin: Origin, clock: ManualClock):
    """A store over the origin; its objects are put under `demo/container/key`."""
    origin.put("demo/data/k", b"0123456789", etag='"0x8D"')

    def make(credentials=None, **buckets: AzureBucket) -> SizeFirst:
        dialect = AzureDialect(
            endpoint=Endpoint.parse(f"{origin.url}demo"),
            credentials=credentials or Static(SAS, "the SAS token of the configuration"),
            clock=clock,
            buckets=buckets,
        )
        return SizeFirst(
            WebStore(session, dialect, clock=clock, first_byte_timeout_s=10, min_rate=MinRate(16 * 1024, 10))
        )

    return make


def says(status: int, code: str, **headers: str) -> Status:
    return Status(status, {"x-ms-error-code": code, **headers}, b"<Error><Message>canary</Message></Error>")


# --- signing ------------------------------------------------------------------------------------------------------


def test_the_documented_example_is_signed_to_the_letter() -> None:
    """From "Authorize with Shared Key": Get Container Metadata, whose headers are these two."""
    headers = {"x-ms-date": "Fri, 26 Jun 2015 23:39:12 GMT", "x-ms-version": "2015-02-21"}
    url = "https://myaccount.blob.core.windows.net/mycontainer?restype=container&comp=metadata&timeout=20"
    assert string_to_sign("GET", url, headers, "myaccount") == (
        "GET\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:Fri, 26 Jun 2015 23:39:12 GMT\nx-ms-version:2015-02-21"
        "\n/myaccount/mycontainer\ncomp:metadata\nrestype:container\ntimeout:20"
    )


def test_a_range_and_a_condition_are_part_of_what_is_signed() -> None:
    text = string_to_sign("GET", "https://a/b/c", {"Range": "bytes=0-9", "If-Match": '"0x8D"'}, "a")
    assert text.split("\n")[1:12] == ["", "", "", "", "", "", "", '"0x8D"', "", "", "bytes=0-9"]


def test_each_kind_of_credential_is_carried_in_its_place() -> None:
    url, headers = prove("GET", "https://a/b/c?snapshot=1", {}, SAS, now_s=0)
    assert (url, headers) == (f"https://a/b/c?snapshot=1&{SAS.query}", {"x-ms-version": API_VERSION})
    _, headers = prove("GET", "https://a/b/c", {}, Bearer("token"), now_s=0)
    assert headers["Authorization"] == "Bearer token"
    _, headers = prove("GET", "https://a/b/c", {}, AccountKey("acc", b"key"), now_s=0)
    assert headers["x-ms-date"] == "Thu, 01 Jan 1970 00:00:00 GMT"
    assert headers["Authorization"].startswith("SharedKey acc:")
    assert "canary" not in repr(SAS)


# --- names --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("endpoint", "account", "bucket", "address"),
    [
        (None, None, "demo.data", "https://demo.blob.core.windows.net/data/k"),
        (None, "demo", "data", "https://demo.blob.core.windows.net/data/k"),
        ("https://blob.core.usgovcloudapi.net", None, "demo.data", "https://demo.blob.core.usgovcloudapi.net/data/k"),
        ("https://blob.core.usgovcloudapi.net", "demo", "data", "https://demo.blob.core.usgovcloudapi.net/data/k"),
        ("https://demo.blob.core.windows.net", None, "$web", "https://demo.blob.core.windows.net/$web/k"),
        ("http://127.0.0.1:10000/demo", None, "data", "http://127.0.0.1:10000/demo/data/k"),
        ("http://127.0.0.1:10000/demo", "demo", "data", "http://127.0.0.1:10000/demo/data/k"),
    ],
)
def test_a_bucket_is_a_container_of_the_account_that_is_known(endpoint, account, bucket: str, address: str) -> None:
    place = Endpoint.parse(endpoint, account).place(bucket)
    assert (place.account, place.blob("k")) == ("demo", address)


@pytest.mark.parametrize("bucket", ["data", "de-mo.data", "demo.da--ta", "demo.", ".data", "demo.x.y", "demo.DATA"])
def test_without_an_account_a_bucket_has_to_name_it(bucket: str) -> None:
    with pytest.raises(BadRequest):
        Endpoint.parse(None).place(bucket)


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:10000", "ftp://x/y", "https://u@x/y", "https://x/y?sig=z"])
def test_an_endpoint_that_says_too_little_or_too_much_is_refused(endpoint: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Endpoint.parse(endpoint)
    assert "sig" not in str(caught.value)


def test_the_credentials_of_another_account_than_the_endpoints_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="account one, the credentials are of two"):
        Endpoint.parse("https://one.blob.core.windows.net", "two")


@pytest.mark.parametrize(("name", "fits"), [("a" * 63, True), ("a" * 64, False), ("a-b", True), ("-ab", False)])
def test_names_of_containers(name: str, fits: bool) -> None:
    assert (container_fault(name) == "") is fits


@pytest.mark.parametrize("key", ["../other/k", "a/../../other/k", "a/./b", "..\\other", "x" * 1025])
async def test_a_key_that_would_lead_elsewhere_is_refused_before_anything_is_sent(key: str, connect, origin) -> None:
    with pytest.raises(BadRequest):
        await read(connect(), REF._replace(key=key))
    assert origin.requests == []


@pytest.mark.parametrize("version", ["versionid", "versionid=", "snapshot=x&sig=y", "versionId=2026-01-31T00:00:00Z"])
async def test_a_version_that_is_no_time_is_refused(version: str, connect, origin) -> None:
    with pytest.raises(BadRequest):
        await read(connect(), REF._replace(version=version))
    assert origin.requests == []


async def test_a_version_and_a_snapshot_of_the_same_time_are_two_objects(connect, origin: Origin) -> None:
    moment = "2026-01-31T23:59:59.1234567Z"
    metas = [(await read(connect(), REF._replace(version=f"{name}={moment}")))[0] for name in ("versionid", "snapshot")]
    assert metas[0].generation != metas[1].generation
    asked = [each.target.partition("?")[2].partition("&")[0] for each in origin.requests]
    assert asked == [f"{name}=2026-01-31T23%3A59%3A59.1234567Z" for name in ("versionid", "snapshot")]


# --- suffixes -----------------------------------------------------------------------------------------------------


async def test_no_suffix_range_is_ever_sent(connect, origin: Origin, clock: ManualClock) -> None:
    assert (await read(connect(), REF, SuffixRange(3)))[2] == b"789"
    assert [each.headers.get("range") for each in origin.requests] == [None, "bytes=7-9"]
    dialect = AzureDialect(endpoint=Endpoint.parse(None), credentials=Anonymous(), clock=clock)
    with pytest.raises(BadRequest):
        await dialect.target("GET", ObjectRef("az", "demo.data", "k"), {"Range": "bytes=-3"})


async def test_the_end_of_an_empty_blob_is_empty(connect, origin: Origin) -> None:
    origin.put("demo/data/empty", b"", etag='"0x0"')
    assert (await read(connect(), REF._replace(key="empty"), SuffixRange(3)))[1:] == (ByteRange(0, 0), b"")


async def test_a_blob_that_is_overwritten_between_size_and_bytes_is_asked_for_anew(connect, origin: Origin) -> None:
    seen = []

    async def overwrite(request) -> None:
        seen.append(request.method)
        if seen == ["HEAD", "GET"]:
            origin.put("demo/data/k", b"a longer one", etag='"0x8E"')

    origin.on_request = overwrite
    assert (await read(connect(), REF, SuffixRange(3)))[2] == b"one"
    assert seen == ["HEAD", "GET", "HEAD", "GET"]


async def test_a_blob_that_is_overwritten_all_the_time_is_given_up(connect, origin: Origin) -> None:
    async def overwrite(request) -> None:
        if request.method == "GET":
            origin.put("demo/data/k", b"0123456789", etag=f'"{len(origin.requests)}"')

    origin.on_request = overwrite
    with pytest.raises(Unavailable):
        await read(connect(), REF, SuffixRange(3))
    assert len(origin.requests) == 2 * TRIES


# --- credentials that are rejected --------------------------------------------------------------------------------


async def test_rejected_credentials_are_renewed_once_and_the_request_is_sent_again(connect, origin: Origin) -> None:
    origin.fail(None, says(403, "AuthenticationFailed"), when=lambda each: "canary-one" in each.target)
    found = Found(SAS, later=NEWER)
    assert (await read(connect(found), REF))[2] == b"0123456789"
    assert (found.renewals, len(origin.requests)) == (1, 2)


async def test_an_expired_login_does_not_keep_anybody_from_a_public_container(connect, origin: Origin) -> None:
    origin.fail(None, says(401, "InvalidAuthenticationInfo"), times=99, when=lambda each: "sig=" in each.target)
    store = connect(Found(SAS))
    assert (await read(store, REF))[2] == b"0123456789"
    assert (await read(store, REF))[2] == b"0123456789"
    assert ["sig=" in each.target for each in origin.requests] == [True, False, False]


async def test_a_private_container_behind_an_expired_login_says_how_to_renew_it(connect, origin: Origin) -> None:
    origin.fail(None, says(401, "InvalidAuthenticationInfo"), times=99, when=lambda each: "sig=" in each.target)
    origin.fail(None, says(404, "ResourceNotFound"), times=99, when=lambda each: "sig=" not in each.target)
    with pytest.raises(Unauthenticated, match="az login"):
        await read(connect(Found(SAS)), REF)


async def test_a_container_may_have_credentials_of_its_own(connect, origin: Origin) -> None:
    own = AzureBucket("data", credentials=Static(NEWER, "the SAS token of the container"))
    store = connect(alias=own)
    for bucket in ("alias", REF.bucket):
        await read(store, ObjectRef(REF.provider, bucket, "k"))
    assert [NEWER.query in each.target for each in origin.requests] == [True, False]
    origin.fail(None, says(403, "AuthenticationFailed"), times=99)
    with pytest.raises(Unauthenticated, match="the SAS token of the container"):
        await read(store, ObjectRef(REF.provider, "alias", "k"))


async def test_a_configured_credential_is_never_left_away(connect, origin: Origin) -> None:
    origin.fail(None, says(403, "AuthenticationFailed"), times=99)
    with pytest.raises(Unauthenticated, match="the SAS token of the configuration"):
        await read(connect(), REF)
    assert all("sig=" in each.target for each in origin.requests)


async def test_a_token_is_never_sent_over_plain_http(connect, origin: Origin) -> None:
    with pytest.raises(Unauthenticated, match="plain http"):
        await read(connect(Static(Bearer("canary"), "a token")), REF)
    assert origin.requests == []
    assert (await read(connect(Found(Bearer("canary"))), REF))[2] == b"0123456789"
    assert all("authorization" not in each.headers for each in origin.requests)


async def test_nothing_of_a_signature_is_in_an_error_or_the_metadata(connect, origin: Origin) -> None:
    meta, _, _ = await read(connect(), REF)
    assert "canary" not in repr(meta)
    for status in (400, 403, 404, 409, 412, 416, 500, 503):
        origin.fail(None, says(status, "Whatever"))
        with pytest.raises(OriginError) as caught:
            await read(connect(), REF)
        assert "canary" not in str(caught.value)


# --- errors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code", "kind", "text"),
    [
        (404, "BlobNotFound", NotFound, "no object az/data/k"),
        (404, "ContainerNotFound", NotFound, "no container az/data"),
        (404, "ResourceNotFound", NotFound, "ResourceNotFound"),
        (404, "", InvalidAnswer, "check the endpoint"),
        (404, "QueueNotFound", InvalidAnswer, "QueueNotFound"),
        (403, "AuthenticationFailed", Unauthenticated, "the key of account demo"),
        (401, "NoAuthenticationInformation", Unauthenticated, "renew or correct"),
        (403, "AuthorizationFailure", PermissionDenied, "Storage Blob Data Reader"),
        (403, "AuthorizationPermissionMismatch", PermissionDenied, "Storage Blob Data Reader"),
        (403, "AuthorizationSourceIPMismatch", PermissionDenied, "address of this machine"),
        (403, "KeyBasedAuthenticationNotPermitted", PermissionDenied, "does not take account keys"),
        (409, "BlobArchived", PermissionDenied, "rehydrate"),
        (409, "BlobBeingRehydrated", PermissionDenied, "rehydrate"),
        (409, "ContainerBeingDeleted", Unavailable, "ContainerBeingDeleted"),
        (500, "InternalError", Unavailable, "InternalError"),
        (500, "OperationTimedOut", Unavailable, "OperationTimedOut"),
        (502, "", Unavailable, "502"),
        (400, "InvalidQueryParameterValue", InvalidAnswer, "version or snapshot"),
        (400, "InvalidUri", InvalidAnswer, "InvalidUri"),
        (307, "", InvalidAnswer, "endpoint"),
        (403, "not a code <canary>", PermissionDenied, "(403)"),
    ],
)
def test_an_error_answer_means(status: int, code: str, kind: type[OriginError], text: str) -> None:
    answer = Answer(status, CIMultiDict({"x-ms-error-code": code} if code else {}), b"canary")
    error = explain(answer, REF, Sent("the key of account demo", signed=True))
    assert type(error) is kind
    assert text in error.message
    assert "canary" not in error.message


@pytest.mark.parametrize(
    ("status", "code"), [(404, "ResourceNotFound"), (409, "PublicAccessNotPermitted"), (403, ""), (401, "")]
)
def test_who_asks_without_credentials_is_not_told_that_something_is_missing(status: int, code: str) -> None:
    answer = Answer(status, CIMultiDict({"x-ms-error-code": code}), b"")
    error = explain(answer, REF, Sent("requests without credentials (anonymous)", signed=False))
    assert type(error) is PermissionDenied
    assert "Storage Blob Data Reader" in error.message


def test_the_listing_of_containers_takes_another_role() -> None:
    error = explain(Answer(403, CIMultiDict()), ObjectRef("az", "", ""), Sent("this pod's workload identity", True))
    assert "role Reader on the account" in error.message


@pytest.mark.parametrize(("status", "code"), [(503, "ServerBusy"), (503, ""), (429, ""), (500, "ServerBusy")])
def test_a_request_for_less_is_throttling_with_the_pause_that_was_asked_for(status: int, code: str) -> None:
    headers = CIMultiDict({"x-ms-error-code": code, "Retry-After": "7"})
    error = explain(Answer(status, headers), REF, Sent("x", signed=True))
    assert isinstance(error, Unavailable)
    assert (error.throttled, error.retry_after_s) == (True, 7.0)


async def test_missing_403_is_404_where_it_is_said(connect, origin: Origin) -> None:
    origin.fail(None, says(403, "AuthorizationFailure"))
    with pytest.raises(NotFound, match="missing_403_is_404"):
        await read(connect(data=AzureBucket("data", missing_403_is_404=True)), REF)
    origin.fail(None, Status(403, {}, b"<html>this page is blocked</html>"))
    with pytest.raises(PermissionDenied):
        await read(connect(data=AzureBucket("data", missing_403_is_404=True)), REF)
    origin.fail(None, says(403, "AuthenticationFailed"))
    with pytest.raises(Unauthenticated):
        await read(connect(data=AzureBucket("data", missing_403_is_404=True)), REF)


# --- listings -----------------------------------------------------------------------------------------------------

BLOBS = """<?xml version="1.0" encoding="utf-8"?><EnumerationResults ServiceEndpoint="https://demo/"><Prefix>a</Prefix>
<Blobs><Blob><Name>a/b &amp; c</Name><Properties><Last-Modified>Fri, 26 Jun 2015 23:39:12 GMT</Last-Modified>
<Etag>0x8D</Etag><Content-Length>7</Content-Length></Properties></Blob>
<Blob><Name Encoded="true">a/%EF%BF%BE</Name><Properties><Content-Length>1</Content-Length></Properties></Blob>
<Blob><Name>a/folder</Name><Properties><ResourceType>directory</ResourceType><Content-Length>0</Content-Length>
</Properties></Blob><BlobPrefix><Name>a/d/</Name></BlobPrefix></Blobs><NextMarker>more!</NextMarker>
</EnumerationResults>"""


def test_a_page_of_blobs_is_read() -> None:
    page = read_page(b"\xef\xbb\xbf" + BLOBS.encode())
    assert [(each.key, each.size, each.e_tag and each.e_tag.opaque) for each in page.objects] == [
        ("a/b & c", 7, "0x8D"),
        ("a/\ufffe", 1, None),
    ]
    assert (page.prefixes, page.next) == (["a/d/"], "more!")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html/>",
        b"<EnumerationResults/>",
        BLOBS.encode()[:-40],
        BLOBS.replace("<Content-Length>7</Content-Length>", "").encode(),
        b"<!DOCTYPE x [<!ENTITY a 'b'>]>" + BLOBS.partition("?>")[2].encode(),
    ],
)
def test_what_is_no_whole_page_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidAnswer):
        read_page(body)


def test_a_page_of_containers_is_read() -> None:
    body = b"<EnumerationResults><Containers><Container><Name>one</Name><Properties><Etag>x</Etag></Properties>"
    body += b"</Container><Container><Name>two</Name></Container></Containers><NextMarker/></EnumerationResults>"
    page = read_containers(body)
    assert (list(page.names), page.next) == (["one", "two"], None)


async def test_containers_are_listed_only_for_an_account_and_with_credentials(connect, clock: ManualClock) -> None:
    with pytest.raises(NotListable, match="without credentials"):
        await connect(Anonymous()).bucket_page("az")
    anywhere = AzureDialect(endpoint=Endpoint.parse(None), credentials=Static(SAS, "x"), clock=clock)
    with pytest.raises(NotListable, match=r"credentials\.account"):
        await anywhere.bucket_listing("az", None)
