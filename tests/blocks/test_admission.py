from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rangecache.blocks.admission import LRU, Standing


def test_the_least_recently_used_goes_first() -> None:
    policy: LRU[str] = LRU()
    for name in "abc":
        policy.admit(name, 10)
    policy.touch("a")
    assert policy.evict(20) == ["b"]
    assert policy.evict(10) == ["c"]
    assert "a" in policy


def test_a_name_admitted_again_counts_once_and_is_the_newest() -> None:
    policy: LRU[str] = LRU()
    policy.admit("a", 10)
    policy.admit("b", 10)
    policy.admit("a", 30)
    assert policy.held_bytes == 40
    assert policy.evict(30) == ["b"]


def test_removing_what_is_not_held_changes_nothing() -> None:
    policy: LRU[str] = LRU()
    policy.admit("a", 10)
    policy.remove("b")
    assert (policy.held_bytes, len(policy)) == (10, 1)


def test_a_newcomer_larger_than_the_limit_is_among_the_evicted() -> None:
    policy: LRU[str] = LRU()
    policy.admit("a", 10)
    policy.admit("huge", 1000)
    assert policy.evict(100) == ["a", "huge"]
    assert policy.held_bytes == 0


steps = st.lists(
    st.tuples(st.sampled_from(["admit", "touch", "remove", "evict"]), st.integers(0, 9), st.integers(0, 50)),
    max_size=60,
)


@given(steps)
def test_it_agrees_with_a_list_in_order_of_use(steps: list[tuple[str, int, int]]) -> None:
    policy: LRU[int] = LRU()
    model: list[tuple[int, int]] = []
    for verb, key, size in steps:
        held = [entry for entry in model if entry[0] == key]
        if verb == "admit":
            policy.admit(key, size)
            model = [entry for entry in model if entry[0] != key] + [(key, size)]
        elif verb == "touch" and held:
            policy.touch(key)
            model = [entry for entry in model if entry[0] != key] + held
        elif verb == "remove":
            policy.remove(key)
            model = [entry for entry in model if entry[0] != key]
        elif verb == "evict":
            gone = []
            while model and sum(bytes_ for _, bytes_ in model) > size:
                gone.append(model.pop(0)[0])
            assert policy.evict(size) == gone
        assert policy.held_bytes == sum(bytes_ for _, bytes_ in model)
        assert len(policy) == len(model)


def test_a_standing_is_read_in_pieces_while_the_policy_changes() -> None:
    policy: LRU[str] = LRU()
    for name in "abcd":
        policy.admit(name, 10)
    standing = policy.standing()
    first = next(standing).key
    policy.remove("b")
    policy.touch("a")
    policy.admit("e", 10)
    seen = [first, *(each.key for each in standing)]
    assert {"a", "c", "d"} <= set(seen)
    assert len(seen) == len(set(seen))


def test_a_standing_that_is_restored_goes_on_where_it_was() -> None:
    policy: LRU[str] = LRU()
    policy.admit("a", 10)
    policy.admit("b", 20)
    assert list(policy.standing()) == [Standing("a", 10, 0), Standing("b", 20, 0)]
    later: LRU[str] = LRU()
    for each in policy.standing():
        later.restore(each)
    assert (later.held_bytes, len(later)) == (30, 2)
    assert later.evict(20) == ["a"]
