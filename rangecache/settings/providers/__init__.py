"""Where objects come from: one class a kind of provider, and what can be said of each of its buckets."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from rangecache.settings.providers.azure import AzureBucket, AzureCredentials, AzureProvider
from rangecache.settings.providers.failover import FailoverProvider, Replica
from rangecache.settings.providers.file import FileProvider
from rangecache.settings.providers.gcs import GcsBucket, GcsCredentials, GcsProvider
from rangecache.settings.providers.http import HttpBucket, HttpCredentials, HttpProvider
from rangecache.settings.providers.s3 import S3Bucket, S3Provider
from rangecache.settings.providers.s3_credentials import S3Credentials, S3Role, S3WebIdentity

Provider = Annotated[
    S3Provider | GcsProvider | AzureProvider | HttpProvider | FileProvider | FailoverProvider,
    Field(discriminator="kind"),
]

__all__ = [
    "AzureBucket",
    "AzureCredentials",
    "AzureProvider",
    "FailoverProvider",
    "FileProvider",
    "GcsBucket",
    "GcsCredentials",
    "GcsProvider",
    "HttpBucket",
    "HttpCredentials",
    "HttpProvider",
    "Provider",
    "Replica",
    "S3Bucket",
    "S3Credentials",
    "S3Provider",
    "S3Role",
    "S3WebIdentity",
]
