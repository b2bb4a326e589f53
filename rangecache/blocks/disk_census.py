"""Walks over all blocks of the disk tier: how much there is of some objects, to give them up, to name the unknown.

Only digests of objects are in the names of blocks. Whoever asks for objects has theirs compared; objects that nobody
knows are named by the header of one of their files. Every walk gives way to requests after some hundred blocks.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from rangecache.blocks.base import Forgotten, Held, steps
from rangecache.blocks.disk_files import PREFIX_BYTES, object_prefix
from rangecache.blocks.outlook import outlook

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection, Container

    from rangecache.blocks.admission import Admission, Standing
    from rangecache.blocks.disk_files import BlockFiles
    from rangecache.blocks.disk_writer import DiskWriter
    from rangecache.blocks.outlook import Outlook
    from rangecache.blocks.threads import Threads
    from rangecache.blocks.write_queue import WriteQueue
    from rangecache.model import ObjectRef

DIGEST_STEP: Final = 256
"""Names that are digested before the loop turns to requests: about half a millisecond."""
DELETE_STEP: Final = 256
"""Files that one trip to a thread deletes: some 3 ms."""
HEADER_STEP: Final = 64
"""Files of which one trip to a thread reads the beginning: some 3 ms."""


class DiskCensus:
    """To be asked once the index is complete. What waits to be written counts as if it were written."""

    def __init__(
        self, files: BlockFiles, policy: Admission[bytes], queue: WriteQueue, writer: DiskWriter, threads: Threads
    ) -> None:
        self._files = files
        self._policy = policy
        self._queue = queue
        self._writer = writer
        self._threads = threads
        self.deleted = 0
        """Files that purges have been done with since start: that it grows shows that the disk answers."""

    async def held(self, refs: Collection[ObjectRef]) -> dict[ObjectRef, Held]:
        """How much of each of these objects is on disk."""
        names = await _by_prefix(refs)
        found: dict[ObjectRef, Held] = {}
        async for each in self._standing(names):
            ref = names[each.key[:PREFIX_BYTES]]
            before = found.get(ref, Held())
            found[ref] = Held(before.blocks + 1, before.bytes + each.size_bytes)
        for block in self._queue:
            if (ref := block.key.ref) in refs:
                before = found.get(ref, Held())
                found[ref] = Held(before.blocks + 1, before.bytes + block.size_bytes)
        return found

    async def forget(self, refs: Collection[ObjectRef]) -> Forgotten:
        """Delete every block of these objects. One that cannot be deleted goes on to be held, and to count."""
        prefixes = await _by_prefix(refs)
        withdrawn = self._queue.withdraw(lambda block: block.name[:PREFIX_BYTES] in prefixes)
        blocks, size_bytes, stuck, why = len(withdrawn), sum(block.size_bytes for block in withdrawn), 0, ""
        doomed = {}
        async for each in self._standing(prefixes):
            if each.key in self._policy:
                doomed[each.key] = each.size_bytes
                self._policy.remove(each.key)
        await self._writer.settle()  # what it is writing now it deletes itself, as the policy no longer has it
        for names in steps(doomed, DELETE_STEP):
            left = await self._writer.remove(names)
            sizes = {name: doomed[name] for name in names}
            for name, _ in left.blocks:
                del sizes[name]
            self.deleted += len(names)
            blocks += len(sizes)
            size_bytes += sum(sizes.values())
            stuck += len(left.blocks)
            if left.error is not None:
                why = f"{stuck} of its files could not be deleted ({left.error.strerror})"
        return Forgotten(Held(blocks, size_bytes), why)

    async def outlook(self, ref: ObjectRef) -> Outlook | None:
        """When the blocks of this object would leave."""
        prefix = object_prefix(ref)
        return await outlook(self._policy.standing(), lambda name: name.startswith(prefix))

    async def strangers(self, known: Container[bytes]) -> AsyncGenerator[list[ObjectRef], None]:
        """The objects that have blocks here and whose name (`object_prefix`) is not in `known`. Each takes the opening
        of a file."""
        first: dict[bytes, bytes] = {}
        for step in steps(self._policy.standing()):
            first.update((each.key[:PREFIX_BYTES], each.key) for each in step if each.key[:PREFIX_BYTES] not in known)
            await asyncio.sleep(0)
        for names in steps(first.values(), HEADER_STEP):
            yield await self._threads.run(self._read_refs, names)

    def _read_refs(self, names: list[bytes]) -> list[ObjectRef]:
        return [ref for ref in map(self._files.ref, names) if ref is not None]

    async def _standing(self, prefixes: Container[bytes]) -> AsyncGenerator[Standing[bytes], None]:
        for step in steps(self._policy.standing()):
            for each in step:
                if each.key[:PREFIX_BYTES] in prefixes:
                    yield each
            await asyncio.sleep(0)


async def _by_prefix(refs: Collection[ObjectRef]) -> dict[bytes, ObjectRef]:
    """The objects by what the names of their blocks begin with."""
    found: dict[bytes, ObjectRef] = {}
    for step in steps(refs, DIGEST_STEP):
        found.update((object_prefix(ref), ref) for ref in step)
        await asyncio.sleep(0)
    return found
