"""Fetches ahead of readers, as long as it pays.

`streams` says where readers are going, and `habits` what they will read of an object that they have just opened; this
file asks for it, keeps the books, and stops:

* what lies around a read is asked for in the GET of the read itself, where much of it has been read (`density`);
* what nobody has come for yet is bounded in bytes, all objects together;
* requests are sent with the purpose `prefetch`: the origin's permits go to everybody else first, and they are never
  repeated. A reader who comes while one is on its way waits for that very one (`Fetcher.claim`), and asks for himself
  only if it fails;
* after a 429 or 503 of a bucket, or a failure of what was fetched ahead, nothing is for a while (`Strain`);
* a stream whose reader goes away, or has not been seen for `IDLE_S`, or of which more is wasted than used, is over.

Every block that was fetched ahead is counted once: as used when the first reader comes for it, or as wasted when it is
clear that none will. The answer that uses it first is no hit.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING, Final

from rangecache.errors import TransientError
from rangecache.ranges import block_indices, block_range
from rangecache.read.density import Density
from rangecache.read.track import Course, Track

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable, Sequence

    from rangecache.aio.clock import Clock
    from rangecache.blocks.base import BlockStore
    from rangecache.origin.strain import Strain
    from rangecache.ranges import ByteRange
    from rangecache.read.catalog import Catalog
    from rangecache.read.fetcher import Fetcher
    from rangecache.read.grids import Grids
    from rangecache.read.habits import Habits
    from rangecache.read.known import Known
    from rangecache.read.ledger import Ledger
    from rangecache.read.run import Run
    from rangecache.read.selection import Selection
    from rangecache.read.streams import Stride, Sweep
    from rangecache.telemetry import Metrics

TRACKS_MAX: Final = 1024  # objects whose readers are watched; about 2 KB each
IDLE_S: Final = 30.0  # between two reads of one stream a person may think, and GDAL may compute, but not longer
RANGES_WATCHED: Final = 16  # of one request: those who ask for more know themselves what they need


class Prefetcher:
    """Watches reads and fetches ahead. One for all objects."""

    def __init__(
        self,
        fetcher: Fetcher,
        tiers: BlockStore,
        catalog: Catalog,
        grids: Grids,
        habits: Habits,
        strain: Strain,
        clock: Clock,
        metrics: Metrics,
        *,
        max_window_bytes: int,
        memory_bytes: int,
    ) -> None:
        """`max_window_bytes` is the furthest that is fetched ahead of one reader; `memory_bytes` bounds what nobody has
        come for yet."""
        self._fetcher = fetcher
        self._tiers = tiers
        self._catalog = catalog
        self._grids = grids
        self._strain = strain
        self._clock = clock
        self._max_window_bytes = max_window_bytes
        self._memory_bytes = memory_bytes
        self._habits = habits
        self._used, self._wasted = (metrics.prefetch_blocks.cell(outcome) for outcome in ("used", "wasted"))
        self._tracks: OrderedDict[str, Track] = OrderedDict()  # by generation, the latest read at the end
        self.watched: dict[str, Track] = {}
        """The tracks that a hit in memory has to be told to, by generation: those of objects that are being opened or
        tried, and those with unused blocks."""
        self.unused_bytes = 0
        """What was fetched ahead, or is on its way, and nobody has come for."""

    # --- what readers do ------------------------------------------------------------------------------------------

    def hit(self, track: Track, ranges: Sequence[ByteRange]) -> frozenset[int]:
        """A read of a watched object that was answered from memory. Which of its blocks were fetched ahead for it."""
        self._note(track, ranges)
        unused, block_bytes = track.unused, track.known.block_bytes
        if not any(index in unused for wanted in ranges for index in block_indices(wanted, block_bytes)):
            return frozenset()
        taken, streams = self._observe(track, ranges)
        self._go_ahead(track, streams)
        return taken

    def missed(self, known: Known, ranges: Sequence[ByteRange]) -> Course:
        """A read that is not answered from memory at once. Its reader claims what he needs, and then calls `follow`."""
        track, expected = self._track(known)
        self._note(track, ranges)
        return Course(track, ranges, *self._observe(track, ranges), expected)

    def opened(self, known: Known) -> None:
        """The object was opened by a request that read nothing of it: what is mostly read next is fetched."""
        track, expected = self._track(known)
        self._expect(track, expected)

    def follow(self, course: Course) -> None:
        """Fetch ahead of this reader, if it is known where he goes."""
        if self._tracks.get(course.track.known.meta.generation) is course.track:
            self._expect(course.track, course.expected)
            self._go_ahead(course.track, course.streams)
            self._go_around(course)

    def left(self, course: Course) -> None:
        """The reader went away in the middle of an answer."""
        for stream in course.streams:
            stream.jump()
        left = (*course.streams, course.track.density)
        self._leave([run for run, ledger in course.track.runs.items() if ledger in left])

    def _track(self, known: Known) -> tuple[Track, Sequence[int]]:
        """The readers of this version; and which blocks are expected to be read next, if it is only being opened."""
        self._end_idle()
        generation = known.meta.generation
        track = self._tracks.get(generation)
        if track is not None and track.known.block_bytes == known.block_bytes:
            return track, ()
        trial = self._grids.trial() if track is None else None
        if track is not None:
            self._end(track)  # its blocks have another size now; that was its trial
        opening, expected = self._habits.begin(known)
        track = self._tracks[generation] = Track(known, self._max_window_bytes, opening, trial, self._density(known))
        track.seen_at = self._clock.monotonic()
        self._watch(track)
        while len(self._tracks) > TRACKS_MAX:
            self._end(next(iter(self._tracks.values())))
        return track, expected

    def _density(self, known: Known) -> Density | None:
        if self._grids.is_small(known.block_bytes):
            return None
        return Density(known.block_bytes, min(self._max_window_bytes, self._fetcher.run_bytes))

    def _note(self, track: Track, ranges: Sequence[ByteRange]) -> None:
        """Learn from a read of an object that is being opened or tried."""
        opening, trial, known = track.opening, track.trial, track.known
        if opening.done and trial is None:
            return
        for wanted in ranges[:RANGES_WATCHED]:
            opening.read(wanted)
            if trial is not None:
                trial.read(wanted)
        if trial is not None and trial.done:
            track.trial = None
            block_bytes = self._grids.decide(known.meta.ref, trial, known.block_bytes)
            if block_bytes != known.block_bytes:
                self._catalog.regrid(known, block_bytes)
        self._watch(track)

    def _watch(self, track: Track) -> None:
        live = self._tracks.get(track.known.meta.generation) is track
        if live and (track.unused or track.trial is not None or not track.opening.done):
            self.watched[track.known.meta.generation] = track
        else:
            self.watched.pop(track.known.meta.generation, None)

    def _observe(self, track: Track, ranges: Sequence[ByteRange]) -> tuple[frozenset[int], tuple[Sweep | Stride, ...]]:
        track.seen_at = self._clock.monotonic()
        self._tracks.move_to_end(track.known.meta.generation)
        taken: set[int] = set()
        streams: dict[Sweep | Stride, None] = {}
        for wanted in ranges[:RANGES_WATCHED]:
            owner = self._take(track, wanted, taken)
            if owner is not None and owner is track.density:
                track.density.used_by(wanted.length)
            stream = track.streams.observe(wanted, owner)
            if stream is not None:
                streams[stream] = None
        return frozenset(taken), tuple(streams)

    def _take(self, track: Track, wanted: ByteRange, taken: set[int]) -> Ledger | None:
        """Somebody has come for these bytes. Gives the stream for which the first of them was fetched ahead."""
        blocks = block_indices(wanted, track.known.block_bytes)
        # One may ask for a whole long object; what is unused is always short.
        found = [index for index in track.unused if index in blocks]
        owner = track.unused[min(found)] if found else None
        for index in found:
            key = track.known.block_key(index)
            here = self._fetcher.flying(key) or self._tiers.contains(key)
            if here:
                taken.add(index)
            self._settle(track, index, used=here)
        return owner

    # --- what is done about it ------------------------------------------------------------------------------------

    def _expect(self, track: Track, expected: Sequence[int]) -> None:
        known = track.known
        room = (self._memory_bytes - self.unused_bytes) // known.block_bytes
        if expected and self._allowed(known):
            self._fetch(track, track.opening, expected, max(0, room))

    def _allowed(self, known: Known) -> bool:
        return self._max_window_bytes > 0 and self._strain.eased(known.meta.ref)

    def _go_ahead(self, track: Track, streams: Iterable[Sweep | Stride]) -> None:
        for stream in streams:
            self._waste(track, stream.behind())
            if stream.stopped:
                self._over(track, stream)
            elif track.streams.convinced(stream) and self._allowed(track.known):
                for blocks in stream.plan(track.known.meta.size, self._memory_bytes - self.unused_bytes):
                    self._fetch(track, stream, blocks)
        for stream in track.streams.trim():
            self._over(track, stream)

    def _go_around(self, course: Course) -> None:
        """Make the GET of this read longer, if much of what lies around it has been read."""
        track, density = course.track, course.track.density
        if density is None or len(course.ranges) != 1 or not self._allowed(track.known):
            return
        self._waste(track, density.late())
        wanted, known = course.ranges[0], track.known
        run = self._fetcher.unsent(known, block_indices(wanted, known.block_bytes))
        if run is None or any(map(track.streams.convinced, course.streams)):
            return
        planned = density.plan(
            wanted.length,
            run.blocks,
            -(-known.meta.size // known.block_bytes),
            lambda index: index not in track.unused and self._tiers.contains(known.block_key(index)),
            lambda index: self._fetcher.coming(known, index),
            (self._memory_bytes - self.unused_bytes) // known.block_bytes,
        )
        self._fetch(track, density, planned)

    def _over(self, track: Track, stream: Sweep | Stride) -> None:
        self._waste(track, stream.pending)
        track.streams.end(stream)

    def _fetch(self, track: Track, ledger: Ledger, blocks: Iterable[int], most: int | None = None) -> None:
        """Fetch what of the blocks nobody has or fetches, at most so many, and enter it in the books."""
        known = track.known
        for run, brought in self._fetcher.fetch_ahead(known, blocks, most, widen=ledger is track.density):
            for index in brought:
                if index in track.unused:  # the first time it was evicted before anybody came
                    self._settle(track, index, used=False)
                track.unused[index] = ledger
                ledger.pending[index] = None
                self.unused_bytes += block_range(index, known.block_bytes, known.meta.size).length
            self._watch(track)
            if run in track.runs:
                continue  # it has been made longer, perhaps for another reason
            track.runs[run] = ledger
            self._fetcher.follow(run)
            if run.task is not None:
                run.task.add_done_callback(partial(self._landed, track, run))

    def _landed(self, track: Track, run: Run, _: asyncio.Task[None]) -> None:
        """Strike what did not arrive from the books: it has been neither used nor wasted."""
        if track.runs.pop(run, None) is None or run.error is None:
            return
        if isinstance(run.error, TransientError):
            self._strain.pause(run.known.meta.ref)  # in trouble it is asked for what is needed and nothing else
        for index in run.blocks:
            span = block_range(index, track.known.block_bytes, track.known.meta.size)
            ledger = track.unused.get(index)
            if span.end > run.arrived and ledger is not None:
                del ledger.pending[index]
                self._strike(track, index)

    def _waste(self, track: Track, indices: Iterable[int]) -> None:
        for index in list(indices):
            self._settle(track, index, used=False)

    def _settle(self, track: Track, index: int, *, used: bool) -> None:
        track.unused[index].settle(index, used=used)
        (self._used if used else self._wasted).value += 1
        self._strike(track, index)

    def _strike(self, track: Track, index: int) -> None:
        known = track.known
        del track.unused[index]
        self.unused_bytes -= block_range(index, known.block_bytes, known.meta.size).length
        if not track.unused:
            self._watch(track)

    def _leave(self, runs: Iterable[Run]) -> None:
        for run in runs:
            if run.followers:  # two readers of one stream may leave
                self._fetcher.unfollow(run)

    def forget(self, selection: Selection) -> None:
        """Watch the readers of these objects no more, and leave what is on its way for them."""
        for track in [each for each in self._tracks.values() if selection.matches(each.known.meta.ref)]:
            runs = list(track.runs)
            track.runs.clear()  # that they end now is no trouble of the origin
            self._leave(runs)
            self._end(track)
        self._habits.forget(selection)

    def _end_idle(self) -> None:
        """Let the streams go whose readers have not been seen for long."""
        since = self._clock.monotonic() - IDLE_S
        while self._tracks:
            oldest = next(iter(self._tracks.values()))
            if oldest.seen_at >= since:
                return
            self._end(oldest)

    def _end(self, track: Track) -> None:
        del self._tracks[track.known.meta.generation]
        self._leave(list(track.runs))
        self._waste(track, list(track.unused))
        self._watch(track)

    def __repr__(self) -> str:
        counts = f"{self._used.value:.0f} blocks used, {self._wasted.value:.0f} wasted"
        return f"<Prefetcher {len(self._tracks)} objects, {self.unused_bytes} bytes unused, {counts}>"
