"""Which version of an object is current, and for how long we may believe so.

The catalog is a hint. It says which generation a name stands for; blocks can be reached only through it, and prove
themselves what they are. If it is lost, the cache is cold, never wrong. In front there is a bounded copy in the
process; behind it, where there is a disk, a store that survives a restart.

Freshness is counted on the monotonic clock, so a jump of the wall clock ages nothing. Only a record that was read from
disk is dated by the wall clock; one that lies in the future counts as stale.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from rangecache.blocks.base import steps
from rangecache.read.absences import Absences
from rangecache.read.conflicts import Conflicts
from rangecache.read.epochs import Epochs
from rangecache.read.freshness import NO_GRACE, lifetime, negative_lifetime
from rangecache.read.grids import small_block_bytes
from rangecache.read.known import IMMUTABLE, Known, Restored, record_of, updated, weight, without
from rangecache.read.remembered import Remembered

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rangecache.aio.clock import Clock
    from rangecache.model import ObjectMeta, ObjectRef
    from rangecache.read.freshness import Grace, Lifetime, Ttl
    from rangecache.read.selection import Selection

OBJECTS_BYTES: Final = 32 * 1024 * 1024  # some 15,000, each with the dozen header fields that clouds send
BYPASS_S: Final = 120.0  # how long an object that cannot be stored is passed through without trying (hit-for-miss)


class CatalogStore(Protocol):
    """Where records survive a restart. A hint too: nothing is raised, anything may be missing."""

    async def get(self, ref: ObjectRef) -> dict[str, Any] | None: ...
    def put(self, ref: ObjectRef, record: dict[str, Any]) -> None: ...
    def forget(self, ref: ObjectRef) -> None: ...
    async def purge(self, selection: Selection) -> Purged: ...
    async def flush(self) -> None: ...


class Noted(NamedTuple):
    """What a process knows of some objects."""

    known: set[ObjectRef]
    """Of these, which version is current, or that they cannot be cached."""
    absent: set[ObjectRef]
    """These are not there, as the origin said a moment ago."""


class Purged(NamedTuple):
    """What a purge of a store's records came to."""

    refs: set[ObjectRef]
    """Of which there was a record."""
    failed: str = ""
    """A half sentence for a person, if a record may still be there; else empty."""


class Catalog:
    """What is known of objects: current versions, absences, and objects that cannot be cached.

    What it is told are answers of the origin. `asked_at` is when the origin was asked, as `now` gave it: a slow answer
    is that much older.
    """

    def __init__(
        self,
        clock: Clock,
        rule: Callable[[ObjectRef], Ttl],
        *,
        block_bytes: int,
        negative_ttl_s: float,
        grace: Callable[[Ttl], Grace] = lambda _: NO_GRACE,
        store: CatalogStore | None = None,
        vouches_for: Callable[[ObjectMeta], bool] | None = None,
    ) -> None:
        """`rule` gives an object's freshness rule, `grace` how long objects of a rule may be used after their time
        where the origin does not say. `vouches_for` says whether a version is of an endpoint that its name means
        today: a record of another one, left from an earlier configuration, is not believed."""
        self._clock = clock
        self._rule = rule
        self._grace = grace
        self._block_bytes = block_bytes
        self._negative_ttl_s = negative_ttl_s
        self._store = store
        self._vouches_for = vouches_for
        self.epochs = Epochs()
        """Of what is known here: whoever has asked the origin compares before he says what was answered."""
        self._known: Remembered[Known] = Remembered(OBJECTS_BYTES, weight)
        self._absent = Absences(clock)
        self._conflicts = Conflicts(clock)

    def __len__(self) -> int:
        return len(self._known)

    @property
    def held_bytes(self) -> int:
        """What all that is known here takes in memory, about."""
        return self._known.held_bytes + self._absent.held_bytes + self._conflicts.held_bytes

    def now(self) -> float:
        """Monotonic seconds: to be taken when the origin is asked."""
        return self._clock.monotonic()

    @property
    def limit_bytes(self) -> int:
        """The bound on `held_bytes`."""
        return self._known.limit_bytes + self._absent.limit_bytes + self._conflicts.limit_bytes

    def peek(self, ref: ObjectRef) -> Known | None:
        """What this process knows, fresh or not."""
        known = self._known.get(ref)
        if known is not None:
            self._known.move_to_end(ref)
        return known

    async def find(self, ref: ObjectRef) -> Known | None:
        """What this process or an earlier one knew, fresh or not."""
        known = self.peek(ref)
        if known is not None or self._store is None:
            return known
        epoch = self.epochs.now
        record = await self._store.get(ref)
        if record is None or self.epochs.over(ref, epoch):
            return self.peek(ref)
        # While the store was read, an answer may have come from the origin. That one is newer.
        return self.peek(ref) or self._restore(ref, record)

    def is_absent(self, ref: ObjectRef) -> bool:
        """Whether the origin said a moment ago that there is no such object."""
        return ref in self._absent

    # --- what the origin answered ---------------------------------------------------------------------------------

    def learned(self, meta: ObjectMeta, asked_at: float | None = None, block_bytes: int | None = None) -> Known:
        """The origin answered an unpinned request with this version: it is current. If it was not known before, its
        blocks have `block_bytes`, or the usual size."""
        life = self._lifetime(meta, asked_at)
        if not meta.validator and self._rule(meta.ref) == "immutable":
            # The operator's word that the bytes never change stands in for the validator that the origin lacks.
            meta = replace(meta, validator=IMMUTABLE)
        if not meta.validator or meta.ref in self._conflicts:
            life = replace(life, storable=False)
        current = self._known.get(meta.ref)
        if current is not None and current.meta.generation == meta.generation:
            block_bytes = current.block_bytes
        return self._keep(self._vouched(without(meta, life.withheld), life, block_bytes or self._block_bytes))

    def renewed(self, known: Known, headers: Mapping[str, str], asked_at: float | None = None) -> Known:
        """The origin answered 304: this version is still current. Its headers are freshened (RFC 9111 4.3.4)."""
        meta = updated(known.meta, headers)
        life = self._lifetime(meta, asked_at)
        return self._keep(self._vouched(without(meta, life.withheld), life, known.block_bytes))

    def headed(self, meta: ObjectMeta, asked_at: float | None = None) -> Known:
        """The origin answered a HEAD: that freshens the same version, and takes the place of another (4.3.5)."""
        current = self._known.get(meta.ref)
        if current is None or current.bypass or current.meta.generation != meta.generation:
            return self.learned(meta, asked_at)
        return self.renewed(current, meta.headers, asked_at)

    def confirmed(self, known: Known, meta: ObjectMeta, asked_at: float | None = None) -> bool:
        """The origin answered a pinned request with a part of this version, so it is still current.

        Its headers are freshened (RFC 9111 section 3.4). Its time is prolonged if this answer lasts longer, and never
        shortened. False: the part must not be stored.
        """
        life = self._lifetime(meta, asked_at)
        if not life.storable:
            self.pass_through(known)
            return False
        current = self._known.get(meta.ref)
        if current is None or current.bypass or current.meta.generation != meta.generation:
            return True  # something newer has been learned meanwhile
        meta = without(updated(current.meta, meta.headers), life.withheld)
        longer = self._clock.monotonic() + life.fresh_s > current.fresh_until
        # Not written down: a restart finds it a little older than it is, and this is done for every part.
        self._remember(self._vouched(meta, life, current.block_bytes) if longer else replace(current, meta=meta))
        return True

    def pass_through(self, known: Known) -> None:
        """The origin cannot give parts of this version, or no longer lets them be stored."""
        if (current := self._known.get(known.meta.ref)) is not None:
            now = self._clock.monotonic()
            self._keep(replace(current, bypass=True, fresh_until=now + BYPASS_S))

    def regrid(self, known: Known, block_bytes: int) -> None:
        """From now on this version has blocks of another size. Those that are stored are no longer found."""
        current = self._known.get(known.meta.ref)
        if current is not None and not current.bypass and current.meta.generation == known.meta.generation:
            self._keep(replace(current, block_bytes=block_bytes))

    def refused(self, known: Known) -> None:
        """The origin was asked about this version and refused to answer: it is not used beyond its time any more."""
        current = self._known.get(known.meta.ref)
        if current is not None and current.meta.generation == known.meta.generation:
            self._remember(replace(current, grace=None))

    def absent(self, ref: ObjectRef, headers: Mapping[str, str] | None = None, asked_at: float | None = None) -> None:
        """The origin answered an unpinned request with 404 and these headers."""
        self.forget(ref)
        life_s = negative_lifetime(
            self._rule(ref),
            headers or {},
            self._clock.wall(),
            delay_s=self._since(asked_at),
            default_s=self._negative_ttl_s,
        )
        self._absent.add(ref, life_s)

    def conflict(self, known: Known) -> None:
        """A pinned request showed that this version is gone. What came after it in the meantime is left alone."""
        ref = known.meta.ref
        self._conflicts.add(ref)
        current = self._known.get(ref)
        if current is not None and current.meta.generation == known.meta.generation:
            self.forget(ref)

    def forget(self, ref: ObjectRef) -> None:
        """Know nothing of this object any more."""
        self._known.drop(ref)
        self._absent.forget(ref)
        if self._store is not None:
            self._store.forget(ref)

    def look(self, ref: ObjectRef, record: dict[str, Any] | None) -> Known | None:
        """What is known of an object, or would be believed of this record of it. Nothing is remembered or made young
        by looking."""
        known = self._known.get(ref)
        return self._believe(ref, record) if known is None and record is not None else known

    def select(self, selection: Selection) -> Noted:
        """What this process knows of these objects. Records that only the store has are not in it."""
        return Noted(selection.among(self._known), self._absent.select(selection))

    async def purge(self, selection: Selection) -> tuple[Noted, Purged]:
        """Know nothing of these objects any more, and let no restart know anything. From the call on, before it waits
        for the first time, `peek` and `find` obey."""
        noted = self.select(selection)
        detached = self._known.detach(noted.known)
        for ref in noted.absent:
            self._absent.forget(ref)
        self._conflicts.purge(selection)
        purged = Purged(set()) if self._store is None else await self._store.purge(selection)
        for step in steps(detached):
            self._known.release(step)
            await asyncio.sleep(0)
        return noted, purged

    async def flush(self) -> None:
        """Wait until what is known would survive the end of the process, or cannot be written."""
        if self._store is not None:
            await self._store.flush()

    # --- how it is kept -------------------------------------------------------------------------------------------

    def _lifetime(self, meta: ObjectMeta, asked_at: float | None) -> Lifetime:
        rule = self._rule(meta.ref)
        delay_s, grace = self._since(asked_at), self._grace(rule)
        return lifetime(rule, meta.headers, self._clock.wall(), delay_s=delay_s, grace=grace)

    def _since(self, asked_at: float | None) -> float:
        return 0.0 if asked_at is None else self._clock.monotonic() - asked_at

    def _vouched(self, meta: ObjectMeta, life: Lifetime, block_bytes: int) -> Known:
        now = self._clock.monotonic()
        fresh_s = life.fresh_s if life.storable else BYPASS_S
        return Known(meta, block_bytes, now, now + fresh_s, life.age_s, life.grace, bypass=not life.storable)

    def _keep(self, known: Known) -> Known:
        ref = known.meta.ref
        self._absent.forget(ref)
        self._remember(known)
        if self._store is None:
            return known
        if known.bypass:
            self._store.forget(ref)  # an older version that could be stored must not come back with a restart
        else:
            self._store.put(
                ref, record_of(known, self._clock.wall(), small_blocks=known.block_bytes < self._block_bytes)
            )
        return known

    def _remember(self, known: Known) -> None:
        self._known.keep(known.meta.ref, known)

    def _restore(self, ref: ObjectRef, record: dict[str, Any]) -> Known | None:
        known = self._believe(ref, record)
        if known is not None:
            self._remember(known)
        return known

    def _believe(self, ref: ObjectRef, record: dict[str, Any]) -> Known | None:
        """A record of an earlier process; None if it is not one of ours, means another endpoint, or may not be kept."""
        restored = Restored.read(ref, record)
        if restored is None:
            return None
        meta = restored.meta
        if not meta.validator or (self._vouches_for is not None and not self._vouches_for(meta)):
            return None
        rule = self._rule(ref)
        # The rule may have changed since.
        if meta.validator == IMMUTABLE and rule != "immutable":
            return None  # nothing but the operator's word stood for these bytes
        life = lifetime(rule, meta.headers, restored.validated_wall, grace=self._grace(rule))
        if not life.storable:
            return None
        if rule == "origin":
            life = replace(life, fresh_s=min(restored.fresh_s, life.fresh_s))
        block_bytes = small_block_bytes(self._block_bytes) if restored.small_blocks else self._block_bytes
        return restored.known(life, block_bytes=block_bytes, now=self._clock.monotonic(), wall=self._clock.wall())
