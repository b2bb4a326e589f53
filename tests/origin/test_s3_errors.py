"""What error answers of S3 mean, and that their bodies are read with care and never shown."""

from __future__ import annotations

from dataclasses import replace

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
    """To a GET, or without a body to a HEAD."""
    fields = CIMultiDict({name.replace("_", "-"): value for name, value in headers.items()})
    return Answer(status, fields, body, head=not body)


def meaning(given: Answer) -> OriginError:
    return explain(given, REF, Sent("the credentials of profile dev", signed=True, region="us-east-1"))


@pytest.mark.parametrize("body", [b"404 page not found\n", b"<html><title>404 Not Found</title></html>"])
def test_a_404_of_somebody_who_does_not_speak_s3_says_nothing_of_the_object(body: bytes) -> None:
    error = meaning(answer(404, body))
    assert type(error) is InvalidAnswer
    assert "check the endpoint" in error.message


def test_a_404_without_a_word_is_s3s_own_if_it_names_itself_or_answers_a_head() -> None:
    """A service mesh answers a GET that it has no route for so."""
    assert type(meaning(Answer(404, CIMultiDict({"Server": "envoy"})))) is InvalidAnswer
    assert type(meaning(Answer(404, CIMultiDict({"x-amz-request-id": "1"})))) is NotFound
    assert type(meaning(answer(404))) is NotFound
    assert type(meaning(answer(404, Content_Type="text/html; charset=utf-8"))) is InvalidAnswer


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


def sent(**changes: object) -> Sent:
    return replace(Sent("the credentials of profile dev", signed=True, region="us-east-1"), **changes)


def refused(code: str, message: str = "Access Denied", more: str = "") -> bytes:
    return f"<Error><Code>{code}</Code><Message>{message}</Message>{more}</Error>".encode()


IAM = "User: arn:aws:sts::1:assumed-role/canary is not authorized to perform: {} on resource: arn:aws:canary because {}"


@pytest.mark.parametrize(
    ("message", "says", "says_not"),
    [
        ("Access Denied", "they need s3:GetObject on it, kms:Decrypt on its key if it has one", "they need kms"),
        (IAM.format("s3:GetObject", "no identity-based policy allows it"), "they need s3:GetObject on it (", "kms"),
        (
            IAM.format("s3:GetObject", "canary with an explicit deny in a resource-based policy"),
            "a policy denies",
            "need",
        ),
        (IAM.format("kms:Decrypt", "no resource-based policy allows it"), "kms:Decrypt on the KMS key of", "s3:"),
        (IAM.format("&lt;script&gt;", "canary"), "they need s3:GetObject on it, kms", "script"),
    ],
)
def test_refused_access_says_which_permission_is_missing_on_what(message: str, says: str, says_not: str) -> None:
    error = explain(answer(403, refused("AccessDenied", message)), REF, sent())
    assert type(error) is PermissionDenied
    assert says in error.message
    assert says_not not in error.message.replace("s3/data", "")
    assert "S3 refuses s3/data/some/key to the credentials of profile dev" in error.message
    assert "canary" not in error.message


def test_refused_access_to_a_version_takes_another_permission() -> None:
    versioned = ObjectRef("s3", "data", "some/key", "v1")
    assert "s3:GetObjectVersion" in explain(answer(403, refused("AccessDenied")), versioned, sent()).message


def test_refused_access_says_what_the_bucket_was_held_to() -> None:
    plain = explain(answer(403, refused("AccessDenied")), REF, sent()).message
    assert "requester_pays: true" in plain
    assert "account" not in plain
    held = explain(answer(403, refused("AccessDenied")), REF, sent(requester_pays=True, expected_owner="123456789012"))
    assert "not one of account 123456789012" in held.message
    assert "requester_pays" not in held.message


@pytest.mark.parametrize(
    ("more", "headers", "says"),
    [
        ("<StorageClass>GLACIER</StorageClass>", {}, "is in GLACIER and cannot be read; restore it first (aws s3api"),
        ("", {"x_amz_storage_class": "DEEP_ARCHIVE"}, "is in DEEP_ARCHIVE and"),
        ("<StorageClass>canary</StorageClass>", {}, "is in an archive class and"),
        ("", {"x_amz_restore": 'ongoing-request="true"'}, "being restored; it can be read when that has ended"),
    ],
)
def test_an_archived_object_says_its_class_and_what_to_do(more: str, headers: dict[str, str], says: str) -> None:
    error = explain(answer(403, refused("InvalidObjectState", "canary", more), **headers), REF, sent())
    assert type(error) is PermissionDenied
    assert says in error.message
    assert "canary" not in error.message


@pytest.mark.parametrize(
    ("status", "code", "kind", "says"),
    [
        (400, "KMS.DisabledException", PermissionDenied, "the KMS key that s3/data/some/key is encrypted with"),
        (400, "KMS.KMSInvalidStateException", PermissionDenied, "KMS key"),
        (403, "AllAccessDisabled", PermissionDenied, "the bucket or its account is closed"),
        (403, "AccountProblem", PermissionDenied, "the bucket or its account is closed"),
        (403, "SignatureDoesNotMatch", Unauthenticated, "the secret is not that of the access key"),
        (403, "RequestExpired", Unauthenticated, "the clock of this machine is wrong"),
        (404, "NoSuchAccessPoint", NotFound, "no bucket s3/data"),
        (501, "NotImplemented", Unavailable, "NotImplemented"),
    ],
)
def test_further_codes_mean(status: int, code: str, kind: type[OriginError], says: str) -> None:
    error = explain(answer(status, refused(code, "canary")), REF, sent())
    assert type(error) is kind
    assert says in error.message
    assert "canary" not in error.message


def test_a_wrong_clock_is_told_the_right_time_if_it_is_one() -> None:
    skewed = refused("RequestTimeTooSkewed")
    there = explain(answer(403, skewed, Date="Sat, 21 Nov 2026 08:00:00 GMT"), REF, sent())
    assert "there it is Sat, 21 Nov 2026 08:00:00 GMT" in there.message
    assert "canary" not in explain(answer(403, skewed, Date="canary"), REF, sent()).message


def test_a_version_that_s3_never_gave_out_is_said_to_be_the_reason() -> None:
    versioned = ObjectRef("s3", "data", "some/key", "nonsense")
    error = explain(answer(400, refused("InvalidArgument", "Invalid version id specified")), versioned, sent())
    assert "versionId" in error.message


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
