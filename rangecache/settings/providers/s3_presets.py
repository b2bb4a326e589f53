"""Services that speak S3's protocol, by name: what is the same for all who use one. Pure.

From the services' own documentation; only `minio`'s requests have been seen by a server that checks them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

PresetName = Literal["minio", "r2", "b2", "wasabi", "spaces", "oci", "ceph", "gcs-interop"]
AUTO: Final = "auto"


@dataclass(frozen=True, slots=True)
class Preset:
    """What is known of one service."""

    endpoint: str | None
    """A template of `{region}`, `{account}` and `{namespace}`. None: every site has its own."""
    example: str
    """What an endpoint or a region looks like, for a sentence."""
    region: str | None = None
    """What requests are signed for unless a region is set. None: it has to be set."""
    virtual: bool = False
    """The bucket is part of the host's name and not of the path."""
    https_only: bool = True
    versions: bool = True
    """Whether `versionId` means something there."""
    accept_encoding: str | None = None
    """In place of `identity`. Never signed."""

    def lacks(self, name: str, given: dict[str, str | None], region: str) -> str:
        """What has to be set, or has been set for nothing, as a sentence; empty if nothing."""
        endpoint = given["endpoint"]
        template = endpoint or self.endpoint
        if template is None:
            return f"preset {name} needs endpoint, such as {self.example}"
        if self.https_only and not template.startswith("https://"):
            return f"preset {name} is read over https only: the endpoint must begin with https://"
        if region == AUTO and self.region is None:
            return f"preset {name} needs region, such as {self.example}"
        for key in ("account", "namespace"):
            if given[key] is None and f"{{{key}}}" in template:
                return f"preset {name} needs {key}, or the whole endpoint"
            if given[key] is not None and f"{{{key}}}" not in template:
                return f"{key} has no place in the endpoint of preset {name}: remove it"
        return ""


PRESETS: Final[dict[PresetName, Preset]] = {
    "minio": Preset(None, "http://127.0.0.1:9000", region="us-east-1", https_only=False),
    # Its jurisdictions have hosts of their own (….eu.r2.…), to be given as the endpoint. It keeps no versions.
    "r2": Preset("https://{account}.r2.cloudflarestorage.com", "auto", region=AUTO, versions=False),
    "b2": Preset("https://s3.{region}.backblazeb2.com", "us-west-004"),
    "wasabi": Preset("https://s3.{region}.wasabisys.com", "eu-central-1", region="us-east-1"),
    "spaces": Preset("https://{region}.digitaloceanspaces.com", "fra1", virtual=True),
    "oci": Preset("https://{namespace}.compat.objectstorage.{region}.oraclecloud.com", "eu-frankfurt-1"),
    "ceph": Preset(None, "https://rgw.example.org", region="us-east-1", https_only=False),
    # Its front end rewrites Accept-Encoding, and decodes what is stored as gzip for those who do not take it. Its
    # versions are `generation`, which kind gcs knows.
    "gcs-interop": Preset("https://storage.googleapis.com", AUTO, region=AUTO, versions=False, accept_encoding="gzip"),
}
