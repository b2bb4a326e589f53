"""Our own origin as the service of each provider, for all that needs an origin that misbehaves."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

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
