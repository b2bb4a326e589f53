"""Our own origin as the service of each provider, for all that needs an origin that misbehaves."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

from rangecache.origin.credentials import Static
from rangecache.origin.providers.azure import AzureDialect
from rangecache.origin.providers.azure_address import Endpoint
from rangecache.origin.providers.azure_signing import AccountKey
from rangecache.origin.providers.gcs import GcsDialect
from rangecache.origin.providers.s3 import S3Dialect
from rangecache.origin.providers.s3_credentials import STATIC, S3Credentials
from rangecache.testing.answers import Answer
from rangecache.testing.faults import Status
from rangecache.testing.origin import Origin

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rangecache.aio.clock import Clock
    from rangecache.origin.dialect import Dialect
    from rangecache.testing.connection import Gate
    from rangecache.testing.log import LoggedRequest

BUCKET: Final = "data"
ACCOUNT: Final = "account"
SECRET: Final = "canary-secret-of-ours"  # no answer, log line or page may ever show it


@dataclass(frozen=True)
class Dressed:
    """How a provider of a kind reaches the origin. Objects of its `BUCKET` are at the origin below `folder`."""

    kind: str
    secret_file: Path

    @property
    def folder(self) -> str:
        """With its final slash."""
        return f"{ACCOUNT}/{BUCKET}/" if self.kind == "azure" else f"{BUCKET}/"

    def provider(self, url: str) -> Mapping[str, Any]:
        """Its settings; `url` is the origin's address, with a final slash."""
        self.secret_file.write_text(SECRET)
        match self.kind:
            case "s3":
                keys = {"access_key_id": "AKID", "secret_access_key": SECRET}
                return {"kind": "s3", "endpoint": url, "region": "us-east-1", "credentials": keys}
            case "azure":
                key = base64.b64encode(SECRET.encode()).decode()
                account = {"account": ACCOUNT, "account_key": key}
                return {"kind": "azure", "endpoint": f"{url}{ACCOUNT}", "credentials": account}
            case "gcs":
                self.secret_file.write_text(json.dumps({"token": SECRET}))
                command = ["cat", str(self.secret_file)]
                return {"kind": "gcs", "endpoint": url, "credentials": {"command": command}}
            case _:
                buckets = {BUCKET: {"url": f"{url}{BUCKET}/"}}
                return {"kind": "http", "buckets": buckets, "credentials": {"bearer_file": str(self.secret_file)}}


class DressedOrigin(Origin):
    """The origin, lies and all, with what only the service of a kind says: each that it is the service where something
    is not there, Google Cloud Storage a generation for each strong tag, which reads may ask for."""

    def __init__(self, kind: str, **options: Any) -> None:
        super().__init__(**options)
        self.kind = kind

    async def prepare(self, request: LoggedRequest) -> tuple[Answer, Gate | None]:
        """As every origin, dressed after everything else."""
        answer, gate = await super().prepare(request)
        if self.kind == "s3" and answer.status in (404, 410):
            answer = Status(answer.status, body=b"<Error><Code>NoSuchKey</Code></Error>").apply(answer)
        if self.kind == "azure" and answer.status in (404, 410):
            answer = answer.with_headers({"x-ms-error-code": "BlobNotFound"})
        if self.kind == "gcs" and answer.status in (404, 410):
            answer = answer.with_headers({"x-guploader-uploadid": "an-upload"})
        if self.kind == "gcs" and (number := _generation(answer.header("ETag"))):
            answer = answer.with_headers({"x-goog-generation": number})
        return answer, gate

    def _right_answer(self, request: LoggedRequest) -> Answer:
        wanted = parse_qs(request.target.partition("?")[2]).get("generation")
        stored = self._find(request.key)
        if wanted and stored is not None and [_generation(stored.e_tag)] != wanted:
            return Status(404).apply(Answer(404))
        return super()._right_answer(request)


def _generation(tag: str | None) -> str:
    """The same number for the same tag; none for what is no strong one."""
    if tag is None or re.fullmatch('"[^"]*"', tag) is None:
        return ""
    return str(int.from_bytes(hashlib.blake2b(tag.encode("latin-1"), digest_size=7).digest(), "big"))


def dialect(kind: str, url: str, clock: Clock) -> Dialect:
    """How the service of a kind is spoken to; it signs."""
    match kind:
        case "s3":
            return S3Dialect(endpoint=url, credentials=Static(S3Credentials("id", SECRET), STATIC), clock=clock)
        case "azure":
            key: Static[Any] = Static(AccountKey(ACCOUNT, SECRET.encode()), "the key")
            return AzureDialect(endpoint=Endpoint.parse(f"{url}{ACCOUNT}"), credentials=key, clock=clock)
        case _:
            return GcsDialect(endpoint=url, credentials=Static(SECRET, "the token"), clock=clock)
