"""`/v1/warm`, `/v1/record`, `/v1/jobs`: work that outlives its request."""

from __future__ import annotations

import json
from contextlib import aclosing
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING, Any, Final

from aiohttp import hdrs, web

from rangecache.aio.tasks import first_of
from rangecache.errors import BadRequest, RequestError
from rangecache.jobs import manifest
from rangecache.jobs.record import Recording
from rangecache.jobs.warm import Wanted, Warming, WarmProgress, below
from rangecache.server.api.answers import LINES_TYPE, Member, answered, json_body, streaming
from rangecache.server.api.uploads import Lines
from rangecache.settings.units import parse_duration
from rangecache.trace import TraceWriter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rangecache.aio.clock import Clock
    from rangecache.jobs.job import Job
    from rangecache.jobs.manifest import Entry
    from rangecache.jobs.record import Recorder
    from rangecache.jobs.runner import JobRunner
    from rangecache.origin.base import ObjectStore
    from rangecache.read.filling import Filler
    from rangecache.server.request import Router

EVENTS_EVERY_S: Final = 0.25  # progress is told so often at the most
EVENTS_SILENT_S: Final = 15.0  # and a sign of life at the least, so that a client that has gone is noticed
_EVENTS_TYPE: Final = "text/event-stream"
_ACCEPTED: Final = 202

_WARM: Final = {
    "objects": Member(list, 'a list of names, as in ["s3/bucket/key"]'),
    "prefix": Member(str, 'text, as in "s3/bucket/data/"'),
    "manifest": Member(list, 'a list of entries, as in [{"object": "s3/bucket/key", "ranges": [[0, 65536]]}]'),
    "ranges": Member(object, 'pairs, as in [[0, 65536]], or text, as in "bytes=0-65535"'),
}
_RECORD: Final = {"for": Member(str, 'a duration, as in "10m"')}


@dataclass(frozen=True, slots=True)
class JobRooms:
    """What jobs work with."""

    runner: JobRunner
    filler: Filler
    recorder: Recorder
    router: Router
    stores: Mapping[str, ObjectStore]
    clock: Clock


def job_routes(rooms: JobRooms) -> list[web.RouteDef]:
    """The routes of this file."""
    api = _JobsApi(rooms)
    return [
        web.post("/v1/warm", api.warm),
        web.post("/v1/record", api.record),
        web.get("/v1/jobs", api.show_all),
        web.get("/v1/jobs/{id}", api.show, allow_head=False),
        web.delete("/v1/jobs/{id}", api.cancel),
        web.get("/v1/jobs/{id}/trace", api.trace, allow_head=False),
    ]


class _JobsApi:
    def __init__(self, rooms: JobRooms) -> None:
        self._rooms = rooms
        self._lines = Lines()

    # --- what starts a job ----------------------------------------------------------------------------------------

    async def warm(self, request: web.Request) -> web.StreamResponse:
        """From a JSON document, or a whole manifest as `application/x-ndjson`."""
        self._rooms.runner.check_room()
        if request.content_type == LINES_TYPE:
            lines = await self._lines.read(request, self._check_line)
            return self._started(self._warm({"manifest": len(lines)}, self._wanted_of(lines), WarmProgress()))
        body = await json_body(request, _WARM)
        asked = body.keys() - {"ranges"}
        if len(asked) != 1:
            raise BadRequest("Name what to warm by exactly one of `objects`, `prefix` and `manifest`.")
        ranges = manifest.read_ranges(body["ranges"]) if body.get("ranges") is not None else None
        progress = WarmProgress()
        if "prefix" in body:
            prefix = self._rooms.router.find_prefix(body["prefix"])
            store = self._rooms.stores[prefix.provider]
            store.check_listable(prefix)
            found = below(store, prefix, ranges, self._rooms.router.allows, progress)
            return self._started(self._warm({**body, "prefix": str(prefix)}, found, progress))
        (named,) = asked
        entries = [manifest.read_entry(each) for each in body[named]]
        wanted = [self._wanted(entry, number, ranges) for number, entry in enumerate(entries, 1)]
        return self._started(self._warm({**body, named: len(wanted)}, wanted, progress))

    def _warm(self, about: Mapping[str, Any], wanted: Any, progress: WarmProgress) -> Job:
        warming = Warming(self._rooms.filler, wanted, progress)
        return self._rooms.runner.start("warm", about, progress, warming.run)

    def _wanted(self, entry: Entry, number: int, ranges: Any = None) -> Wanted:
        try:
            return Wanted(self._rooms.router.find_name(entry.name), entry.ranges or ranges)
        except RequestError as error:
            error.message = f"Entry {number}: {error.message}"
            raise

    def _check_line(self, line: bytes, number: int) -> bool:
        """Whether a manifest's line says something. Raises `RequestError`, naming the line."""
        try:
            entry = manifest.read_line(line)
            if entry is not None:
                self._rooms.router.find_name(entry.name)
        except RequestError as error:
            error.message = f"Line {number}: {error.message}"
            raise
        return entry is not None

    def _wanted_of(self, lines: list[bytes]) -> Iterator[Wanted]:
        """Read a second time, one by one: as lines they take less memory."""
        for number, line in enumerate(lines, 1):
            entry = manifest.read_line(line)
            if entry is not None:
                yield self._wanted(entry, number)

    async def record(self, request: web.Request) -> web.StreamResponse:
        """A recording, whose trace is to be read at `/v1/jobs/<id>/trace`."""
        body = await json_body(request, _RECORD) if await request.read() else {}
        for_s = None
        if "for" in body:
            try:
                for_s = parse_duration(body["for"])
            except ValueError as error:
                raise BadRequest(f"The member `for`: {error}.") from None
        recording = self._rooms.recorder.make(for_s)
        job = self._rooms.runner.start("record", body, recording, lambda _: self._rooms.recorder.run(recording))
        job.stop = recording.stop
        return self._started(job)

    @staticmethod
    def _started(job: Job) -> web.StreamResponse:
        answer = answered(job.document(), _ACCEPTED)
        answer.headers[hdrs.LOCATION] = f"/v1/jobs/{job.id}"
        return answer

    # --- what looks at jobs ---------------------------------------------------------------------------------------

    async def show_all(self, _request: web.Request) -> web.StreamResponse:
        """Every job that is remembered, the latest first."""
        return answered({"jobs": [job.document() for job in self._rooms.runner.all()]})

    async def show(self, request: web.Request) -> web.StreamResponse:
        """One job; as server-sent events for as long as it runs, if that is asked for."""
        job = self._rooms.runner.find(request.match_info["id"])
        if _EVENTS_TYPE in request.headers.get(hdrs.ACCEPT, ""):
            return await self._show_progress(request, job)
        return answered(job.document())

    async def cancel(self, request: web.Request) -> web.StreamResponse:
        """End a job. The answer comes when it has let go of everything."""
        return answered((await self._rooms.runner.cancel(request.match_info["id"])).document())

    async def _show_progress(self, request: web.Request, job: Job) -> web.StreamResponse:
        """`progress` events while something changes, and one `end`."""
        async with streaming(request, _EVENTS_TYPE) as send:
            told, told_s = "", self._rooms.clock.monotonic()
            while True:
                ended, now_s = job.ended, self._rooms.clock.monotonic()
                document = json.dumps(job.document())
                if ended:
                    await send(f"event: end\ndata: {document}\n\n")
                    break
                if document != told:
                    await send(f"event: progress\ndata: {document}\n\n")
                    told, told_s = document, now_s
                elif now_s - told_s >= EVENTS_SILENT_S:
                    await send(": still here\n\n")
                    told_s = now_s
                await first_of(self._rooms.clock.sleep(EVENTS_EVERY_S), job.wait())
                send.check()
        return send.response

    async def trace(self, request: web.Request) -> web.StreamResponse:
        """The reads of a recording as they come, as CSV."""
        job = self._rooms.runner.find(request.match_info["id"])
        if not isinstance(job.progress, Recording):
            raise BadRequest("Only a job of kind `record` has a trace.")
        job.progress.check_unread()
        async with (
            streaming(request, "text/csv; charset=utf-8; header=present") as send,
            aclosing(job.progress.batches()) as batches,
        ):
            out, told_s = StringIO(newline=""), self._rooms.clock.monotonic()
            writer = TraceWriter(out)
            async for batch in batches:
                send.check()
                for read in batch:
                    writer.write(read)
                now_s = self._rooms.clock.monotonic()
                if not out.tell() and now_s - told_s >= EVENTS_SILENT_S:
                    out.write(
                        "\n"
                    )  # an empty line means nothing in a trace; no line at all would mean a dead connection
                if out.tell():
                    await send(out.getvalue())
                    out.seek(0)
                    out.truncate()
                    told_s = now_s
        return send.response
