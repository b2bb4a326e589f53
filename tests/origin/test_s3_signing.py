"""Signatures: the published example, what is signed and what is not, and that nothing of it is logged."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

import pytest

from rangecache.origin.providers.s3_credentials import S3Credentials
from rangecache.origin.providers.s3_signing import sign

# "Examples: Signature Calculations", GET Object, in the Amazon S3 API reference.
EXAMPLE = S3Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
EXAMPLE_TIME_S = datetime(2013, 5, 24, tzinfo=UTC).timestamp()


def test_the_published_example_gives_the_published_signature() -> None:
    headers = sign(
        "GET",
        "https://examplebucket.s3.amazonaws.com/test.txt",
        {"Range": "bytes=0-9"},
        EXAMPLE,
        region="us-east-1",
        now_s=EXAMPLE_TIME_S,
    )
    assert headers["Authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
        "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, "
        "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    )
    assert headers["X-Amz-Date"] == "20130524T000000Z"
    assert headers["Range"] == "bytes=0-9"
    assert "X-Amz-Security-Token" not in headers


def signed_names(headers: dict[str, str]) -> list[str]:
    return headers["Authorization"].split("SignedHeaders=")[1].split(",")[0].split(";")


def test_what_decides_over_the_answer_is_signed_and_nothing_that_is_rewritten_on_the_way() -> None:
    own = {"Range": "bytes=0-0", "If-Match": '"v1"', "Accept-Encoding": "identity", "User-Agent": "x", "Accept": "*/*"}
    headers = sign("GET", "https://h/k", own, EXAMPLE, region="auto", now_s=0)
    assert signed_names(headers) == ["host", "if-match", "range", "x-amz-content-sha256", "x-amz-date"]
    assert headers["Accept-Encoding"] == "identity"
    assert "x-amz-checksum-mode" not in {name.lower() for name in headers}


def test_a_session_token_is_sent_and_signed() -> None:
    temporary = S3Credentials("AKIA", "secret", "the-token")
    headers = sign("HEAD", "https://h/k", {}, temporary, region="eu-west-1", now_s=0)
    assert headers["X-Amz-Security-Token"] == "the-token"
    assert "x-amz-security-token" in signed_names(headers)


@pytest.mark.parametrize("changed", ["method", "url", "header", "region", "time", "secret", "token"])
def test_the_signature_depends_on(changed: str) -> None:
    def signature(**other: object) -> str:
        of: dict[str, object] = {
            "method": "GET",
            "url": "https://h/k?versionId=1",
            "headers": {"Range": "bytes=0-0"},
            "credentials": S3Credentials("AKIA", "secret", "token"),
            "region": "us-east-1",
            "now_s": 0.0,
        }
        return sign(**(of | other))["Authorization"].rpartition("=")[2]  # type: ignore[arg-type]

    others = {
        "method": {"method": "HEAD"},
        "url": {"url": "https://h/k?versionId=2"},
        "header": {"headers": {"Range": "bytes=0-1"}},
        "region": {"region": "us-east-2"},
        "time": {"now_s": 1.0},
        "secret": {"credentials": S3Credentials("AKIA", "other", "token")},
        "token": {"credentials": S3Credentials("AKIA", "secret", "other")},
    }
    assert signature() == signature()
    assert signature() != signature(**others[changed])


def test_signing_logs_nothing_even_at_level_debug(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        sign("GET", "https://h/k", {}, S3Credentials("AKIA", "canary", "canary"), region="us-east-1", now_s=0)
    assert caplog.records == []


def test_credentials_do_not_show_themselves() -> None:
    assert repr(S3Credentials("AKIAcanary", "canary", "canary")) == "S3Credentials()"
