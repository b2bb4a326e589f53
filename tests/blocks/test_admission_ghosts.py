from __future__ import annotations

from rangecache.blocks.admission_ghosts import PLACES_MIN, Ghosts


def test_a_name_is_remembered_with_its_count_until_it_is_taken() -> None:
    ghosts = Ghosts()
    ghosts.add(77, 3)
    assert ghosts.take(78) == 0
    assert ghosts.take(77) == 3
    assert ghosts.take(77) == 0


def test_a_place_that_was_given_up_stands_for_nobody() -> None:
    ghosts = Ghosts()
    ghosts.add(1 + PLACES_MIN, 3)
    ghosts.take(1 + PLACES_MIN)
    assert ghosts.take(1) == 0


def test_a_newer_name_takes_the_place_of_an_older_one() -> None:
    ghosts = Ghosts()
    ghosts.add(5, 1)
    ghosts.add(5 + PLACES_MIN, 2)
    assert (ghosts.take(5), ghosts.take(5 + PLACES_MIN)) == (0, 2)


def test_a_table_that_is_large_enough_stays_as_it_is() -> None:
    ghosts = Ghosts()
    ghosts.fit(900)
    for each in range(900):
        ghosts.add(1000 + each, 1 + each % 15)
    ghosts.fit(1200)  # it has three quarters of that
    ghosts.fit(10)
    assert [ghosts.take(1000 + each) for each in range(900)] == [1 + each % 15 for each in range(900)]


def test_a_table_that_is_much_too_small_is_replaced_by_one_with_room_for_all() -> None:
    ghosts = Ghosts()
    ghosts.fit(1000)
    ghosts.add(7, 1)
    ghosts.fit(2000)
    for each in range(2000):
        ghosts.add(each + 2000, 2)
    assert sum(ghosts.take(each + 2000) for each in range(2000)) == 4000


def test_ageing_changes_the_counts_and_nothing_else() -> None:
    ghosts = Ghosts()
    ghosts.add(7, 9)
    ghosts.age(bytes(each // 2 for each in range(256)))
    assert (ghosts.added, ghosts.take(7)) == (2, 4)
