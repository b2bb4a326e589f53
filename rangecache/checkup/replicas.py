"""A failover set, looked into: whether each replica has the objects, and whether they are provably the same."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from rangecache.aio.deadline import Deadline
from rangecache.checkup.reading import STEP_TIMEOUT_S
from rangecache.checkup.step import Report, Step
from rangecache.errors import RangecacheError
from rangecache.model import ObjectMeta, ObjectRef
from rangecache.origin.identity import same_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rangecache.aio.clock import Clock
    from rangecache.origin.identity import Policy
    from rangecache.origin.replica import Replica

_NO_PROOF: Final = {
    "checksum": "they give no common checksum of it (MD5 or SHA); copy objects with one, or choose another identity",
    "size+mtime": "their lengths or times differ; copy the objects with their times, or choose another identity",
}


class ReplicaCheck:
    """Looks into one set. The replicas' own hosts and credentials are looked into with their providers."""

    def __init__(
        self, name: str, replicas: Sequence[Replica], identity: Policy, buckets: Sequence[str], clock: Clock
    ) -> None:
        self._name = name
        self._replicas = replicas
        self._identity = identity
        self._buckets = buckets
        self._clock = clock

    async def run(self, wanted: ObjectRef | None = None) -> Report:
        """Each replica's word about one object: `wanted`, or the first that one of them lists."""
        steps: list[Step] = []
        ref = wanted
        if ref is None:
            step, ref = await self._find()
            steps.append(step)
        if ref is not None:
            found = await asyncio.gather(*(self._head(replica, ref) for replica in self._replicas))
            steps += [step for step, _ in found]
            steps.append(self._compared(ref, [meta for _, meta in found]))
        return Report(self._name, "failover", steps)

    async def _find(self) -> tuple[Step, ObjectRef | None]:
        """The first object that a replica lists, the most trusted one first."""
        why = "no bucket is configured; name an object with --object"
        for bucket in self._buckets:
            below = ObjectRef(self._name, bucket, "")
            for replica in (each for each in self._replicas if each.has(below)):
                try:
                    async with Deadline(self._clock, STEP_TIMEOUT_S):
                        page = await replica.list_page(below, "", None, "list")
                except RangecacheError as error:
                    why = error.message
                    continue
                except TimeoutError:
                    why = f"nothing came within {STEP_TIMEOUT_S:g} s"
                    continue
                if page.objects:
                    ref = below._replace(key=page.objects[0].key)
                    return Step("object", replica.name, "ok", f"{ref}, the first that it lists"), ref
                why = f"{replica.name} has nothing in {bucket}"
        return Step("object", "", "skipped", f"{why}; name one with --object {self._name}/BUCKET/KEY"), None

    async def _head(self, replica: Replica, ref: ObjectRef) -> tuple[Step, ObjectMeta | None]:
        if not replica.has(ref):
            said = f"it has no bucket {ref.bucket}, and is never asked for its objects"
            return Step("replica", replica.name, "warning", said), None
        began = self._clock.monotonic()
        try:
            async with Deadline(self._clock, STEP_TIMEOUT_S):
                meta = await replica.head(ref, None, "revalidate")
        except RangecacheError as error:
            return Step("replica", replica.name, "failed", error.message), None
        except TimeoutError:
            return Step("replica", replica.name, "failed", f"nothing came within {STEP_TIMEOUT_S:g} s"), None
        if not isinstance(meta, ObjectMeta):
            raise TypeError("an unconditional request was answered as if it had a condition")
        ms = (self._clock.monotonic() - began) * 1000
        figures = {"time_ms": ms, "size_bytes": meta.size, "validator": meta.validator or None}
        return Step("replica", replica.name, "ok", f"{meta.size:,} bytes, told in {ms:.0f} ms", figures), meta

    def _compared(self, ref: ObjectRef, found: Sequence[ObjectMeta | None]) -> Step:
        """Whether a read of this object may go on at another replica."""
        metas = [meta for meta in found if meta is not None]
        if len(metas) < 2:
            return Step("identity", "", "skipped", "fewer than two replicas told anything of it")
        first, *others = metas
        if any(each.size != first.size for each in others):
            sizes = ", ".join(f"{each.size:,}" for each in metas)
            said = f"{ref} is not the same everywhere ({sizes} bytes): copy it anew"
            return Step("identity", "", "failed", said, {"provable": False})
        if self._identity == "none":
            said = "identity: none, so a read that began at one replica never goes on at another"
            return Step("identity", "", "ok", said, {"provable": False})
        if all(same_bytes(self._identity, first, each) for each in others):
            said = f"the same bytes by identity: {self._identity}; a read that began at one replica goes on at the next"
            return Step("identity", "", "ok", said, {"provable": True})
        said = f"not provable by identity: {self._identity}: {_NO_PROOF.get(self._identity, 'their codings differ')}"
        return Step("identity", "", "warning", said, {"provable": False})
