from __future__ import annotations

from rangecache.model import ObjectRef
from rangecache.read.epochs import PURGES_KEPT, Epochs
from rangecache.read.selection import Selection

A, B = ObjectRef("s3", "b", "a"), ObjectRef("s3", "b", "b")


def test_what_was_asked_for_before_a_purge_of_its_object_is_void() -> None:
    epochs = Epochs()
    before = epochs.now
    assert not epochs.over(A, before)
    epochs.begin(Selection.an_object("s3/b/a"))
    assert epochs.over(A, before)
    assert not epochs.over(B, before)
    assert not epochs.over(A, epochs.now)


def test_every_purge_since_counts() -> None:
    epochs = Epochs()
    asked = []
    for name in ("s3/b/a", "s3/b/b", "s3/b/c"):
        asked.append(epochs.now)
        epochs.begin(Selection.an_object(name))
    assert [epochs.over(A, epoch) for epoch in asked] == [True, False, False]
    assert [epochs.over(B, epoch) for epoch in asked] == [True, True, False]


def test_what_was_asked_for_too_many_purges_ago_is_void_whatever_they_purged() -> None:
    epochs = Epochs()
    first = epochs.now
    for _ in range(PURGES_KEPT):
        epochs.begin(Selection.prefix("other"))
    assert not epochs.over(A, first)
    epochs.begin(Selection.prefix("other"))
    assert epochs.over(A, first)
    assert not epochs.over(A, first + 1)
