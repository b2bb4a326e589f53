"""Objects of one kind: what was learned of some of them is expected of the next."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rangecache.model import ObjectRef

_EXTENSION = re.compile(r"\.([0-9A-Za-z]{0,8}[A-Za-z][0-9A-Za-z]{0,8})$")
_DIGITS = re.compile(r"[0-9]+")
KIND_CHARS_MAX: Final = 200

Kind = tuple[str, str, str]
"""Provider, bucket, and what the keys have in common."""


def kind_of(ref: ObjectRef) -> Kind:
    """The extension is what keys have in common, or without one, as in Zarr's `c/0/12/7`, all but the numbers."""
    name = ref.key.rpartition("/")[2]
    extension = _EXTENSION.search(name)
    common = f"*.{extension[1].lower()}" if extension else _DIGITS.sub("#", ref.key)[-KIND_CHARS_MAX:]
    return ref.provider, ref.bucket, common
