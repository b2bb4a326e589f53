"""The nouns of the program: what is read, which version of it, and which piece of that version.

Values only: frozen, compared by content, no I/O, no imports from the rest of the package.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

# RFC 9110 section 8.8.3: entity-tag = [ "W/" ] DQUOTE *etagc DQUOTE, etagc = %x21 / %x23-7E / obs-text.
_ETAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"', re.ASCII)
_ETAG_BYTES_MAX: Final = 256  # a longer one is no validator: it is stored with every block's identity


class ObjectRef(NamedTuple):
    """The name of an object as a client asks for it.

    A named tuple and not a dataclass, as is `BlockKey`: both are dictionary keys of the hot path, and a tuple is
    hashed and compared in C.
    """

    provider: str
    """A provider's name in the configuration."""
    bucket: str
    """A bucket or an alias of that provider; its spelling has been checked."""
    key: str
    """The key, percent-decoded exactly once."""
    version: str | None = None
    """The one version asked for (`versionId`, `generation`); None is whatever is current."""

    def __str__(self) -> str:
        return f"{self.provider}/{self.bucket}/{self.key}"


@dataclass(frozen=True, slots=True)
class ETag:
    """An entity tag (RFC 9110 section 8.8.3): opaque text without its quotes, strong or weak."""

    opaque: str
    weak: bool = False

    @classmethod
    def parse(cls, text: str) -> ETag | None:
        """Read one tag. None if it is malformed (unquoted ones too) or longer than 256 characters."""
        if len(text) > _ETAG_BYTES_MAX:
            return None
        match = _ETAG.fullmatch(text.strip(" \t"))
        return cls(match[2], match[1] is not None) if match else None

    def matches_strongly(self, other: ETag | None) -> bool:
        """RFC 9110 section 8.8.3.2, strong comparison: equal, and neither is weak."""
        return other is not None and not self.weak and not other.weak and self.opaque == other.opaque

    def matches_weakly(self, other: ETag | None) -> bool:
        """RFC 9110 section 8.8.3.2, weak comparison: equal but for weakness."""
        return other is not None and self.opaque == other.opaque

    def __str__(self) -> str:
        return f'W/"{self.opaque}"' if self.weak else f'"{self.opaque}"'


@dataclass(frozen=True, slots=True)
class ObjectMeta:
    """What an origin says about one version of an object."""

    ref: ObjectRef
    size: int
    """Length of the whole object in bytes, as stored (encoded bytes where it has a content coding)."""
    e_tag: ETag | None
    """The tag that clients are shown, strong or weak."""
    last_modified: datetime | None
    """Aware, UTC, whole seconds."""
    validator: str
    """The strong validator in the provider's own words, such as `etag "abc"`, `last-modified Tue, …` or
    `generation 17`; empty where the origin gave none, and then the bytes must not be stored or combined."""
    source: str
    """Which endpoint answered; validators of two sources do not compare."""
    content_encoding: str = ""
    """The coding the bytes are stored in, lower case; empty for none. Passed through, never decoded."""
    version: str | None = None
    """The provider's own name of this version (S3 version id, GCS generation), where it has one."""
    headers: Mapping[str, str] = field(default_factory=dict, compare=False)
    """End-to-end response headers, names in lower case, without cookies."""
    generation: str = field(init=False)
    """32 hex digits that stand for these bytes: equal if and only if source, validator, size and coding are. Empty
    where there is no strong validator."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "generation", self._digest() if self.validator else "")

    def _digest(self) -> str:
        fields = (self.source, self.validator, str(self.size), self.content_encoding)
        return identity_digest(*self.ref, *fields).hex()


class BlockKey(NamedTuple):
    """The name of one block: the version is part of it, so two versions can never share a block."""

    ref: ObjectRef
    generation: str
    block_index: int
    """Block number: the block holds bytes `block_index * block_bytes` up to the next block or the end of the object."""
    block_bytes: int

    def identity(self) -> bytes:
        """All fields, length-prefixed, so that no two keys have the same text."""
        return length_prefixed(*self.ref, self.generation, str(self.block_index), str(self.block_bytes))

    @classmethod
    def of_identity(cls, identity: bytes) -> BlockKey:
        """The key of which this is the identity. Raises ValueError."""
        match split_length_prefixed(identity):
            case [str(provider), str(bucket), str(key), version, str(generation), str(index), str(size)]:
                return cls(ObjectRef(provider, bucket, key, version), generation, int(index), int(size))
        raise ValueError("not the identity of a block")


def length_prefixed(*fields: str | None) -> bytes:
    """Join fields so that the result is equal only for equal fields. None and the empty text differ."""
    parts = []
    for text in fields:
        raw = b"" if text is None else text.encode()
        parts.append(b"-:" if text is None else b"%d:" % len(raw))
        parts.append(raw)
    return b"".join(parts)


def split_length_prefixed(joined: bytes) -> list[str | None]:
    """The fields of which `length_prefixed` made this. Raises ValueError where it did not."""
    fields: list[str | None] = []
    rest = joined
    while rest:
        length, _, rest = rest.partition(b":")
        size = 0 if length == b"-" else int(length)
        fields.append(None if length == b"-" else rest[:size].decode())
        rest = rest[size:]
    if length_prefixed(*fields) != joined:
        raise ValueError("not what length_prefixed makes")
    return fields


def identity_digest(*fields: str | None) -> bytes:
    """16 bytes of SHA-256 over length-prefixed fields."""
    return hashlib.sha256(length_prefixed(*fields)).digest()[:16]
