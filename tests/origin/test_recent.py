"""What is remembered of things that there may be any number of."""

from __future__ import annotations

from rangecache.origin.recent import Recent


def test_what_was_used_longest_ago_is_forgotten_first() -> None:
    recent: Recent[str, int] = Recent(3)
    for number, name in enumerate("abc"):
        recent.put(name, number)
    assert recent.get("a") == 0
    recent.put("b", 7)
    recent.put("d", 3)
    assert list(recent.items()) == [("a", 0), ("b", 7), ("d", 3)]
    assert recent.get("c") is None
    recent.drop("a")
    recent.drop("nothing")
    assert len(recent) == 2
