"""Which version of an object is current, and for how long we may believe so.

The catalog is a hint. It says which generation a name stands for; blocks can be reached only through it, and prove
themselves what they are. If it is lost, the cache is cold, never wrong. In front there is a bounded copy in the
process; behind it, where there is a disk, a store that survives a restart.

Freshness is counted on the monotonic clock, so a jump of the wall clock ages nothing. Only a record that was read from
disk is dated by the wall clock; one that lies in the future counts as stale.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

from rangecache.model import BlockKey, ETag, ObjectMeta
from rangecache.read.epochs import Epochs
from rangecache.read.freshness import lifetime

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rangecache.aio.clock import Clock
    from rangecache.model import ObjectRef
    from rangecache.read.freshness import Ttl

OBJECTS_MAX: Final = 32_768  # about 1.5 KB each
ABSENT_MAX: Final = 8_192  # a flood of absent names must not push out what is known
BYPASS_S: Final = 120.0  # how long an object that cannot be stored is passed through without trying (hit-for-miss)
CONFLICTS: Final = 3  # so many versions in CONFLICTS_WITHIN_S, and back ends disagree with each other
CONFLICTS_WITHIN_S: Final = 60.0
IMMUTABLE: Final = "immutable"  # as a validator: the operator's word, where the origin has none
# RFC 9111 section 3.2: what a 304 does not renew. The rest of these describe bytes that have not changed.
_NOT_RENEWED: Final = {"content-encoding", "content-length", "content-range", "content-type", "etag", "last-modified"}


class CatalogStore(Protocol):
    """Where records survive a restart. A hint too: nothing is raised, anything may be missing."""

    async def get(self, ref: ObjectRef) -> dict[str, Any] | None: ...
    def put(self, ref: ObjectRef, record: dict[str, Any]) -> None: ...
    def forget(self, ref: ObjectRef) -> None: ...


@dataclass(frozen=True, slots=True)
class Known:
    """A version that the origin has vouched for, and until when its word is taken."""

    meta: ObjectMeta
    block_bytes: int
    validated_at: float
    """Monotonic seconds."""
    fresh_until: float
    """Monotonic seconds; infinite for what never changes."""
    age_s: float
    """How old the origin's answer was when it came (RFC 9111 section 4.2.3)."""
    stale_allowed: bool
    bypass: bool = False
    """True: its bytes may not be stored or combined; every request goes to the origin."""

    def block_key(self, index: int) -> BlockKey:
        """The name of block `index` of this version."""
        meta = self.meta
        return BlockKey(meta.ref, meta.generation, index, self.block_bytes)

    def age(self, now: float) -> int:
        """The value of the Age header."""
        return int(self.age_s + max(0.0, now - self.validated_at))


class Catalog:
    """What is known of objects: current versions, absences, and objects that cannot be cached."""

    def __init__(
        self,
        clock: Clock,
        rule: Callable[[ObjectRef], Ttl],
        *,
        block_bytes: int,
        negative_ttl_s: float,
        store: CatalogStore | None = None,
        source: Callable[[ObjectRef], str] | None = None,
    ) -> None:
        """`rule` gives an object's freshness rule. `source` gives the endpoint that a name means today: a record of
        another one, left from an earlier configuration, is not believed."""
        self._clock = clock
        self._rule = rule
        self._block_bytes = block_bytes
        self._negative_ttl_s = negative_ttl_s
        self._store = store
        self._source = source
        self.epochs = Epochs()
        """Of what is known here: whoever has asked the origin compares before he says what was answered."""
        self._known: OrderedDict[ObjectRef, Known] = OrderedDict()
        self._absent: OrderedDict[ObjectRef, float] = OrderedDict()
        self._conflicts: OrderedDict[ObjectRef, deque[float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

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
        """Whether the origin said within `negative_ttl` that there is no such object."""
        until = self._absent.get(ref)
        if until is None:
            return False
        if self._clock.monotonic() < until:
            return True
        del self._absent[ref]
        return False

    def learned(self, meta: ObjectMeta) -> Known:
        """The origin answered an unpinned request with this version: it is current."""
        now = self._clock.monotonic()
        ttl = self._rule(meta.ref)
        life = lifetime(ttl, meta.headers, self._clock.wall())
        if not meta.validator and ttl == "immutable":
            # The operator's word that the bytes never change stands in for the validator that the origin lacks.
            meta = replace(meta, validator=IMMUTABLE)
        bypass = not life.storable or not meta.validator or self._disputed(meta, now)
        fresh_s = BYPASS_S if bypass else life.fresh_s
        known = Known(meta, self._block_bytes, now, now + fresh_s, life.age_s, life.stale_allowed, bypass)
        self._keep(known)
        return known

    def renewed(self, known: Known, headers: Mapping[str, str]) -> Known:
        """The origin answered 304: this version is still current. Its headers are freshened (RFC 9111 4.3.4)."""
        fresh = {name: value for name, value in headers.items() if name not in _NOT_RENEWED}
        meta = replace(known.meta, headers={**known.meta.headers, **fresh})
        # The Age and Date that came with the first answer say nothing of this one.
        dated = {**meta.headers, "age": headers.get("age", ""), "date": headers.get("date", "")}
        life = lifetime(self._rule(meta.ref), dated, self._clock.wall())
        now = self._clock.monotonic()
        fresh_s = life.fresh_s if life.storable else BYPASS_S
        renewed = Known(
            meta, self._block_bytes, now, now + fresh_s, life.age_s, life.stale_allowed, bypass=not life.storable
        )
        self._keep(renewed)
        return renewed

    def pass_through(self, known: Known) -> None:
        """The origin cannot give parts of this version."""
        if (current := self._known.get(known.meta.ref)) is not None:
            now = self._clock.monotonic()
            self._keep(replace(current, bypass=True, fresh_until=now + BYPASS_S))

    def absent(self, ref: ObjectRef) -> None:
        """The origin answered an unpinned request with 404."""
        self.forget(ref)
        if self._negative_ttl_s > 0:
            self._absent[ref] = self._clock.monotonic() + self._negative_ttl_s
            self._absent.move_to_end(ref)
            while len(self._absent) > ABSENT_MAX:
                self._absent.popitem(last=False)

    def conflict(self, known: Known) -> None:
        """A pinned request showed that this version is gone. What came after it in the meantime is left alone."""
        ref, now = known.meta.ref, self._clock.monotonic()
        times = self._conflicts.setdefault(ref, deque(maxlen=CONFLICTS))
        times.append(now)
        self._conflicts.move_to_end(ref)
        while len(self._conflicts) > ABSENT_MAX:
            self._conflicts.popitem(last=False)
        current = self._known.get(ref)
        if current is not None and current.meta.generation == known.meta.generation:
            self.forget(ref)

    def forget(self, ref: ObjectRef) -> None:
        """Know nothing of this object any more."""
        self._known.pop(ref, None)
        self._absent.pop(ref, None)
        if self._store is not None:
            self._store.forget(ref)

    def _disputed(self, meta: ObjectMeta, now: float) -> bool:
        times = self._conflicts.get(meta.ref)
        return times is not None and len(times) == CONFLICTS and now - times[0] < CONFLICTS_WITHIN_S

    def _keep(self, known: Known) -> None:
        ref = known.meta.ref
        self._absent.pop(ref, None)
        self._remember(known)
        if self._store is None:
            return
        if known.bypass:
            self._store.forget(ref)  # an older version that could be stored must not come back with a restart
        else:
            self._store.put(ref, self._record(known))

    def _remember(self, known: Known) -> None:
        self._known[known.meta.ref] = known
        self._known.move_to_end(known.meta.ref)
        while len(self._known) > OBJECTS_MAX:
            self._known.popitem(last=False)

    def _record(self, known: Known) -> dict[str, Any]:
        """As JSON: dates as text, no infinity."""
        meta = known.meta
        fresh_s = known.fresh_until - known.validated_at
        return {
            "size": meta.size,
            "e_tag": str(meta.e_tag) if meta.e_tag else None,
            "last_modified": meta.last_modified.isoformat() if meta.last_modified else None,
            "validator": meta.validator,
            "source": meta.source,
            "content_encoding": meta.content_encoding,
            "version": meta.version,
            "headers": dict(meta.headers),
            "validated_wall": self._clock.wall(),
            "fresh_s": None if math.isinf(fresh_s) else fresh_s,
            "age_s": known.age_s,
            "stale_allowed": known.stale_allowed,
        }

    def _restore(self, ref: ObjectRef, record: dict[str, Any]) -> Known | None:
        """A record of an earlier process; None if it is not one of ours or means another endpoint."""
        try:
            meta = ObjectMeta(
                ref=ref,
                size=int(record["size"]),
                e_tag=ETag.parse(record["e_tag"]) if record["e_tag"] else None,
                last_modified=datetime.fromisoformat(record["last_modified"]) if record["last_modified"] else None,
                validator=str(record["validator"]),
                source=str(record["source"]),
                content_encoding=str(record["content_encoding"]),
                version=record["version"],
                headers={str(name): str(value) for name, value in record["headers"].items()},
            )
            elapsed_s = self._clock.wall() - float(record["validated_wall"])
            fresh_s = math.inf if record["fresh_s"] is None else float(record["fresh_s"])
            age_s, stale_allowed = float(record["age_s"]), bool(record["stale_allowed"])
        except (KeyError, TypeError, ValueError, AttributeError):
            return None
        if not meta.validator or (self._source is not None and self._source(ref) != meta.source):
            return None
        rule = self._rule(ref)
        # The rule may have changed since.
        if meta.validator == IMMUTABLE and rule != "immutable":
            return None  # nothing but the operator's word stood for these bytes
        life = lifetime(rule, meta.headers, float(record["validated_wall"]))
        if not life.storable:
            return None
        fresh_s = min(fresh_s, life.fresh_s) if rule == "origin" else life.fresh_s
        stale_allowed = stale_allowed and life.stale_allowed
        now = self._clock.monotonic()
        validated_at = now - elapsed_s
        fresh_until = validated_at + fresh_s if elapsed_s >= 0 or math.isinf(fresh_s) else now
        known = Known(meta, self._block_bytes, min(now, validated_at), fresh_until, age_s, stale_allowed)
        self._remember(known)
        return known
