"""`kind: file`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from rangecache.settings.fields import EMPTY_IS_NOTHING, BucketName, LocalPath, Section


class FileProvider(Section):
    """Folders of this machine."""

    kind: Literal["file"]
    """`file`"""
    buckets: Annotated[dict[BucketName, LocalPath], EMPTY_IS_NOTHING] = Field(default_factory=dict)
    """The folders that are served, by the name that clients use."""
