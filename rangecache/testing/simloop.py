"""An event loop in which time is a number and the order of things is drawn from a seed.

    simulate(lambda loop: scenario(loop), seed=17)

Nothing waits: when nothing is ready, time jumps to the next timer. What is ready in the same turn runs in an order that
the seed gives, but callbacks of one future keep theirs, as asyncio promises it. There is no I/O; what is given to an
executor runs in the loop's own thread, a moment later. So a scenario of a thousand tasks and ten minutes takes
milliseconds, and a seed that found a fault finds it again.

Whatever is drawn from `loop.random` belongs to the seed. What does not may not matter: the clock, object ids, the
iteration order of sets of objects (`trace` shows it if it does).
"""

from __future__ import annotations

import asyncio
import gc
import heapq
import random
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from concurrent.futures import Executor

T = TypeVar("T")

START_S: Final = 1000.0
WALL_S: Final = 1_800_000_000.0  # 2027-01-15T08:00:00Z; any fixed day will do
TURNS_MAX: Final = 1_000_000
EXECUTOR_S: Final = 0.002  # a thread takes up to this long


class Stuck(AssertionError):
    """Everybody waits, and nothing will ever happen; or it goes on for ever."""


class SimulatedLoop(asyncio.BaseEventLoop):
    """See above. Errors that nobody handled are in `errors`, in the words of asyncio."""

    # `call_soon`, `call_at` and cancelled timers are BaseEventLoop's: they fill `_ready` and `_scheduled`, and
    # `_run_once` is what empties them. The names are the same in Python 3.11 to 3.14.
    _ready: Any
    _scheduled: Any
    _stopping: bool
    _timer_cancelled_count: int

    def __init__(self, seed: int, turns_max: int = TURNS_MAX) -> None:
        super().__init__()
        self.random = random.Random(seed)  # noqa: S311 - to be the same again, not to be secret
        """For the scenario too."""
        self.errors: list[str] = []
        self.turns = 0
        self.trace = 0
        """A digest of all that has happened so far: the same for the same seed, whatever the process."""
        self.on_callback: Callable[[], None] | None = None
        """Called after every callback."""
        self._now_s = START_S
        self._turns_max = turns_max
        self.set_exception_handler(self._note_error)

    def time(self) -> float:
        """Seconds, moved by nothing but timers that are due."""
        return self._now_s

    def _note_error(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.errors.append(f"{context['message']}: {context.get('exception')!r}")

    def _run_once(self) -> None:
        self.turns += 1
        if self.turns > self._turns_max:
            raise Stuck(f"still busy after {self._turns_max} turns: {self._who_waits()}")
        self._ring()
        if not self._ready:
            if not self._scheduled:
                raise Stuck(f"everybody waits and nothing will happen: {self._who_waits()}")
            self._now_s = max(self._now_s, self._scheduled[0].when())
            self._ring()
        turn = list(self._ready)
        self._ready.clear()
        for handle in self._shuffled(turn):
            if not handle.cancelled():
                handle._run()
                if self.on_callback is not None:
                    self.on_callback()

    def _ring(self) -> None:
        """Make ready what is due."""
        timers = self._scheduled
        while timers and (timers[0].cancelled() or timers[0].when() <= self._now_s):
            timer = heapq.heappop(timers)
            timer._scheduled = False
            if timer.cancelled():
                self._timer_cancelled_count -= 1
            else:
                self._ready.append(timer)

    def _shuffled(self, turn: list[Any]) -> list[Any]:
        """The handles of one turn in a drawn order; those of one future in their own."""
        places = list(range(len(turn)))
        self.random.shuffle(places)
        self.trace = hash((self.trace, len(turn), *places[:3], self._now_s))
        futures = [_future_of(handle) for handle in turn]
        places_of: dict[asyncio.Future[Any], list[int]] = {}
        for future, place in zip(futures, places, strict=True):
            if future is not None:
                places_of.setdefault(future, []).append(place)
        next_place = {future: iter(sorted(each)) for future, each in places_of.items()}
        order: list[Any] = [None] * len(turn)
        for handle, future, place in zip(turn, futures, places, strict=True):
            order[place if future is None else next(next_place[future])] = handle
        return order

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """Do the work at once in a moment, whatever the executor. A caller who leaves may be too late to stop it."""
        done: asyncio.Future[T] = self.create_future()

        def work() -> None:
            if done.cancelled() and self.random.random() < 0.5:
                return
            try:
                result = func(*args)
            except Exception as error:  # noqa: BLE001 - it is the caller's
                if not done.done():
                    done.set_exception(error)
            else:
                if not done.done():
                    done.set_result(result)

        self.call_later(self.random.uniform(0, EXECUTOR_S), work)
        return done

    def _write_to_self(self) -> None:
        """Nobody sleeps who would have to be woken (asyncio calls this when a generator is collected)."""

    def _who_waits(self) -> str:
        return ", ".join(sorted(f"{task.get_name()} in {task.get_coro()!r}" for task in asyncio.all_tasks(self)))


def _future_of(handle: Any) -> asyncio.Future[Any] | None:
    """The future whose callback this is: asyncio gives it to the callback."""
    given = handle._args[0] if handle._args else None
    return given if isinstance(given, asyncio.Future) else None


class SimulatedClock:
    """An `aio.clock.Clock` on a loop's time. `wall_s` is added to it and may be moved, to play a clock that jumps."""

    def __init__(self, loop: asyncio.AbstractEventLoop, wall_s: float = WALL_S - START_S) -> None:
        self.monotonic = loop.time
        self.wall_s = wall_s

    def wall(self) -> float:
        """Seconds since 1970, UTC."""
        return self.monotonic() + self.wall_s

    async def sleep(self, delay_s: float) -> None:
        """As `asyncio.sleep`."""
        await asyncio.sleep(delay_s)


def simulate(scenario: Callable[[SimulatedLoop], Coroutine[Any, Any, T]], seed: int) -> tuple[T, SimulatedLoop]:
    """Run a scenario to its end; its result, and the loop for what it counted.

    Raises `Stuck` where it would never end, and `AssertionError` where it leaves tasks, timers that somebody waits for
    or errors that nobody handled.
    """
    loop = SimulatedLoop(seed)
    collects = gc.isenabled()
    gc.disable()  # when it collects is no part of the seed, and a generator that is collected makes the loop a task
    try:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            result = runner.run(scenario(loop))
            left = asyncio.all_tasks(loop)
            if left:
                raise AssertionError(f"seed {seed}: tasks were left: {loop._who_waits()}")
    except BaseException as error:
        error.add_note(f"seed {seed}, after {loop.turns} turns, at {loop.time() - START_S:.3f} s")
        raise
    finally:
        if collects:
            gc.enable()
    if loop.errors:
        raise AssertionError(f"seed {seed}: {loop.errors}")
    return result, loop
