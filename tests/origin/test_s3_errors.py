"""What error answers of S3 mean, and that their bodies are read with care and never shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from rangecache.errors import (
    InvalidAnswer,
    NotFound,
    OriginError,
    PermissionDenied,
    TransientError,
    Unauthenticated,
    Unavailable,
)
from rangecache.model import ObjectRef
from rangecache.origin.dialect import Answer
from rangecache.origin.providers.s3_errors import ErrorBody, Sent, explain, read_error, region_told, rejects_credentials

REF = ObjectRef("s3", "data", "some/key")


def xml(code: str, more: str = "") -> bytes:
    text = f"<Error><Code>{code}</Code><Message>canary &lt;key&gt;</Message>{more}<RequestId>canary</RequestId></Error>"
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + text.encode()


def answer(status: int, body: bytes = b"", **headers: str) -> Answer:
    return Answer(status, CIMultiDict({name.replace("_", "-"): value for name, value in headers.items()}), body)


def meaning(given: Answer) -> OriginError:
    return explain(given, REF, Sent("the credentials of profile dev", signed=True, region="us-east-1"))


@pytest.mark.parametrize(
    ("status", "code", "kind", "says"),
    [
        (404, "NoSuchKey", NotFound, "no object s3/data/some/key"),
        (404, "NoSuchBucket", NotFound, "NoSuchBucket"),
        (404, "NoSuchVersion", NotFound, "NoSuchVersion"),
        (404, "", NotFound, "404"),
        (410, "", NotFound, "410"),
        (403, "AccessDenied", PermissionDenied, "the credentials of profile dev; they need s3:GetObject"),
        (403, "", PermissionDenied, "s3:ListBucket"),
        (403, "AllAccessDisabled", PermissionDenied, "AllAccessDisabled"),
        (403, "InvalidObjectState", PermissionDenied, "restore it first"),
        (401, "", Unauthenticated, "profile dev"),
        (403, "InvalidAccessKeyId", Unauthenticated, "renew or correct"),
        (403, "SignatureDoesNotMatch", Unauthenticated, "the secret is not that of the access key"),
        (400, "ExpiredToken", Unauthenticated, "renew or correct"),
        (400, "InvalidToken", Unauthenticated, "renew or correct"),
        (403, "RequestTimeTooSkewed", Unauthenticated, "clock"),
        (400, "AuthorizationHeaderMalformed", Unauthenticated, "AuthorizationHeaderMalformed"),
        (400, "RequestTimeout", Unavailable, "RequestTimeout"),
        (409, "OperationAborted", Unavailable, "OperationAborted"),
        (500, "InternalError", Unavailable, "InternalError"),
        (500, "", Unavailable, "500"),
        (502, "", Unavailable, "502"),
        (301, "PermanentRedirect", InvalidAnswer, "region or endpoint"),
        (307, "TemporaryRedirect", InvalidAnswer, "region or endpoint"),
        (400, "InvalidRequest", InvalidAnswer, "InvalidRequest"),
        (405, "MethodNotAllowed", InvalidAnswer, "MethodNotAllowed"),
    ],
)
def test_an_error_answer_means(status: int, code: str, kind: type[OriginError], says: str) -> None:
    error = meaning(answer(status, xml(code) if code else b""))
    assert type(error) is kind
    assert says in error.message
    assert "canary" not in error.message


@pytest.mark.parametrize(
    ("status", "code"), [(503, "SlowDown"), (503, ""), (429, ""), (400, "Throttling"), (503, "ServiceUnavailable")]
)
def test_a_request_for_less_is_throttling_with_the_pause_that_was_asked_for(status: int, code: str) -> None:
    error = meaning(answer(status, xml(code) if code else b"", Retry_After="7"))
    assert isinstance(error, TransientError)
    assert (error.throttled, error.retry_after_s) == (True, 7.0)


def test_an_unsigned_request_that_is_refused_is_told_to_bring_credentials() -> None:
    sent = Sent("requests without credentials (none were found)", signed=False, region="us-east-1")
    error = explain(answer(403, xml("AccessDenied")), REF, sent)
    assert isinstance(error, PermissionDenied)
    assert "takes credentials that have s3:GetObject" in error.message
    assert "anonymous: true" not in error.message


def test_a_failure_is_not_throttling() -> None:
    error = meaning(answer(500, xml("InternalError")))
    assert isinstance(error, TransientError)
    assert not error.throttled


def test_a_delete_marker_asked_for_by_version_is_not_found() -> None:
    assert isinstance(meaning(answer(405, xml("MethodNotAllowed"), x_amz_delete_marker="true")), NotFound)


@pytest.mark.parametrize("status", [301, 307, 400])
def test_a_bucket_in_another_region_than_the_configured_one_is_said_to_be_there(status: int) -> None:
    error = meaning(answer(status, x_amz_bucket_region="eu-west-3"))
    assert "in region eu-west-3, but requests are signed for us-east-1" in error.message


def test_the_region_is_read_from_the_header_or_from_the_body() -> None:
    body = xml("AuthorizationHeaderMalformed", "<Region>eu-west-3</Region>")
    assert region_told(answer(400, body)) == "eu-west-3"
    assert region_told(answer(301, body, x_amz_bucket_region="ap-south-1")) == "ap-south-1"
    assert region_told(answer(403, xml("AccessDenied"))) == ""


@pytest.mark.parametrize("region", ["evil.org/", "a b", "EU", "x" * 33, "é", "a\nb", ""])
def test_what_is_no_region_is_not_taken_for_one(region: str) -> None:
    assert region_told(answer(301, x_amz_bucket_region=region)) == ""
    assert region_told(answer(400, xml("AuthorizationHeaderMalformed", f"<Region>{region}</Region>"))) == ""


def test_expired_and_unknown_credentials_are_rejected_and_refused_access_is_not() -> None:
    assert rejects_credentials(answer(400, xml("ExpiredToken")))
    assert rejects_credentials(answer(403, xml("InvalidAccessKeyId")))
    assert rejects_credentials(answer(400))  # to a HEAD
    assert not rejects_credentials(answer(403))
    assert not rejects_credentials(answer(403, xml("AccessDenied")))
    assert not rejects_credentials(answer(403, xml("SignatureDoesNotMatch")))


BOMB = b'<!DOCTYPE x [<!ENTITY a "SlowDown"><!ENTITY b "&a;&a;">]><Error><Code>&b;</Code></Error>'


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", ""),
        (b"<html><body>502</body></html>", ""),
        (b'{"Code": "NoSuchKey"}', ""),
        (xml("NoSuchKey")[:70], "NoSuchKey"),  # cut: what came before counts
        (BOMB, ""),
        (b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><Error><Code>SlowDown</Code></Error>', ""),
        (BOMB.decode().encode("utf-16"), ""),
        (b"<Error><Code>a b</Code></Error>", ""),
        (b"<Error><Code>" + b"A" * 65 + b"</Code></Error>", ""),
        (b"<Error><Code>\xff</Code></Error>", ""),
        (b"<Error><Details><Code>SlowDown</Code></Details></Error>", ""),
        (b"<Error><Code><b>SlowDown</b></Code></Error>", ""),
        (b"<?xml version='1.0' encoding='no-such-coding'?><Error><Code>SlowDown</Code></Error>", "SlowDown"),
        (b"<Errors><Code>SlowDown</Code></Errors>", ""),
        (b"<a>" * 20_000, ""),
    ],
)
def test_the_code_is_read_from_nothing_but_a_plain_error_document(body: bytes, expected: str) -> None:
    assert read_error(body).code == expected


@given(st.binary(max_size=300) | st.text(max_size=100).map(xml))
def test_no_body_breaks_the_reader(body: bytes) -> None:
    assert isinstance(read_error(body), ErrorBody)
