"""Whether the HEADs of a bucket are worth a block.

A cold HEAD is answered from a ranged GET of the first block: most clients read right after it, and then the bytes are
there. But some ask for the existence or size of thousands of objects and read none (a tree walk, GDAL looking for
side-car files). A bucket whose HEADs are mostly not followed by reads gets real HEADs, until that changes.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Final

from rangecache.origin.recent import Recent

if TYPE_CHECKING:
    from rangecache.model import ObjectRef
    from rangecache.read.selection import Selection

HEADS_SEEN_MIN: Final = 16  # fewer say nothing
HEADS_KEPT: Final = 64  # of each bucket: what is older no longer counts
FOLLOWED_SHARE_MIN: Final = 0.25  # a block costs an origin a little more than a HEAD; a second request costs a lot more
BUCKETS_KEPT: Final = 1024


class HeadHabits:
    """Remembers, for each bucket, which of its last cold HEADs were followed by a read. Pure."""

    def __init__(self) -> None:
        self._buckets: Recent[tuple[str, str], deque[list[bool]]] = Recent(BUCKETS_KEPT)
        self._waiting: OrderedDict[ObjectRef, list[bool]] = OrderedDict()

    def asked(self, ref: ObjectRef) -> None:
        """A HEAD came for an object that was not known. Several before it is read count once."""
        if ref in self._waiting:
            return
        bucket = (ref.provider, ref.bucket)
        heads = self._buckets.get(bucket)
        if heads is None:
            heads = deque(maxlen=HEADS_KEPT)
            self._buckets.put(bucket, heads)
        followed = [False]
        heads.append(followed)
        self._waiting[ref] = followed
        if len(self._waiting) > HEADS_KEPT * 16:
            self._waiting.popitem(last=False)

    def read(self, ref: ObjectRef) -> None:
        """Bytes of the object are being read."""
        if self._waiting and (followed := self._waiting.pop(ref, None)) is not None:
            followed[0] = True

    def forget(self, selection: Selection) -> None:
        """Wait no longer for reads of these objects."""
        for ref in [ref for ref in self._waiting if selection.matches(ref)]:
            del self._waiting[ref]

    def wants_block(self, ref: ObjectRef) -> bool:
        """Whether a cold HEAD of this bucket should bring the first block along."""
        heads = self._buckets.get((ref.provider, ref.bucket)) or ()
        if len(heads) < HEADS_SEEN_MIN:
            return True
        return sum(followed[0] for followed in heads) >= FOLLOWED_SHARE_MIN * len(heads)
