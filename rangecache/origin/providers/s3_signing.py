"""Signature Version 4 for GET and HEAD, by botocore's own signer.

A signed aiohttp request costs a quarter of what an SDK call does, and the cryptography stays botocore's.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from botocore.auth import SIGV4_TIMESTAMP, S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rangecache.origin.providers.s3_credentials import S3Credentials

# Only what decides over the answer is signed. Others, such as Accept-Encoding, are rewritten on the way by some
# services' front ends (that of GCS does), and the signature would not match any more.
_SIGNED: Final = frozenset(
    {
        "range",
        "if-match",
        "if-none-match",
        "if-modified-since",
        "if-unmodified-since",
        "x-amz-expected-bucket-owner",
        "x-amz-request-payer",
    }
)


class _Signer(S3SigV4Auth):  # type: ignore[misc]  # botocore has no type information
    """botocore's signer, told the time, and silent: its own `add_auth` logs the canonical request, session token
    included, at level DEBUG."""

    def sign(self, request: AWSRequest, timestamp: str) -> None:
        """Add the headers that prove who asks."""
        request.context["timestamp"] = timestamp
        self._modify_request_before_signing(request)
        text = self.string_to_sign(request, self.canonical_request(request))
        self._inject_signature_to_request(request, self.signature(text, request))


def sign(
    method: str, url: str, headers: Mapping[str, str], credentials: S3Credentials, *, region: str, now_s: float
) -> dict[str, str]:
    """`headers` and those of the signature. `url` has its dots bare; `now_s` counts from 1970, UTC."""
    signed = {name: value for name, value in headers.items() if name.lower() in _SIGNED}
    request = AWSRequest(method=method, url=url, headers=signed)
    keys = Credentials(credentials.access_key_id, credentials.secret_access_key, credentials.session_token)
    _Signer(keys, "s3", region).sign(request, datetime.fromtimestamp(now_s, UTC).strftime(SIGV4_TIMESTAMP))
    return {**headers, **dict(request.headers.items())}
