"""The bytes before a block on disk: a header by which the file proves whose bytes it holds and that they are whole.

    magic 8 · version 2 · identity length 4 · data length 8 · blake3 of the data 32      little-endian, 54 bytes
    identity (`BlockKey.identity()`: provider, bucket, key, version, generation, block index, block size)
    checksum of everything above, 16 bytes of blake3

Pure. A file that is not exactly this is worth nothing, so every fault is one `FrameError`, whatever the bytes are.
Blake3 without a key finds damage and mix-ups; it is no defence against somebody who may write into the directory.
"""

from __future__ import annotations

import struct
from typing import Final

from blake3 import blake3

from rangecache.errors import TierError
from rangecache.model import BlockKey

FORMAT_VERSION: Final = 1
"""Part of the directory's name too: another version is another directory, never a migration."""
_MAGIC: Final = b"rc-block"
_FIXED: Final = struct.Struct("<8sHIQ32s")
_CHECKSUM_BYTES: Final = 16
HEADER_BYTES_MAX: Final = 16 * 1024
"""More than any header has: a key and the name of a version have at most 4 KiB each."""


class FrameError(TierError):
    """The file at a block's path is not that block: damaged, cut, or another block's."""


def header_bytes(identity: bytes) -> int:
    """Length of the header of a block with this identity; it does not depend on the data."""
    return _FIXED.size + len(identity) + _CHECKSUM_BYTES


def encode_header(key: BlockKey, data: memoryview | bytes) -> bytes:
    """What is written before `data`."""
    identity = key.identity()
    fixed = _FIXED.pack(_MAGIC, FORMAT_VERSION, len(identity), len(data), blake3(data).digest())
    body = fixed + identity
    return body + _checksum(body)


def check(header: bytes, data: memoryview | bytes, key: BlockKey) -> None:
    """Return if and only if `header` and `data` are what was written for `key`; else raise `FrameError`."""
    if len(header) < header_bytes(b""):
        raise FrameError(f"the header is cut at {len(header)} bytes")
    body, checksum = header[:-_CHECKSUM_BYTES], header[-_CHECKSUM_BYTES:]
    if _checksum(body) != checksum:
        raise FrameError("the header is damaged")
    magic, version, identity_bytes, data_bytes, digest = _FIXED.unpack_from(body)
    if magic != _MAGIC or version != FORMAT_VERSION:
        raise FrameError(f"the header is of another format ({magic!r}, version {version})")
    identity = body[_FIXED.size :]
    if identity_bytes != len(identity) or identity != key.identity():
        raise FrameError("the file holds another block")
    if data_bytes != len(data):
        raise FrameError(f"the file holds {len(data)} bytes of data and its header says {data_bytes}")
    if blake3(data).digest() != digest:
        raise FrameError("the data is damaged")


def read_identity(beginning: bytes) -> BlockKey:
    """Which block a file says it holds, from its first `HEADER_BYTES_MAX` bytes. Raises `FrameError`.

    The data is not looked at.
    """
    if len(beginning) < _FIXED.size:
        raise FrameError(f"the header is cut at {len(beginning)} bytes")
    magic, version, identity_bytes, _, _ = _FIXED.unpack_from(beginning)
    body = beginning[: _FIXED.size + identity_bytes]
    if magic != _MAGIC or version != FORMAT_VERSION:
        raise FrameError(f"the header is of another format ({magic!r}, version {version})")
    if _checksum(body) != beginning[len(body) : len(body) + _CHECKSUM_BYTES]:
        raise FrameError("the header is damaged")
    try:
        return BlockKey.of_identity(body[_FIXED.size :])
    except ValueError as error:
        raise FrameError("the header names no block") from error


def _checksum(body: bytes) -> bytes:
    return blake3(body).digest(_CHECKSUM_BYTES)
