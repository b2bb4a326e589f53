"""Bytes that say what they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rangecache.testing.objects import RECORD_BYTES, Stamped, WrongBytes, check_stamped, stamped

SIZE = 1000


@given(st.integers(0, SIZE - RECORD_BYTES), st.integers(RECORD_BYTES, SIZE), st.integers(0, 2**32 - 1))
def test_any_sixteen_bytes_tell_their_version(start: int, length: int, version: int) -> None:
    data = stamped("a", version, SIZE)[start : start + length]
    assert check_stamped(data, start, "a") == version
    assert Stamped("a", version, SIZE).read(start, start + length) == data


@given(st.data())
def test_a_mixture_of_two_versions_is_seen(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, SIZE - 2 * RECORD_BYTES))
    end = data.draw(st.integers(start + 2 * RECORD_BYTES, SIZE))
    # The border lies where both sides hold a byte of some version field that differs.
    border = data.draw(st.integers(start + RECORD_BYTES, end - RECORD_BYTES))
    old, new = stamped("a", 1, SIZE), stamped("a", 2, SIZE)
    with pytest.raises(WrongBytes, match="from offset"):
        check_stamped(old[start:border] + new[border:end], start)


@given(st.integers(0, SIZE - 64), st.integers(0, SIZE - 64))
def test_bytes_of_another_place_are_seen(start: int, said: int) -> None:
    data = stamped("a", 1, SIZE)[start : start + 64]
    if start == said:
        assert check_stamped(data, said) == 1
    else:
        with pytest.raises(WrongBytes):
            check_stamped(data, said)


def test_bytes_of_another_object_and_single_flipped_bits_are_seen() -> None:
    data = stamped("a", 1, SIZE)
    with pytest.raises(WrongBytes, match="not of b"):
        check_stamped(data, 0, "b")
    for at in range(SIZE):
        flipped = bytearray(data)
        flipped[at] ^= 0x10
        with pytest.raises(WrongBytes):
            check_stamped(flipped, 0, "a")


def test_zeros_and_too_few_bytes_are_refused() -> None:
    with pytest.raises(WrongBytes):
        check_stamped(bytes(64), 0)
    with pytest.raises(ValueError, match="too few"):
        check_stamped(stamped("a", 1, 15), 0)


def test_an_object_ends_at_its_size() -> None:
    assert len(stamped("a", 1, 37)) == 37
    assert Stamped("a", 1, 37).read(30, 99) == stamped("a", 1, 37)[30:]
    assert Stamped("a", 1, 37).read(37, 99) == b""
