"""Numbered slots in lists, with their sizes: order and bytes of a million blocks in twelve bytes each."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

SLOT_BYTES_MAX: Final = (1 << 32) - 1


class SlotLists:
    """Doubly linked circular lists in two arrays. The slots `0` to `lists - 1` are the heads of the lists."""

    def __init__(self, lists: int) -> None:
        self._before = array("I", range(lists))
        self.after = array("I", range(lists))
        """The slot that follows another one; the head after the last one and before the first one."""
        self.sizes = array("I", bytes(4 * lists))
        """Bytes that a slot stands for."""
        self.list_bytes = [0] * lists
        """Bytes that each list stands for."""

    def first(self, head: int) -> int:
        """The slot that has been in its list the longest; the head itself if the list is empty."""
        return self.after[head]

    def last(self, head: int) -> int:
        """The slot that was appended last; the head itself if the list is empty."""
        return self._before[head]

    def append(self, head: int, slot: int, size_bytes: int) -> None:
        """Put a slot that is in no list at the end of one."""
        before, after = self._before, self.after
        if slot == len(after):
            before.append(0)
            after.append(0)
            self.sizes.append(0)
        last = before[head]
        after[last] = slot
        before[slot] = last
        after[slot] = head
        before[head] = slot
        self.sizes[slot] = size_bytes
        self.list_bytes[head] += size_bytes

    def unlink(self, head: int, slot: int) -> int:
        """Take a slot out of the list that it is in; its size."""
        earlier, later = self._before[slot], self.after[slot]
        self.after[earlier] = later
        self._before[later] = earlier
        size_bytes = self.sizes[slot]
        self.list_bytes[head] -= size_bytes
        return size_bytes

    def renew(self, head: int, slot: int) -> None:
        """Put a slot at the end of the list that it is in."""
        before, after = self._before, self.after
        last = before[head]
        if last == slot:
            return
        earlier, later = before[slot], after[slot]
        after[earlier] = later
        before[later] = earlier
        last = before[head]
        after[last] = slot
        before[slot] = last
        after[slot] = head
        before[head] = slot

    def walk(self, *heads: int) -> Iterator[int]:
        """The slots of these lists, in their order at this moment, whatever happens to the lists meanwhile."""
        return _walk(self.after[:], heads)


def _walk(after: array[int], heads: tuple[int, ...]) -> Iterator[int]:
    for head in heads:
        slot = after[head]
        while slot != head:
            yield slot
            slot = after[slot]
