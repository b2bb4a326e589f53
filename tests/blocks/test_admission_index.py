from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rangecache.blocks.admission_index import RESERVED, DictIndex, DigestIndex, Index

if TYPE_CHECKING:
    from collections.abc import Callable


def digest(number: int, thing: int = 0) -> bytes:
    """A name as the disk tier makes them: 16 bytes of the object, 16 of the block."""
    return hashlib.sha256(b"%d" % thing).digest()[:16] + hashlib.sha256(b"%d" % number).digest()[:16]


def clashing(number: int) -> bytes:
    """Names that share all bits by which buckets are chosen."""
    return bytes(31) + bytes([number + 1])


kinds = pytest.mark.parametrize(
    ("index_of", "name_of"), [(DictIndex, digest), (DigestIndex, digest), (DigestIndex, clashing)]
)


@kinds
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["insert", "discard", "clear"]), st.integers(0, 40)), min_size=10, max_size=150
    )
)
@settings(max_examples=50)
def test_it_agrees_with_a_dictionary(
    index_of: Callable[[], Index[Any]], name_of: Callable[[int], bytes], steps: list[tuple[str, int]]
) -> None:
    index, model = index_of(), dict[bytes, int]()
    for verb, number in steps:
        name = name_of(number)
        if verb == "insert" and name not in model:
            model[name] = index.insert(name)
            assert RESERVED <= model[name] < RESERVED + 41
        elif verb == "discard" and name in model:
            slot = model.pop(name)
            assert index.discard(slot) == name
            assert index.holder(slot) is None
        elif verb == "clear" and number == 0:
            index.clear()
            model.clear()
        assert len(index) == len(model)
        assert [index.find(name_of(each)) for each in range(41)] == [model.get(name_of(each)) for each in range(41)]
        assert all(index.holder(slot) == each for each, slot in model.items())
        assert len(set(model.values())) == len(model)


@kinds
def test_slots_are_dense_and_used_again(index_of: Callable[[], Index[Any]], name_of: Callable[[int], bytes]) -> None:
    index = index_of()
    slots = [index.insert(name_of(number)) for number in range(50)]
    assert slots == list(range(RESERVED, RESERVED + 50))
    index.discard(slots[7])
    assert index.insert(name_of(50)) == slots[7]


@pytest.mark.parametrize("place", range(4))
def test_one_that_leaves_a_bucket_takes_none_of_its_neighbours_along(place: int) -> None:
    index = DigestIndex()
    slots = {clashing(number): index.insert(clashing(number)) for number in range(4)}
    index.discard(slots.pop(clashing(place)))
    assert index.find(clashing(place)) is None
    slots[clashing(9)] = index.insert(clashing(9))  # into the slot that was given back
    assert {name: index.find(name) for name in slots} == slots


def test_ten_thousand_digests_are_all_found_and_no_other() -> None:
    index = DigestIndex()
    slots = {digest(number): index.insert(digest(number)) for number in range(10_000)}
    assert all(index.find(name) == slot for name, slot in slots.items())
    assert all(index.find(digest(number)) is None for number in range(10_000, 11_000))


def test_buckets_stay_short_however_many_names_there_are() -> None:
    index = DigestIndex()
    for number in range(10_000):
        index.insert(digest(number))
    lengths = []
    for first in index._buckets:
        length, slot = 0, first
        while slot:
            length, slot = length + 1, index._chain[slot]
        lengths.append(length)
    assert (len(lengths), sum(lengths)) == (10_000, 10_000)
    assert max(lengths) < 12
    assert lengths.count(0) < 4500  # 3679 of 10,000 if every name goes anywhere with the same chance


def test_the_names_of_an_object_are_found_by_its_prefix() -> None:
    index = DigestIndex()
    slots = [index.insert(digest(number, number % 3)) for number in range(30)]
    index.discard(slots[4])
    assert index.starting_with(digest(0, 1)[:16]) == [digest(number, 1) for number in range(1, 30, 3) if number != 4]
    assert index.starting_with(digest(0, 7)[:16]) == []


def test_a_prefix_counts_only_where_a_name_begins() -> None:
    index = DigestIndex()
    index.insert(bytes(16) + b"p" * 16)
    index.insert(b"p" * 8 + bytes(24))
    assert index.starting_with(b"p" * 16) == []
    index.insert(b"p" * 32)
    assert index.starting_with(b"p" * 16) == [b"p" * 32]
    index.insert(bytes(31) + b"p")  # so the prefix is found a byte before the next name first
    index.insert(b"p" * 16 + bytes(16))
    assert index.starting_with(b"p" * 16) == [b"p" * 32, b"p" * 16 + bytes(16)]


def test_nobodys_slots_are_not_among_those_that_begin_with_zeros() -> None:
    index = DigestIndex()
    index.discard(index.insert(digest(1)))
    name = bytes(16) + b"n" * 16
    index.insert(digest(2))
    index.insert(name)
    assert index.starting_with(bytes(16)) == [name]


def test_names_and_prefixes_of_another_length_are_refused() -> None:
    index = DigestIndex()
    with pytest.raises(ValueError, match="expected a name of 32 bytes, got 31"):
        index.insert(bytes(31))
    with pytest.raises(ValueError, match="expected a prefix of 16 bytes, got 32"):
        index.starting_with(bytes(32))


def test_a_slot_that_is_nobodys_cannot_be_given_back() -> None:
    index: DictIndex[str] = DictIndex()
    slot = index.insert("a")
    index.discard(slot)
    with pytest.raises(KeyError, match=f"{slot}"):
        index.discard(slot)


def test_a_large_number_counts_in_its_fingerprint_with_all_its_bits() -> None:
    numbers: DictIndex[int] = DictIndex()
    assert (numbers.fingerprint(1), numbers.fingerprint(1 << 32)) == (0x9E3779B9, 0x7F4A7C15)


def test_fingerprints_have_32_bits_and_differ_for_neighbours() -> None:
    numbers: DictIndex[int] = DictIndex()
    prints = {numbers.fingerprint(number) for number in range(1000)}
    assert len(prints) == len({each & 0xFFF for each in prints}) == 1000
    assert all(0 <= each < 1 << 32 for each in prints | {DigestIndex().fingerprint(b"\xff" * 32)})
