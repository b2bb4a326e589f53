"""Versions at other replicas that have been proven to be the same bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rangecache.origin.base import NotModified
from rangecache.origin.identity import same_bytes
from rangecache.origin.recent import Recent

if TYPE_CHECKING:
    from rangecache.model import ObjectMeta
    from rangecache.origin.identity import Policy
    from rangecache.origin.replica import Replica

TWINS_MAX: Final = 4096


class Twins:
    """For a version and a replica, that replica's version of the same bytes.

    What was found out once holds for ever, as both are pinned; the pair used longest ago is forgotten.
    """

    def __init__(self, identity: Policy) -> None:
        self._identity = identity
        self._known: Recent[tuple[str, str], ObjectMeta] = Recent(TWINS_MAX)

    async def find(self, replica: Replica, meta: ObjectMeta) -> ObjectMeta | None:
        """By a HEAD where it is not known; None if the current version there is another one, or nobody can tell.
        Raises as `ObjectStore.head`."""
        if self._identity == "none":
            return None
        pair = (meta.generation, replica.name)
        known = self._known.get(pair)
        if known is not None:
            return known
        found = await replica.head(meta.ref, None, "failover")
        if isinstance(found, NotModified) or not found.validator or not same_bytes(self._identity, meta, found):
            return None
        self._known.put(pair, found)
        return found

    def forget(self, replica: Replica, meta: ObjectMeta) -> None:
        """That replica has another version now."""
        self._known.drop((meta.generation, replica.name))
