"""W-TinyLFU whose window finds its size: the policy of both tiers. What it does and how well: docs/admission.md.

Newcomers enter a window, which is an LRU. Who leaves it at its old end contests a place in the main part against those
who would have to go from there, and stays only if it was used more often than all of them together. The main part is a
segmented LRU: a second use there protects. So a scan passes through the window and out, and what is used again and
again stays (Einziger, Friedman, Manes, "TinyLFU: a highly efficient cache admission policy", 2017).

Three things are done in another way than there, because each was measured to be better here:

- *The size of the window follows ghosts, not a climb over hit ratios.* A miss on a name that the window has lately
  turned down says that a larger window would have kept it; one on a name that has lately gone from the main part says
  the contrary. That is the rule of ARC (Megiddo, Modha, 2003), and as there, who is the rarer of the two counts for
  more. A climb needs ten times the cache's blocks for one step; this takes one at every miss that can teach it.
- *Uses are counted exactly,* by those who are held and by their ghosts, in four bits, halved from time to time. There
  is no sketch to be hashed into at every read.
- *A name is counted once an epoch,* a 64th of the cache's turnover: small reads walk through a block in many touches,
  and that is one use.

Touches are noted in a list that forgets its oldest, and worked through when a newcomer comes: a hit costs an append.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from rangecache.blocks.admission import Standing
from rangecache.blocks.admission_ghosts import Ghosts
from rangecache.blocks.admission_slots import SlotLists

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rangecache.blocks.admission_index import Index

K = TypeVar("K")

# The lists, and in a slot's state the segment that it is in, above the four bits of its count.
_WINDOW: Final = 0
_PROBATION: Final = 1
_PROTECTED: Final = 2
_SEGMENTS: Final = 3
_SHIFT: Final = 4
_COUNT: Final = (1 << _SHIFT) - 1
_HALVED: Final = bytes((each & ~_COUNT) | (each & _COUNT) >> 1 for each in range(256))

WINDOW_SHARE: Final = 0.1
"""Of the bytes, at the beginning: it takes longer to find that a small window is wrong than that a large one is."""
WINDOW_SHARE_MIN: Final = 0.01
WINDOW_SHARE_MAX: Final = 0.99
PROTECTED_SHARE: Final = 0.8
"""Of the main part."""
STEP: Final = 4
"""How many times its own size the window grows or shrinks by for a ghost that came back …"""
STEP_SHARE_MAX: Final = 0.03
"""… but by no more than this share, so that it does not stagger in a tier of few blocks …"""
WEIGHED_SHARE_MAX: Final = 0.3
"""… or than this one, where that kind of ghosts is the rarer one and counts for more."""
GHOSTS: Final = 0.4
"""Ghosts of either kind for each name that is held. With half as many a window that is wider than the tier is not seen;
with twice as many a full scan is taken for one."""
OUTSIDE: Final = 4
"""And so many places, for each name that is held, for those that are read without being held."""
COMPARED_MIN: Final = 256
"""How rare the two kinds are is told from so many of the latest ghosts, or from as many as there are names."""
ADDED_MIN: Final = 1e-9
"""What the rarer kind counts for at the least: in a long scan it is halved until nothing is left of it."""
EPOCHS: Final = 64
"""In the time that the cache takes in as much as it holds."""
AGEING: Final = 10
"""Counts are halved after so many counted uses for each name that is held."""
TOUCHES: Final = 1024
"""Reads that are noted between two newcomers; more push the oldest of them out. Half a millisecond to work through."""
MOVES: Final = 8
"""Blocks that go from the window to a main part that has room, at most, for each newcomer."""


class WTinyLFU(Generic[K]):
    """Names in the arrays that `index` numbers. Sizes are less than 4 GiB."""

    def __init__(self, index: Index[K], *, window_share_min: float = WINDOW_SHARE_MIN) -> None:
        self._index = index
        self._window_share_min = window_share_min
        self._touched: deque[K] = deque(maxlen=TOUCHES)
        self.touch: Callable[[K], None] = self._touched.append
        self._turned_down = Ghosts()
        self._evicted = Ghosts()
        self._outside = Ghosts()
        self._reset()

    def _reset(self) -> None:
        self._lists = SlotLists(_SEGMENTS)
        self._states = bytearray(_SEGMENTS)
        self._epochs = bytearray(_SEGMENTS)  # when each was counted last
        self._epoch = 0
        self._epoch_bytes = 0
        self._uses = 0
        self._window_share = max(WINDOW_SHARE, self._window_share_min)
        self.held_bytes = 0

    @property
    def window_share(self) -> float:
        """What the window may have of all bytes, as it was found until now."""
        return self._window_share

    # --- coming -------------------------------------------------------------------------------------------------

    def admit(self, key: K, size_bytes: int) -> None:
        """As `Admission.admit`."""
        self._work_off()
        slot = self._index.find(key)
        if slot is not None:
            self._resize(slot, size_bytes)
            self._use(slot)
            return
        fingerprint = self._index.fingerprint(key)
        uses = self._outside.take(fingerprint) or self._recall(fingerprint, size_bytes) + 1
        self._add(key, size_bytes, _WINDOW, min(uses, _COUNT))
        self._came(uses, size_bytes)

    def wants(self, key: K, size_bytes: int, limit_bytes: int) -> bool:
        """As `Admission.wants`: those who would go are the first of the main part, as if the name were just leaving the
        window. The window learns from it as from a newcomer."""
        self._work_off()
        fingerprint = self._index.fingerprint(key)
        uses = min(_COUNT, (self._outside.take(fingerprint) or self._recall(fingerprint, size_bytes)) + 1)
        self._outside.fit(OUTSIDE * len(self._index))
        self._outside.add(fingerprint, uses)
        self._came(uses, size_bytes)
        excess_bytes = self.held_bytes + size_bytes - limit_bytes
        for segment in (_PROBATION, _PROTECTED, _WINDOW):
            rival = self._lists.first(segment)
            while rival >= _SEGMENTS and uses > 0 and excess_bytes > 0:
                uses -= self._states[rival] & _COUNT
                excess_bytes -= self._lists.sizes[rival]
                rival = self._lists.after[rival]
        return uses > 0

    def _came(self, uses: int, size_bytes: int) -> None:
        """Let time go on by a newcomer, who has been used so often until now."""
        self._epoch_bytes += size_bytes
        if self._epoch_bytes * EPOCHS > self.held_bytes:
            self._epoch_bytes = 0
            self._epoch = (self._epoch + 1) & 0xFF
        self._uses += uses > 1  # so a scan, of whatever length, ages nobody
        if self._uses > AGEING * len(self._index):
            self._age()

    def _add(self, key: K, size_bytes: int, segment: int, uses: int) -> None:
        slot = self._index.insert(key)
        if slot == len(self._states):
            self._states.append(0)
            self._epochs.append(0)
        self._states[slot] = segment << _SHIFT | uses
        self._epochs[slot] = self._epoch
        self._lists.append(segment, slot, size_bytes)
        self.held_bytes += size_bytes

    def _resize(self, slot: int, size_bytes: int) -> None:
        change = size_bytes - self._lists.sizes[slot]
        self._lists.sizes[slot] = size_bytes
        self._lists.list_bytes[self._states[slot] >> _SHIFT] += change
        self.held_bytes += change

    def _recall(self, fingerprint: int, size_bytes: int) -> int:
        """How often a newcomer was used when it was held last, if that is remembered; the window learns from it."""
        ghosts, others, direction = self._turned_down, self._evicted, 1
        uses = ghosts.take(fingerprint)
        if not uses:
            ghosts, others, direction = others, ghosts, -1
            uses = ghosts.take(fingerprint)
        if uses:
            step_share = min(STEP_SHARE_MAX, STEP * size_bytes / max(self.held_bytes, 1))
            rarity = max(1.0, others.added / max(ghosts.added, ADDED_MIN))
            weighed_share = min(WEIGHED_SHARE_MAX, step_share * rarity)
            self._set_window_share(self._window_share + direction * weighed_share)
        return uses

    def _set_window_share(self, share: float) -> None:
        self._window_share = min(WINDOW_SHARE_MAX, max(self._window_share_min, share))

    # --- being used ---------------------------------------------------------------------------------------------

    def _work_off(self) -> None:
        """Do what the touches since the last newcomer ask for."""
        if self._touched:
            find = self._index.find
            for key in self._touched:
                slot = find(key)
                if slot is not None:
                    self._use(slot)
            self._touched.clear()

    def _use(self, slot: int) -> None:
        segment = self._states[slot] >> _SHIFT
        if segment == _PROBATION:
            self._move(slot, _PROTECTED)
            self._unprotect()
        else:
            self._lists.renew(segment, slot)
        if self._epochs[slot] != self._epoch:
            self._epochs[slot] = self._epoch
            self._uses += 1
            if self._states[slot] & _COUNT < _COUNT:
                self._states[slot] += 1

    def _move(self, slot: int, segment: int) -> None:
        state = self._states[slot]
        self._lists.append(segment, slot, self._lists.unlink(state >> _SHIFT, slot))
        self._states[slot] = segment << _SHIFT | state & _COUNT

    def _unprotect(self) -> None:
        """Give the protected part no more than its share."""
        list_bytes = self._lists.list_bytes
        limit_bytes = PROTECTED_SHARE * (list_bytes[_PROBATION] + list_bytes[_PROTECTED])
        while list_bytes[_PROTECTED] > limit_bytes:
            self._move(self._lists.first(_PROTECTED), _PROBATION)

    def _age(self) -> None:
        self._uses //= 2
        self._states = self._states.translate(_HALVED)
        self._turned_down.age(_HALVED)
        self._evicted.age(_HALVED)
        self._outside.age(_HALVED)

    # --- going --------------------------------------------------------------------------------------------------

    def remove(self, key: K) -> None:
        """As `Admission.remove`."""
        slot = self._index.find(key)
        if slot is not None:
            self._drop(slot)

    def evict(self, limit_bytes: int) -> list[K]:
        """As `Admission.evict`."""
        self._work_off()
        if limit_bytes <= 0:
            return self._clear()
        lists, moves = self._lists, MOVES
        capacity_bytes = min(limit_bytes, self.held_bytes)
        window_bytes = int(self._window_share * capacity_bytes)
        evicted: list[K] = []
        while True:
            excess_bytes = self.held_bytes - limit_bytes
            oldest = lists.first(_WINDOW)
            # The newest of all is not contested: whoever asked for it is about to read it.
            if lists.list_bytes[_WINDOW] > window_bytes and oldest != lists.last(_WINDOW):
                main_bytes = self.held_bytes - lists.list_bytes[_WINDOW] + lists.sizes[oldest]
                if moves and main_bytes <= capacity_bytes - window_bytes:
                    moves -= 1
                    self._move(oldest, _PROBATION)
                elif excess_bytes <= 0:
                    return evicted
                else:
                    evicted += self._contest(oldest, excess_bytes)
            elif excess_bytes <= 0:
                return evicted
            else:
                evicted.append(self._give_up(self._first_of_main() or oldest, self._evicted))

    def _first_of_main(self) -> int:
        """Who goes first from the main part; 0 if it is empty."""
        slot = self._lists.first(_PROBATION)
        if slot == _PROBATION:
            slot = self._lists.first(_PROTECTED)
        return slot if slot >= _SEGMENTS else 0

    def _contest(self, candidate: int, excess_bytes: int) -> list[K]:
        """Let one who leaves the window stay in place of as many as must go for it, or go itself; who went."""
        lists, states = self._lists, self._states
        uses = states[candidate] & _COUNT
        rivals: list[int] = []
        rival = self._first_of_main()
        while rival >= _SEGMENTS and uses > 0 and excess_bytes > 0:
            uses -= states[rival] & _COUNT
            excess_bytes -= lists.sizes[rival]
            rivals.append(rival)
            rival = lists.after[rival]
        if uses <= 0 or not rivals:
            return [self._give_up(candidate, self._turned_down)]
        self._move(candidate, _PROBATION)
        return [self._give_up(rival, self._evicted) for rival in rivals]

    def _give_up(self, slot: int, ghosts: Ghosts) -> K:
        names = len(self._index)
        uses = self._states[slot] & _COUNT
        key = self._drop(slot)
        ghosts.fit(int(GHOSTS * names))
        ghosts.add(self._index.fingerprint(key), uses)
        if self._turned_down.added + self._evicted.added > max(names, COMPARED_MIN):
            self._turned_down.added /= 2
            self._evicted.added /= 2
        return key

    def _drop(self, slot: int) -> K:
        self.held_bytes -= self._lists.unlink(self._states[slot] >> _SHIFT, slot)
        return self._index.discard(slot)

    def _clear(self) -> list[K]:
        names = [each.key for each in self.standing()]
        self._index.clear()
        self._reset()
        return names

    # --- over restarts ------------------------------------------------------------------------------------------

    def standing(self) -> Iterator[Standing[K]]:
        """As `Admission.standing`. The rank is the segment and the count."""
        self._work_off()
        return self._stand(self._lists.walk(_PROBATION, _WINDOW, _PROTECTED))

    def _stand(self, slots: Iterator[int]) -> Iterator[Standing[K]]:
        for slot in slots:
            key = self._index.holder(slot)
            if key is not None:
                yield Standing(key, self._lists.sizes[slot], self._states[slot])

    def favourites(self) -> Iterator[K]:
        """As `Admission.favourites`."""
        return (each.key for each in self.standing() if each.rank & _COUNT > 1)

    def restore(self, standing: Standing[K]) -> None:
        """As `Admission.restore`. The window's share is what it had of all bytes."""
        key, size_bytes, rank = standing
        if key in self:
            return
        segment = rank >> _SHIFT
        self._add(key, size_bytes, segment if segment < _SEGMENTS else _WINDOW, rank & _COUNT)
        self._set_window_share(self._lists.list_bytes[_WINDOW] / max(1, self.held_bytes))

    def __contains__(self, key: K, /) -> bool:
        return self._index.find(key) is not None

    def __len__(self) -> int:
        return len(self._index)

    def __repr__(self) -> str:
        return f"<WTinyLFU {len(self)} held, {self.held_bytes} bytes, window {self._window_share:.0%}>"
