from __future__ import annotations

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from rangecache.blocks.framing import (
    HEADER_BYTES_MAX,
    FrameError,
    check,
    encode_header,
    header_bytes,
    read_identity,
)
from rangecache.model import BlockKey, ObjectRef
from tests.blocks.conftest import block_key

names = st.text(max_size=50)
keys = st.builds(
    BlockKey,
    st.builds(ObjectRef, names, names, names, st.none() | names),
    names,
    st.integers(0, 2**40),
    st.integers(1, 2**24),
)

KEY = block_key(7)
DATA = bytes(range(100))
HEADER = encode_header(KEY, DATA)


def test_what_was_encoded_is_accepted() -> None:
    check(HEADER, DATA, KEY)


def test_the_length_of_a_header_is_known_before_its_data() -> None:
    assert len(HEADER) == header_bytes(KEY.identity())


def test_every_flipped_bit_of_header_or_data_is_caught() -> None:
    frame = HEADER + DATA
    for bit in range(len(frame) * 8):
        flipped = bytearray(frame)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FrameError):
            check(bytes(flipped[: len(HEADER)]), bytes(flipped[len(HEADER) :]), KEY)


def test_every_cut_is_caught() -> None:
    for length in range(len(HEADER)):
        with pytest.raises(FrameError):
            check(HEADER[:length], DATA, KEY)
    for length in range(len(DATA)):
        with pytest.raises(FrameError):
            check(HEADER, DATA[:length], KEY)


def test_a_byte_too_many_is_caught() -> None:
    with pytest.raises(FrameError):
        check(HEADER, DATA + b"x", KEY)
    with pytest.raises(FrameError):
        check(HEADER + b"x", DATA, KEY)


@pytest.mark.parametrize(
    "other",
    [
        KEY._replace(block_index=8),
        KEY._replace(generation="1" * 32),
        KEY._replace(block_bytes=8192),
        KEY._replace(ref=KEY.ref._replace(provider="gs")),
        KEY._replace(ref=KEY.ref._replace(bucket="bucket2")),
        KEY._replace(ref=KEY.ref._replace(key="scenes/b.tif")),
        KEY._replace(ref=KEY.ref._replace(version="")),
    ],
)
def test_a_sound_block_of_another_key_is_not_this_block(other: BlockKey) -> None:
    with pytest.raises(FrameError, match="another block"):
        check(encode_header(other, DATA), DATA, KEY)


def test_fields_cannot_run_into_each_other() -> None:
    one = BlockKey(ObjectRef("s3", "ab", "c"), "g", 1, 4096)
    two = BlockKey(ObjectRef("s3", "a", "bc"), "g", 1, 4096)
    with pytest.raises(FrameError, match="another block"):
        check(encode_header(one, DATA), DATA, two)


@pytest.mark.parametrize(("at", "what"), [(0, b"rc-bloCk"), (8, b"\x02\x00")])
def test_another_format_is_not_read_even_if_its_checksum_is_right(at: int, what: bytes) -> None:
    body = bytearray(HEADER[:-16])
    body[at : at + len(what)] = what
    with pytest.raises(FrameError, match="another format"):
        check(bytes(body) + blake3(bytes(body)).digest(16), DATA, KEY)


def test_the_bytes_on_disk_stay_as_they_are() -> None:
    """A change of format must change FORMAT_VERSION, and then this test."""
    assert blake3(HEADER).hexdigest() == "32fa3c035edac9b093c5989c383db9d90eeb912175ab9d39a51ecc4c337eec53"


@given(st.binary(max_size=300), st.binary(max_size=50))
def test_garbage_is_a_frame_error_and_nothing_else(header: bytes, data: bytes) -> None:
    with pytest.raises(FrameError):
        check(header, data, KEY)


@given(st.binary(max_size=200), st.binary(max_size=50))
def test_garbage_with_a_right_checksum_is_a_frame_error_and_nothing_else(body: bytes, data: bytes) -> None:
    with pytest.raises(FrameError):
        check(body + blake3(body).digest(16), data, KEY)


@given(st.text(), st.text(), st.text(), st.none() | st.text(), st.integers(0, 2**40), st.binary(max_size=4096))
def test_any_key_and_data_come_through(
    provider: str, bucket: str, key: str, version: str | None, index: int, data: bytes
) -> None:
    named = BlockKey(ObjectRef(provider, bucket, key, version), "g", index, 4096)
    check(encode_header(named, data), data, named)


@given(keys)
def test_the_beginning_of_a_file_says_whose_it_is(key: BlockKey) -> None:
    header = encode_header(key, b"data")
    assert read_identity((header + b"data")[:HEADER_BYTES_MAX]) == key
    assert len(header) <= HEADER_BYTES_MAX


@given(keys, st.data())
def test_a_damaged_beginning_names_nobody(key: BlockKey, data: st.DataObject) -> None:
    header = bytearray(encode_header(key, b"data"))
    at = data.draw(st.integers(0, len(header) - 1))
    header[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(FrameError):
        read_identity(bytes(header))
    with pytest.raises(FrameError):
        read_identity(bytes(header[:at]))


def _sealed(body: bytes) -> bytes:
    return body + blake3(body).digest(16)


@pytest.mark.parametrize(
    ("header", "data", "sentence"),
    [
        (b"", DATA, "the header is cut at 0 bytes"),
        (HEADER[: header_bytes(b"") - 1], DATA, f"the header is cut at {header_bytes(b'') - 1} bytes"),
        (HEADER[: header_bytes(b"")], DATA, "the header is damaged"),
        (HEADER[:-1] + b"\0", DATA, "the header is damaged"),
        (_sealed(b"rc-BLOCK" + HEADER[8:-16]), DATA, "the header is of another format (b'rc-BLOCK', version 1)"),
        (encode_header(block_key(8), DATA), DATA, "the file holds another block"),
        (HEADER, DATA + b"x", "the file holds 101 bytes of data and its header says 100"),
        (HEADER, DATA[:-1] + b"x", "the data is damaged"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_a_sentence(header: bytes, data: bytes, sentence: str) -> None:
    with pytest.raises(FrameError) as caught:
        check(header, data, KEY)
    assert caught.value.message == sentence


@pytest.mark.parametrize(
    ("beginning", "sentence"),
    [
        (HEADER[:53], "the header is cut at 53 bytes"),
        (_sealed(b"rc-BLOCK" + HEADER[8:-16]), "the header is of another format (b'rc-BLOCK', version 1)"),
        (
            _sealed(HEADER[:8] + b"\x02\x00" + HEADER[10:-16]),
            "the header is of another format (b'rc-block', version 2)",
        ),
        (HEADER[:54], "the header is damaged"),
        (HEADER[:-1] + b"\0", "the header is damaged"),
        (_sealed(HEADER[:10] + (3).to_bytes(4, "little") + HEADER[14:54] + b"abc"), "the header names no block"),
    ],
)
def test_what_is_wrong_with_a_beginning_is_said_in_a_sentence(beginning: bytes, sentence: str) -> None:
    with pytest.raises(FrameError) as caught:
        read_identity(beginning)
    assert caught.value.message == sentence
