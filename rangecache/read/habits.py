"""What is read of an object first: learned of the object itself, and of others of its kind. Pure.

A Parquet file is asked for its size and then for its last bytes; a COG is read at its beginning, and where its header
is long in the block after it too. Whoever has been seen to open one file that way will open it, and the next one of its
kind, that way again, and what he needs can be fetched at once instead of one after the other.

Places are block numbers: from 0 on, or from -1 back for those near the end.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Final

from rangecache.origin.recent import Recent
from rangecache.ranges import block_indices
from rangecache.read.kinds import kind_of
from rangecache.read.ledger import Ledger

if TYPE_CHECKING:
    from rangecache.model import ObjectRef
    from rangecache.ranges import ByteRange
    from rangecache.read.kinds import Kind
    from rangecache.read.known import Known
    from rangecache.read.selection import Selection

OPENING_READS: Final = 4  # an opening is over then: GDAL needs two for most COGs, Arrow and DuckDB two for a footer
PART_BLOCKS_MAX: Final = 2  # of one read that belongs to an opening; a longer one reads data
TAIL_BLOCKS: Final = 2  # so near the end a place is counted from there
HEAD_BLOCKS: Final = 4  # a kind's places from the beginning lie among these; what comes later is this object's own
OPENINGS_KEPT: Final = 8  # of each kind
OPENINGS_MIN: Final = 2  # so many have to have shown it
SHARE_MIN: Final = 0.75  # of the openings that are kept
PARDON_OPENINGS: Final = 32  # after so many more, a habit that was no good is given another chance
OBJECTS_MAX: Final = 4096
KINDS_MAX: Final = 1024


class Habit:
    """How objects of one kind are opened."""

    def __init__(self) -> None:
        self.openings: deque[set[int]] = deque(maxlen=OPENINGS_KEPT)
        self.books = Ledger()
        """What came of acting on it."""
        self._stopped = 0

    def begin(self) -> set[int]:
        """One more opening. What is put into the set is what was read first in it."""
        if self.books.stopped:
            self._stopped += 1
            if self._stopped > PARDON_OPENINGS:
                self._stopped, self.books = 0, Ledger()
        self.openings.append(set())
        return self.openings[-1]

    def places(self) -> set[int]:
        """Where nearly all openings have read."""
        done = [places for places in self.openings if places]
        if len(done) < OPENINGS_MIN or self.books.stopped:
            return set()
        seen = set().union(*done)
        return {place for place in seen if sum(place in places for places in done) >= SHARE_MIN * len(done)}


class Opening(Ledger):
    """One object being opened: what is read of it first, and what was fetched because that was expected."""

    def __init__(self, known: Known, places: set[int], common: set[int], habit: Habit) -> None:
        """`places` and `common` take what is read first, for the object and for its kind."""
        super().__init__()
        self._block_bytes = known.block_bytes
        self._blocks = -(-known.meta.size // known.block_bytes)
        self._places = places
        self._habit = habit
        self._common = common
        self._reads = 0

    @property
    def done(self) -> bool:
        """What comes now is no longer opening."""
        return self._reads >= OPENING_READS

    def read(self, wanted: ByteRange) -> None:
        """One more read of the object."""
        if self.done:
            return
        self._reads += 1
        blocks = block_indices(wanted, self._block_bytes)
        if len(blocks) > PART_BLOCKS_MAX:
            return
        for index in blocks:
            place = index - self._blocks if 0 < self._blocks - index <= TAIL_BLOCKS and index else index
            self._places.add(place)
            if place < HEAD_BLOCKS:
                self._common.add(place)

    def settle(self, index: int, *, used: bool) -> None:
        """As `Ledger.settle`; counts for the habit too."""
        if index in self.pending:
            self._habit.books.pending[index] = None
            self._habit.books.settle(index, used=used)
        super().settle(index, used=used)


class Habits:
    """Openings by object and by kind."""

    def __init__(self) -> None:
        self._kinds: Recent[Kind, Habit] = Recent(KINDS_MAX)
        self._objects: OrderedDict[ObjectRef, tuple[int, set[int]]] = OrderedDict()

    def begin(self, known: Known) -> tuple[Opening, list[int]]:
        """An object is being opened. Gives its opening, and which blocks are expected to be read of it, ascending."""
        habit = self._habit(known.meta.ref)
        common = habit.begin()
        expected = habit.places()
        block_bytes, places = self._objects.pop(known.meta.ref, (0, set()))
        if block_bytes == known.block_bytes and not habit.books.stopped:
            expected = places
        now: set[int] = set()
        self._objects[known.meta.ref] = (known.block_bytes, now)
        if len(self._objects) > OBJECTS_MAX:
            self._objects.popitem(last=False)
        blocks = -(-known.meta.size // known.block_bytes)
        indices = {place if place >= 0 else blocks + place for place in expected}
        return Opening(known, now, common, habit), sorted(index for index in indices if 0 <= index < blocks)

    def forget(self, selection: Selection) -> None:
        """Remember nothing of these objects. What is known of their kinds stays."""
        for ref in [ref for ref in self._objects if selection.matches(ref)]:
            del self._objects[ref]

    def begins_at_end(self, ref: ObjectRef) -> bool:
        """Whether objects of this kind are opened from their end, and the first block is not read."""
        habit = self._kinds.get(kind_of(ref))
        places = set() if habit is None else habit.places()
        return -1 in places and 0 not in places

    def _habit(self, ref: ObjectRef) -> Habit:
        kind = kind_of(ref)
        habit = self._kinds.get(kind)
        if habit is None:
            habit = Habit()
            self._kinds.put(kind, habit)
        return habit

    def __len__(self) -> int:
        return len(self._objects)
