from __future__ import annotations

import random
from collections import Counter
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rangecache.blocks.admission import Standing
from rangecache.blocks.admission_index import DictIndex, DigestIndex
from rangecache.blocks.admission_slots import SLOT_BYTES_MAX
from rangecache.blocks.admission_tinylfu import TOUCHES, WINDOW_SHARE_MAX, WINDOW_SHARE_MIN, WTinyLFU
from tests.blocks.test_admission_index import digest

if TYPE_CHECKING:
    from collections.abc import Iterable

SIZE = 1000


class Store:
    """A tier of numbered blocks that drops what its policy says; every access is a hit or a miss."""

    def __init__(self, blocks: int) -> None:
        self.policy: WTinyLFU[int] = WTinyLFU(DictIndex())
        self.limit_bytes = blocks * SIZE
        self.held: set[int] = set()

    def read(self, number: int) -> bool:
        if number in self.held:
            self.policy.touch(number)
            return True
        self.policy.admit(number, SIZE)
        self.held.add(number)
        self.held.difference_update(self.policy.evict(self.limit_bytes))
        return False

    def hits(self, numbers: Iterable[int]) -> int:
        return sum(map(self.read, numbers))


def filled(blocks: int = 100) -> Store:
    """A store with favourites, the numbers below `blocks`, which have been read among others that came once."""
    store = Store(blocks)
    for number in range(20 * blocks):
        store.read(number * number % 997 % (blocks * 3 // 4))
        store.read(1_000_000 + number)
    return store


def test_a_scan_leaves_what_is_used_again_where_it_is() -> None:
    store = filled()
    before = store.held & set(range(100))
    store.hits(range(10_000, 13_000))
    assert len(store.held & before) >= 0.7 * len(before)


def test_an_lru_keeps_nothing_of_it() -> None:
    """So the scan above is one."""
    from rangecache.blocks.admission import LRU

    policy: LRU[int] = LRU()
    for number in [*range(100), *range(10_000, 13_000)]:
        policy.admit(number, SIZE)
        policy.evict(100 * SIZE)
    assert not any(number in policy for number in range(100))


def test_the_newest_block_survives_its_own_coming_and_the_next_ones() -> None:
    store = filled()
    for number in range(20_000, 20_050):
        store.read(number)
        assert number in store.held
        assert number == 20_000 or number - 1 in store.held


def test_a_newcomer_that_was_turned_down_before_is_let_in_when_it_comes_again_and_again() -> None:
    store = filled()
    for number in range(30_000, 30_100):
        store.read(5)  # the one that is used
        store.read(number)
        store.read(7777)
    assert 7777 in store.held


def test_small_reads_that_walk_through_a_block_count_once() -> None:
    """A scan in reads of a sixteenth of a block is a scan."""
    store = filled()
    before = store.held & set(range(100))
    for number in range(10_000, 13_000):
        for _ in range(16):
            store.read(number)
    assert len(store.held & before) >= 0.6 * len(before)


def test_the_window_grows_for_a_moving_window_and_shrinks_for_favourites() -> None:
    store = Store(200)
    store.hits(start + back for start in range(4000) for back in (0, 60, 120, 160))
    assert store.policy.window_share > 0.6
    favourites = (each * each % 997 for each in count())
    for number, favourite in zip(range(50_000, 90_000), favourites, strict=False):
        store.read(number)
        store.read(favourite % 150)
    assert store.policy.window_share < 0.25


def test_touches_beyond_the_bound_are_forgotten_and_cost_nothing() -> None:
    store = filled()
    for number in range(10 * TOUCHES):
        store.policy.touch(number % 90)
    store.policy.touch(10**9)  # gone since it was read
    store.read(4000)
    assert len(store.policy) == len(store.held)


def test_of_too_many_touches_the_oldest_are_forgotten() -> None:
    policy: WTinyLFU[str] = WTinyLFU(DictIndex())
    for name in ("forgotten", "touched"):
        policy.restore(Standing(name, 10, 0x11))
    policy.touch("forgotten")
    for _ in range(TOUCHES):
        policy.touch("touched")
    assert {each.key: each.rank >> 4 for each in policy.standing()} == {"forgotten": 1, "touched": 2}


def test_two_runs_of_the_same_reads_hold_the_same() -> None:
    reads = [each * each * 7 % 1009 % 300 for each in range(5000)]
    first, second = Store(50), Store(50)
    assert first.hits(reads) == second.hits(reads)
    assert list(first.policy.standing()) == list(second.policy.standing())


def test_its_figures_are_those_that_were_measured() -> None:
    """A change of the policy shows here first: change these numbers on purpose, and those of docs/admission.md."""
    state, store = 1, Store(150)
    hits = 0
    for number in range(40_000):
        state = state * 6364136223846793005 + 1442695040888963407 & (1 << 64) - 1
        chance = state >> 40
        favourite = chance % (1 + (chance >> 8) % 400)
        if number < 20_000:  # favourites, and somebody who reads seven hundred blocks round and round
            hits += store.read(favourite if number % 3 else 1_000_000 + number // 2 % 700)
        else:  # a window that moves
            hits += store.read(number // 40 - chance % 170)
    assert (hits, round(store.policy.window_share, 3), len(store.policy)) == (25_320, 0.937, 150)


def test_many_small_blocks_are_not_given_up_for_one_large_one() -> None:
    """A contest is with all who would have to go, together."""
    policy: WTinyLFU[str] = WTinyLFU(DictIndex())
    for number in range(100):
        policy.admit(f"small {number}", 10)
        policy.evict(1000)
    for _ in range(2):
        policy.admit("large", 500)
        policy.evict(1500)
    for number in range(40):
        policy.admit(f"later {number}", 10)
        gone = policy.evict(1000)
        assert sum(name.startswith("small") for name in gone) <= 1 or "large" not in policy
    assert "large" not in policy
    assert sum(each.key.startswith("small") for each in policy.standing()) > 50


def test_a_name_admitted_again_counts_with_its_new_size_only() -> None:
    policy: WTinyLFU[str] = WTinyLFU(DictIndex())
    policy.admit("a", 10)
    policy.admit("a", 30)
    assert (policy.held_bytes, len(policy)) == (30, 1)
    assert [(each.key, each.size_bytes) for each in policy.standing()] == [("a", 30)]


def test_the_largest_size_is_counted_to_the_byte() -> None:
    policy: WTinyLFU[str] = WTinyLFU(DictIndex())
    policy.admit("a", SLOT_BYTES_MAX)
    assert next(policy.standing()).size_bytes == policy.held_bytes == 2**32 - 1
    policy.remove("a")
    assert policy.held_bytes == 0


def test_what_is_removed_is_neither_held_nor_counted_and_nobody_else_goes() -> None:
    policy: WTinyLFU[str] = WTinyLFU(DictIndex())
    for name in "abc":
        policy.admit(name, 10)
    policy.remove("b")
    policy.remove("stranger")
    assert (policy.held_bytes, len(policy), "b" in policy) == (20, 2, False)
    assert [each.key for each in policy.standing()] == ["a", "c"]
    assert policy.evict(20) == []


def test_four_tenths_as_many_are_remembered_as_are_held() -> None:
    policy: WTinyLFU[int] = WTinyLFU(DictIndex())
    for number in range(1000):
        policy.restore(Standing(number, 10, 0x13))
    gone = policy.evict(7000)
    assert len(gone) == 300
    for number in gone:
        policy.admit(number, 10)
    ranks = {each.key: each.rank for each in policy.standing()}
    # 300 in 400 places: each still has its own with a probability of about 0.7.
    assert 180 < sum(ranks[number] == 4 for number in gone) < 240


def test_one_larger_than_the_bound_goes_and_takes_all_with_it_as_it_must() -> None:
    policy: WTinyLFU[str] = WTinyLFU(DictIndex())
    policy.admit("huge", 1000)
    assert policy.evict(100) == ["huge"]
    assert policy.held_bytes == 0


def test_a_bound_of_zero_empties_it_and_it_can_be_used_again() -> None:
    store = filled()
    assert set(store.policy.evict(0)) == store.held
    assert (store.policy.held_bytes, len(store.policy), list(store.policy.standing())) == (0, 0, [])
    store.held.clear()
    assert store.hits([1, 1, 2, 1]) == 2


def test_a_cold_tier_that_is_far_beyond_its_bound_is_brought_below_it() -> None:
    """As after a restart without a snapshot, with a smaller bound than before."""
    policy: WTinyLFU[bytes] = WTinyLFU(DigestIndex())
    for number in range(1000):
        policy.admit(digest(number), SIZE)
    assert len(policy.evict(300 * SIZE)) == 700
    assert policy.held_bytes == 300 * SIZE


def test_standing_goes_on_while_names_come_and_go() -> None:
    store = filled()
    standing = store.policy.standing()
    seen = [next(standing).key for _ in range(10)]
    before = set(store.held)
    store.hits(range(10_000, 10_050))
    seen += [each.key for each in standing]
    stayed = before & store.held
    assert sorted(each for each in seen if each in stayed) == sorted(stayed)


def test_favourites_are_what_was_read_again_since_it_came() -> None:
    policy: WTinyLFU[str] = WTinyLFU(DictIndex())
    for name in ("once", "twice", "often"):
        policy.admit(name, SIZE)
    for number in range(4):
        policy.admit(f"other {number}", SIZE)  # each of them a later epoch, as the tier is so small
        for name in ("often", "twice")[: 2 if number == 3 else 1]:
            policy.touch(name)
    assert set(policy.favourites()) == {"twice", "often"}


def test_the_windows_share_is_taken_up_again_too() -> None:
    policy: WTinyLFU[str] = WTinyLFU(DictIndex())
    for name, rank in (("probation", 0x11), ("window", 0x01), ("protected", 0x22), ("of no segment", 0x31)):
        policy.restore(Standing(name, 1000 if name == "protected" else 250, rank))
    assert policy.window_share == pytest.approx(500 / 1750)
    assert [each.rank for each in policy.standing()] == [0x11, 0x01, 0x01, 0x22]
    assert policy.held_bytes == 1750


def test_a_share_is_restored_within_its_bounds() -> None:
    policy: WTinyLFU[str] = WTinyLFU(DictIndex(), window_share_min=0.2)
    policy.restore(Standing("a", 0, 0x01))
    assert policy.window_share == 0.2
    policy.restore(Standing("b", 1, 0x01))
    assert policy.window_share == WINDOW_SHARE_MAX


def test_a_contest_is_won_by_more_uses_than_all_rivals_have_together_and_lost_at_a_draw() -> None:
    """Sizes 2, 1, 1: the candidate needs the room of both rivals, who have used 2 and 1."""
    for uses, stays in ((2, False), (3, False), (4, True)):
        policy: WTinyLFU[str] = WTinyLFU(DictIndex())
        policy.restore(Standing("first", 1, 0x12))
        policy.restore(Standing("second", 1, 0x11))
        policy.restore(Standing("third", 100, 0x21))
        policy.restore(Standing("candidate", 2, uses))
        policy.restore(Standing("newest", 0, 0x01))
        gone = policy.evict(102)
        assert gone == (["first", "second"] if stays else ["candidate"]), uses


def test_one_byte_too_many_is_contested_too() -> None:
    policy: WTinyLFU[str] = WTinyLFU(DictIndex())
    for name, size_bytes, rank in (("main", 100, 0x21), ("rival", 1, 0x11), ("candidate", 2, 2), ("newest", 0, 1)):
        policy.restore(Standing(name, size_bytes, rank))
    assert policy.evict(102) == ["rival"]


def test_a_bound_of_zero_leaves_nobody_and_one_of_a_byte_leaves_one_of_a_byte() -> None:
    policy: WTinyLFU[str] = WTinyLFU(DictIndex())
    policy.admit("a", 1)
    assert policy.evict(1) == []
    policy.admit("empty", 0)
    assert sorted(policy.evict(0)) == ["a", "empty"]
    assert len(policy) == 0


def test_of_the_main_part_probation_goes_before_what_is_protected() -> None:
    policy: WTinyLFU[str] = WTinyLFU(DictIndex())
    for name, rank in (("probation", 0x1F), ("protected", 0x21), ("also protected", 0x21)):
        policy.restore(Standing(name, 10, rank))
    assert policy.evict(20) == ["probation"]
    assert policy.evict(15) == ["protected"]


def test_a_second_use_in_the_main_part_protects_as_far_as_there_is_room() -> None:
    policy: WTinyLFU[str] = WTinyLFU(DictIndex())
    for number in range(10):
        policy.restore(Standing(f"{number}", 10, 0x11))
    for number in range(10):
        policy.touch(f"{number}")
    segments = {each.key: each.rank >> 4 for each in policy.standing()}
    assert segments == {f"{number}": 1 if number < 2 else 2 for number in range(10)}


def test_a_use_is_counted_once_an_epoch_and_up_to_fifteen() -> None:
    policy: WTinyLFU[str] = WTinyLFU(DictIndex())
    policy.restore(Standing("a", 6400, 0x01))

    def uses() -> int:
        return next(each.rank & 0xF for each in policy.standing() if each.key == "a")

    for _ in range(5):
        policy.touch("a")
    assert uses() == 1  # it came in this epoch
    for number in range(40):
        policy.admit(f"epoch {number}", 200)  # more than a 64th
        for _ in range(3):
            policy.touch("a")
        assert uses() == min(15, 2 + number)


def test_counts_are_halved_after_ten_uses_for_each_name_and_never_by_a_scan() -> None:
    policy: WTinyLFU[int] = WTinyLFU(DictIndex())
    policy.restore(Standing(-1, 10, 0x2F))
    for number in range(1000):
        policy.admit(number, 10)
        policy.evict(100)
    assert next(each.rank for each in policy.standing() if each.key == -1) == 0x2F
    for number in range(1000, 1200):
        policy.admit(number, 10)
        policy.evict(100)
        policy.touch(-1)
        if next(each.rank for each in policy.standing() if each.key == -1) != 0x2F:
            break
    assert 100 <= number - 1000 <= 120
    assert next(each.rank for each in policy.standing() if each.key == -1) == 0x28  # and the read since


def test_a_name_that_comes_back_goes_on_with_its_count() -> None:
    policy: WTinyLFU[str] = WTinyLFU(DictIndex())
    policy.restore(Standing("a", 10, 0x17))
    policy.restore(Standing("b", 10, 0x21))
    assert policy.evict(10) == ["a"]
    policy.admit("a", 10)
    assert {each.key: each.rank for each in policy.standing()}["a"] == 8


def test_a_ghost_of_the_window_widens_it_and_one_of_the_main_part_narrows_it() -> None:
    for rank, change in ((0x02, 0.03), (0x12, -0.03)):
        policy: WTinyLFU[str] = WTinyLFU(DictIndex())
        policy.restore(Standing("goes", 10, rank))
        policy.restore(Standing("newer", 40, 0x02))
        for number in range(5):
            policy.restore(Standing(f"{number}", 10, 0x2F))
        before = policy.window_share
        assert policy.evict(90) == ["goes"]
        policy.admit("goes", 10)
        assert policy.window_share == pytest.approx(before + change)
        policy.admit("stranger", 10)
        assert policy.window_share == pytest.approx(before + change)


@pytest.mark.parametrize(("turned_down", "change"), [(1, -0.03), (9, -0.135), (1000, -0.3)])
def test_the_rarer_kind_of_ghosts_counts_for_more(turned_down: int, change: float) -> None:
    policy: WTinyLFU[str] = WTinyLFU(DictIndex())
    policy.restore(Standing("goes", 10, 0x12))
    policy.restore(Standing("protected", 40, 0x2F))
    policy.restore(Standing("window", 50, 0x02))
    policy._turned_down.added = turned_down
    before = policy.window_share
    assert policy.evict(90) == ["goes"]
    policy.admit("goes", 10)
    assert policy.window_share == pytest.approx(before + change)


def test_a_ghost_of_a_kind_of_which_none_came_for_a_long_scan_still_teaches() -> None:
    """Each 128 blocks of it halve the number of the other kind, until that is 0."""
    policy: WTinyLFU[str] = WTinyLFU(DictIndex())
    policy.restore(Standing("goes", 10, 0x12))
    policy.restore(Standing("protected", 40, 0x2F))
    policy.restore(Standing("window", 50, 0x02))
    before = policy.window_share
    assert policy.evict(90) == ["goes"]
    policy._evicted.added = 0.0
    policy.admit("goes", 10)
    assert policy.window_share == pytest.approx(before - 0.3)


def test_a_block_without_bytes_comes_back_to_a_tier_without_bytes() -> None:
    policy: WTinyLFU[str] = WTinyLFU(DictIndex())
    policy.restore(Standing("goes", 10, 0x12))
    assert policy.evict(5) == ["goes"]
    policy.admit("goes", 0)
    assert (policy.held_bytes, len(policy)) == (0, 1)


def test_ranks_of_another_policy_are_taken_for_newcomers() -> None:
    policy: WTinyLFU[str] = WTinyLFU(DictIndex())
    for name, rank in (("a", 0), ("b", 255), ("b", 255)):
        policy.restore(Standing(name, 10, rank))
    assert sorted(each.key for each in policy.standing()) == ["a", "b"]
    policy.admit("c", 10)
    assert len(policy.evict(20)) == 1


_ORDER = {1: 0, 0: 1, 2: 2}  # segments in the order in which they are written down

verbs = st.sampled_from(["admit", "touch", "remove", "evict", "evict a little"])
steps = st.lists(st.tuples(verbs, st.integers(0, 30), st.integers(0, 400)), min_size=10, max_size=120)


@pytest.mark.parametrize("index_of", [DictIndex, DigestIndex])
@given(steps=steps)
@settings(max_examples=60)
def test_the_books_balance_whatever_happens(index_of: Any, steps: list[tuple[str, int, int]]) -> None:
    policy: WTinyLFU[bytes] = WTinyLFU(index_of())
    held: dict[bytes, int] = {}
    for verb, number, size in steps:
        name = digest(number)
        if verb == "admit":
            policy.admit(name, size)
            held[name] = size
        elif verb == "touch":
            policy.touch(name)
        elif verb == "remove":
            policy.remove(name)
            held.pop(name, None)
        else:
            limit = size if verb == "evict" else max(0, policy.held_bytes - 1)
            gone = policy.evict(limit)
            assert len(set(gone)) == len(gone)
            for each in gone:
                del held[each]
            assert policy.held_bytes <= limit
        assert policy.held_bytes == sum(held.values())
        standing = list(policy.standing())
        assert {each.key: each.size_bytes for each in standing} == held
        assert [_ORDER[each.rank >> 4] for each in standing] == sorted(_ORDER[each.rank >> 4] for each in standing)
        assert policy._lists.list_bytes == [
            sum(each.size_bytes for each in standing if each.rank >> 4 == segment) for segment in range(3)
        ]
        assert len(policy) == len(held)
        assert all(each in policy for each in held)
        assert digest(99) not in policy
        assert WINDOW_SHARE_MIN <= policy.window_share <= WINDOW_SHARE_MAX


@given(steps=steps)
def test_what_was_written_down_is_taken_up_as_it_was(steps: list[tuple[str, int, int]]) -> None:
    policy: WTinyLFU[bytes] = WTinyLFU(DigestIndex())
    for verb, number, size in steps:
        if verb == "admit":
            policy.admit(digest(number), size + 1)
            policy.evict(2000)
        elif digest(number) in policy:
            policy.touch(digest(number))
    again: WTinyLFU[bytes] = WTinyLFU(DigestIndex())
    for each in policy.standing():
        again.restore(each)
    assert list(again.standing()) == list(policy.standing())
    assert again.held_bytes == policy.held_bytes


def test_what_is_not_held_is_wanted_while_there_is_room() -> None:
    store = Store(10)
    store.hits(range(9))
    assert store.policy.wants(100, SIZE, store.limit_bytes)
    store.hits([9])
    assert not store.policy.wants(101, SIZE, 9 * SIZE)


def test_it_is_wanted_when_it_has_been_used_more_than_who_would_go() -> None:
    """And comes with the uses that were noted, so that it stays when it leaves the window."""
    store = Store(100)
    store.hits([*range(100)] * 2)
    uses = 1
    while not store.policy.wants(500, SIZE, store.limit_bytes):
        uses += 1
    assert 2 <= uses <= 4
    assert not store.policy.wants(501, SIZE, store.limit_bytes)
    store.read(500)
    assert {each.key: each.rank & 0xF for each in store.policy.standing()}[500] == uses
    store.hits(range(1000, 1300))
    assert 500 in store.held


def test_one_that_would_take_the_place_of_several_has_to_outweigh_them() -> None:
    store = Store(100)
    store.hits([*range(100)] * 2)
    uses = 1
    while not store.policy.wants(500, 3 * SIZE, store.limit_bytes):
        uses += 1
    assert uses >= 4


def test_many_that_are_used_as_much_as_those_held_do_not_take_turns() -> None:
    """Every read of what is held counts, and one in sixteen of what is not: so even chances are no reason to change."""
    store, drawn = filled(32), random.Random(1)
    reads, wanted = 50_000, 0
    touched: Counter[int] = Counter()
    for _ in range(reads):
        number = drawn.randrange(512)
        if number in store.held:
            store.policy.touch(number)
            continue
        touched[number] += 1
        if touched[number] % 16 == 0 and store.policy.wants(number, SIZE, store.limit_bytes):
            wanted += 1
            store.read(number)
    assert wanted < 0.002 * reads


def test_those_that_are_used_most_get_in_by_being_asked_for() -> None:
    store, drawn = filled(32), random.Random(1)
    touched: Counter[int] = Counter()
    for _ in range(50_000):
        number = 2_000_000 + int(drawn.paretovariate(0.8))
        if number in store.held:
            store.policy.touch(number)
            continue
        touched[number] += 1
        if touched[number] % 16 == 0 and store.policy.wants(number, SIZE, store.limit_bytes):
            store.read(number)
    assert len(store.held & set(range(2_000_001, 2_000_017))) >= 14
