"""What every `ObjectStore` must bear: readers who leave, who are cancelled, who come in crowds, and bodies that break
off."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from rangecache.errors import NotListable, TransientError
from rangecache.ranges import ByteRange
from rangecache.testing.subject import content, equal, expect, opened, read

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Generator

    from rangecache.testing.subject import FrailSubject, Subject

PATIENCE_S: Final = 20.0  # what has not come by then never will: something waits for ever
AWAITS_MAX: Final = 200  # of one call that are cancelled one after another
LEAVINGS: Final = 12  # more than any permit, slot or pool of a test would outlast if each kept one
_CUT_BYTES: Final = 70_001


async def may_be_left_early(subject: Subject) -> None:
    """After the first chunk or before it; the store goes on working."""
    data = content("early")
    ref = await subject.put("early.bin", data)
    for _ in range(5):
        async with subject.store.get(ref) as answer:
            async for chunk in opened(answer).chunks:
                expect(data.startswith(chunk), "the first chunk is wrong")
                break
        async with subject.store.get(ref, range=ByteRange(5, 10)):
            pass
    _, _, body = await read(subject.store, ref)
    expect(body == data, "a read after abandoned ones is wrong")


async def answers_many_at_once(subject: Subject) -> None:
    """Each its own bytes."""
    data = content("many")
    ref = await subject.put("many.bin", data)
    spans = [ByteRange(start, start + 4001) for start in range(0, 160_000, 4000)]
    answers = await asyncio.gather(*(read(subject.store, ref, span) for span in spans))
    for span, (_, got, body) in zip(spans, answers, strict=True):
        expect(body == data[got.start : got.end] and got.start <= span.start, f"{span}: the bytes are wrong")


async def may_be_cancelled_at_each_await(subject: Subject) -> None:
    """A read, a head, a listing that is cancelled where it waits ends with `CancelledError`, whichever of its waits
    that is; and the store goes on working."""
    data = content("cancelled")
    ref = await subject.put("cancelled/a.bin", data)

    async def list_it() -> object:
        try:
            return await subject.store.list_page(ref._replace(key="cancelled/"))
        except NotListable as error:
            return error

    calls: dict[str, Callable[[], Coroutine[Any, Any, object]]] = {
        "get": lambda: read(subject.store, ref),
        "head": lambda: subject.store.head(ref),
        "list": list_it,
    }
    for name, call in calls.items():
        for number in range(1, AWAITS_MAX + 1):
            attempt = _CancelledAt(call(), number)
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await asyncio.ensure_future(attempt.run())
            except asyncio.CancelledError:
                expect(attempt.cancelled, f"{name} was cancelled, though nobody had asked for that")
            else:
                expect(not attempt.cancelled, f"{name} went on after it was cancelled at its await number {number}")
                break
        async with asyncio.timeout(PATIENCE_S):
            _, _, body = await read(subject.store, ref)
        expect(body == data, f"a read after {name} was cancelled is wrong")


async def leaves_nothing_running(subject: Subject) -> None:
    """However often it is left and cancelled, no more tasks are there afterwards than after the first time."""
    data = content("tidy")
    ref = await subject.put("tidy.bin", data)
    await _leave_in_three_ways(subject, ref)
    before = await _tasks(len(asyncio.all_tasks()))
    for _ in range(LEAVINGS):
        await _leave_in_three_ways(subject, ref)
    after = await _tasks(before)
    expect(after <= before + 1, f"{after - before} tasks more after {LEAVINGS} rounds")


async def closes(subject: Subject) -> None:
    """While nothing is under way, and a second time too: whoever closes at the end need not know who has already."""
    ref = await subject.put("closed.bin", b"closed")
    await read(subject.store, ref)
    async with asyncio.timeout(PATIENCE_S):
        await subject.store.aclose()
        await subject.store.aclose()


async def never_ends_a_body_early(subject: FrailSubject) -> None:
    """A body that breaks off is gone on with, or it raises a `TransientError`; what came of it until then is right."""
    data = content("cut")
    ref = await subject.put("cut.bin", data)
    for spec in (None, ByteRange(1000, 150_000)):
        for after_bytes in (0, 1, _CUT_BYTES):
            await subject.cut(ref, after_bytes)
            wanted = data if spec is None else data[spec.start : spec.end]
            came = bytearray()
            try:
                async with subject.store.get(ref, range=spec) as answer:
                    async for chunk in opened(answer).chunks:
                        came += chunk
            except TransientError:
                expect(len(came) < len(wanted), "a whole body raised an error")
                expect(wanted.startswith(came), "what came of a body before it broke off is wrong")
            else:
                expect(bytes(came) == wanted, f"a body of {len(came)} bytes in place of {len(wanted)} ended in order")
            _, _, body = await read(subject.store, ref)
            equal("the size of a read after a cut one", len(body), len(data))


async def _leave_in_three_ways(subject: Subject, ref: Any) -> None:
    async with subject.store.get(ref) as answer:
        async for _ in opened(answer).chunks:
            break
    task = asyncio.ensure_future(read(subject.store, ref))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    async with asyncio.timeout(PATIENCE_S):
        await read(subject.store, ref)


async def _tasks(enough: int) -> int:
    """How many there are, after those that are about to end have had the time."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + 0.5
    while len(asyncio.all_tasks()) > enough and loop.time() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    return len(asyncio.all_tasks())


class _CancelledAt:
    """Runs a coroutine, and cancels the task around it where it waits for the `number`th time."""

    def __init__(self, work: Coroutine[Any, Any, object], number: int) -> None:
        self._work = work
        self._number = number
        self.cancelled = False

    async def run(self) -> object:
        """What the coroutine returns; it is never awaited twice."""
        return await self

    def __await__(self) -> Generator[Any, Any, object]:
        steps = self._work.__await__()
        waits = 0
        try:
            waiting = steps.send(None)
            while True:
                waits += 1
                if waits == self._number and (task := asyncio.current_task()) is not None:
                    self.cancelled = True
                    task.cancel()
                try:
                    came = yield waiting
                except BaseException as error:  # noqa: BLE001  (it goes where the task sends it)
                    waiting = steps.throw(error)
                else:
                    waiting = steps.send(came)
        except StopIteration as stop:
            return stop.value


INTERRUPTION_CHECKS: Final[tuple[Callable[[Subject], Awaitable[None]], ...]] = (
    may_be_left_early,
    answers_many_at_once,
    may_be_cancelled_at_each_await,
    leaves_nothing_running,
    closes,
)
CUT_CHECKS: Final[tuple[Callable[[FrailSubject], Awaitable[None]], ...]] = (never_ends_a_body_early,)
