"""What S3's error answers mean.

Codes are those of the "Error responses" page of the Amazon S3 API reference; services that speak its protocol use the
same. The body of an error is read for two short words and is never shown: it repeats keys, ids and canonical requests.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from xml.parsers import expat

from rangecache.errors import InvalidAnswer, NotFound, PermissionDenied, Unauthenticated, Unavailable
from rangecache.origin import answers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rangecache.errors import OriginError
    from rangecache.model import ObjectRef
    from rangecache.origin.dialect import Answer

_CODE = re.compile(r"[A-Za-z0-9.]{1,64}", re.ASCII)
_REGION = re.compile(r"[a-z0-9-]{1,32}", re.ASCII)
_TEXT_MAX: Final = 64
_REGION_HEADER: Final = "x-amz-bucket-region"

# The credentials as such are no good, and others or none may be.
REJECTED: Final = frozenset({"ExpiredToken", "InvalidToken", "InvalidAccessKeyId", "TokenRefreshRequired"})
_UNAUTHENTICATED: Final = REJECTED | {
    "AuthorizationHeaderMalformed",
    "InvalidSecurity",
    "MissingSecurityHeader",
    "NotSignedUp",
    "SignatureDoesNotMatch",
}
_ABSENT: Final = frozenset({"NoSuchBucket", "NoSuchKey", "NoSuchVersion"})
_THROTTLED: Final = frozenset(
    {"RequestLimitExceeded", "ServiceUnavailable", "SlowDown", "Throttling", "ThrottlingException", "TooManyRequests"}
)
_PASSING: Final = frozenset({"InternalError", "OperationAborted", "RequestTimeout"})
_WRONG_REGION: Final = frozenset(
    {"AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "PermanentRedirect", "TemporaryRedirect"}
)


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """The two words of an error's XML that are used; empty where absent or not of the form of such a word."""

    code: str = ""
    region: str = ""


@dataclass(frozen=True, slots=True)
class Sent:
    """How the request was sent that an error answers."""

    as_whom: str
    """The kind of credentials, for a sentence."""
    signed: bool
    region: str
    """What it was signed for."""


def read_error(body: bytes) -> ErrorBody:
    """Read the beginning of an error's XML, `<Error><Code>…</Code>…`. Total: what is no such XML says nothing."""
    open_elements: list[str] = []
    found: dict[str, str] = {}

    def start(name: str, _: Mapping[str, str]) -> None:
        open_elements.append(name)

    def text(part: str) -> None:
        if len(open_elements) == 2 and open_elements[0] == "Error" and open_elements[1] in ("Code", "Region"):
            found[open_elements[1]] = (found.get(open_elements[1], "") + part)[: _TEXT_MAX + 1]

    def refuse(*_: object) -> None:
        raise ValueError("an error of S3 has no document type, and entities are not read")

    parser = expat.ParserCreate("utf-8")
    parser.StartElementHandler = start
    parser.EndElementHandler = lambda _: open_elements.pop()
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = refuse
    with suppress(expat.ExpatError, ValueError):  # cut short or not XML: what came before counts
        parser.Parse(body, True)
    code, region = found.get("Code", ""), found.get("Region", "")
    return ErrorBody(code if _CODE.fullmatch(code) else "", region if _REGION.fullmatch(region) else "")


def region_told(answer: Answer) -> str:
    """The region of the bucket, where the answer tells it; empty otherwise."""
    told = answer.headers.get(_REGION_HEADER, "")
    return told if _REGION.fullmatch(told) else read_error(answer.body).region


def rejects_credentials(answer: Answer) -> bool:
    """Whether other credentials, or none, might be answered differently. An answer to a HEAD has no body to say so; a
    400 to one is as a rule an expired token."""
    return read_error(answer.body).code in REJECTED or (answer.status == 400 and not answer.body)


def missing(ref: ObjectRef, said: str = "403, by missing_403_is_404") -> NotFound:
    """That there is no such object; `said` is what S3 said."""
    return NotFound(f"S3 has no object {ref} ({said})")


def unlisted_buckets(provider: str, as_whom: str, code: str) -> PermissionDenied:
    """That S3 does not say which buckets there are."""
    return PermissionDenied(
        f"S3 does not list the buckets of {provider} to {as_whom}; they need s3:ListAllMyBuckets, or name the bucket"
        f" ({f'403 {code}'.strip()})"
    )


def explain(answer: Answer, ref: ObjectRef, sent: Sent) -> OriginError:
    """The error that an answer means, with a sentence that says what to do."""
    code, status = read_error(answer.body).code, answer.status
    said = f"{status} {code}".strip()
    if code == "NoSuchBucket":
        return NotFound(f"S3 has no bucket {ref.provider}/{ref.bucket} ({said})")
    if code in _ABSENT or status in (404, 410) or answer.headers.get("x-amz-delete-marker") == "true":
        return missing(ref, said)
    if code in _THROTTLED or status in (429, 503):
        return Unavailable(
            f"S3 asks for fewer requests to {ref.provider}/{ref.bucket} ({said})",
            retry_after_s=answers.retry_after(answer.headers),
            throttled=True,
        )
    if code in _PASSING or status >= 500:
        return Unavailable(f"S3 failed ({said})", retry_after_s=answers.retry_after(answer.headers))
    return _refusal(answer, ref, code, sent, said)


def _refusal(answer: Answer, ref: ObjectRef, code: str, sent: Sent, said: str) -> OriginError:
    told = region_told(answer)
    if told and told != sent.region and (code in _WRONG_REGION or answer.status in (301, 307, 400)):
        return InvalidAnswer(
            f"the bucket {ref.provider}/{ref.bucket} is in region {told}, but requests are signed for {sent.region};"
            f" set its region to {told} or to auto ({said})"
        )
    if code == "RequestTimeTooSkewed":
        return Unauthenticated(f"the clock of this machine is wrong by minutes; set it, S3 refuses requests ({said})")
    if code == "InvalidObjectState":
        return PermissionDenied(f"{ref} is in an archive storage class; restore it first ({said})")
    if code in _UNAUTHENTICATED or answer.status == 401:
        return Unauthenticated(
            f"S3 does not accept {sent.as_whom} for {ref.provider}/{ref.bucket}; renew or correct them ({said})"
        )
    if answer.status == 403 and not sent.signed:
        return PermissionDenied(
            f"S3 refuses {ref} to {sent.as_whom}; unless the bucket is public, reading it takes credentials that have"
            f" s3:GetObject on it ({said})"
        )
    if answer.status == 403:
        return PermissionDenied(
            f"S3 refuses {ref} to {sent.as_whom}; they need s3:GetObject on it, and s3:ListBucket on the bucket"
            f" for S3 to say whether it exists at all; where the bucket is public, set anonymous: true for it ({said})"
        )
    if 300 <= answer.status <= 399:
        return InvalidAnswer(
            f"S3 redirects requests for {ref.provider}/{ref.bucket} elsewhere; set its region or endpoint ({said})"
        )
    return InvalidAnswer(f"S3 answered a request for {ref} unexpectedly ({said})")
