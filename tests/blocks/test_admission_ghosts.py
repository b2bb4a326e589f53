from __future__ import annotations

from rangecache.blocks.admission_ghosts import Ghosts


def test_a_name_is_remembered_with_its_count_until_it_is_taken() -> None:
    ghosts = Ghosts()
    ghosts.add(77, 3)
    assert ghosts.take(78) == 0
    assert ghosts.take(77) == 3
    assert ghosts.take(77) == 0


def test_a_newer_name_takes_the_place_of_an_older_one() -> None:
    ghosts = Ghosts()
    ghosts.add(5, 1)
    ghosts.add(5 + 1024, 2)
    assert (ghosts.take(5), ghosts.take(5 + 1024)) == (0, 2)


def test_growing_forgets_nobody_and_gives_everybody_a_place_of_his_own() -> None:
    ghosts = Ghosts()
    for each in range(16):
        ghosts.add(each << 20 | each, 1 + each % 15)
    ghosts.make_room(1000)
    ghosts.add(5 + 512, 9)
    assert [ghosts.take(each << 20 | each) for each in range(16)] == [1 + each % 15 for each in range(16)]
    assert ghosts.take(5 + 512) == 9


def test_what_was_left_behind_in_the_other_half_is_never_taken_for_another() -> None:
    ghosts = Ghosts()
    ghosts.add(3, 7)
    ghosts.make_room(64)
    assert [ghosts.take(3 + 16 * half) for half in (1, 2, 3)] == [0, 0, 0]
    assert ghosts.take(3) == 7
