"""One provider, looked into step by step: a step is tried although an earlier one failed, wherever that makes sense."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rangecache.aio.deadline import Deadline
from rangecache.checkup.reading import Reading
from rangecache.checkup.step import Report, Step
from rangecache.errors import RangecacheError
from rangecache.model import ObjectRef
from rangecache.origin.credentials import Anonymous
from rangecache.origin.fetched import FETCH_TIMEOUT_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rangecache.aio.clock import Clock
    from rangecache.checkup.network import Host, Network
    from rangecache.origin.base import ObjectStore
    from rangecache.origin.credentials import Credentials
    from rangecache.origin.exchanges import Exchange

BUCKETS_MAX: Final = 16  # of one provider; who has more names one of the others
CREDENTIALS_TIMEOUT_S: Final = FETCH_TIMEOUT_S + 1
# AWS and Azure refuse what was signed more than 15 minutes ago or ahead.
SKEW_MAX_S: Final = 300.0
SKEW_NOTED_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Subject:
    """A provider to look into."""

    name: str
    kind: str
    store: ObjectStore
    """Without repeats and breakers: each step is asked once, whatever became of others."""
    buckets: Sequence[str]
    """Those that are configured."""
    hosts: Callable[[str], Sequence[tuple[Host, str]]]
    """Where requests for a bucket go first, or those that have no bucket (""), and in what role; none for folders."""
    credentials: Callable[[ObjectRef], Credentials[object]] | None = None
    """None: requests of this kind are never signed."""
    dated: bool = False
    """Whether signatures hold the time, so that a wrong clock makes them worthless."""


class ProviderCheck:
    """Looks into a provider. `random_name` gives names that no object has."""

    def __init__(
        self, subject: Subject, network: Network, clock: Clock, random_name: Callable[[], str] | None = None
    ) -> None:
        self._subject = subject
        self._network = network
        self._clock = clock
        self._random_name = random_name or (lambda: f"rangecache-doctor-{secrets.token_hex(8)}")
        self._reading = Reading(subject.store, clock)

    async def run(self, wanted: ObjectRef | None = None) -> Report:
        """All steps; `wanted` is an object of this provider to read from, in place of the first that is listed."""
        subject = self._subject
        buckets = [wanted.bucket] if wanted is not None else list(subject.buckets)
        first: list[Step] = []
        if not buckets:
            signed, (step, found) = await asyncio.gather(self._signed([""]), self._reading.buckets(subject.name))
            first, buckets = [*signed, step], list(found[:1])
            if not buckets:
                return self._report([*await self._reached([""]), *first, *self._dated([""])])
        left, buckets = buckets[BUCKETS_MAX:], buckets[:BUCKETS_MAX]
        reached, signed, *read = await asyncio.gather(
            self._reached(buckets),
            self._signed([] if first else buckets),
            *(self._read(bucket, wanted) for bucket in buckets),
        )
        steps = [*reached, *first, *signed, *self._dated(buckets), *(step for bucket in read for step in bucket)]
        if left:
            said = f"{len(left)} more buckets were not tried: name one of them"
            steps.append(Step("buckets", "", "skipped", said))
        return self._report(steps)

    def _report(self, steps: Sequence[Step]) -> Report:
        return Report(self._subject.name, self._subject.kind, steps)

    async def _reached(self, buckets: Iterable[str]) -> list[Step]:
        hosts = dict.fromkeys(each for bucket in buckets for each in self._subject.hosts(bucket))
        found = await asyncio.gather(*(self._network.look(host, role) for host, role in hosts))
        return [step for steps in found for step in steps]

    async def _signed(self, buckets: Iterable[str]) -> list[Step]:
        """A step for each of the credentials that these buckets are asked with."""
        if self._subject.credentials is None:
            return []
        kinds: dict[int, tuple[str, Credentials[object]]] = {}
        for bucket in buckets:
            credentials = self._subject.credentials(ObjectRef(self._subject.name, bucket, ""))
            kinds.setdefault(id(credentials), (bucket, credentials))
        alone = len(kinds) == 1
        found = (self._found("" if alone else bucket, credentials) for bucket, credentials in kinds.values())
        return list(await asyncio.gather(*found))

    async def _found(self, bucket: str, credentials: Credentials[object]) -> Step:
        if isinstance(credentials, Anonymous):
            said = "none are used: requests are anonymous, as configured"
            return Step("credentials", bucket, "ok", said, {"signs": False})
        try:
            async with Deadline(self._clock, CREDENTIALS_TIMEOUT_S):
                found = await credentials.get()
        except RangecacheError as error:
            return Step("credentials", bucket, "failed", error.message, {"signs": False})
        except TimeoutError:
            said = f"nothing came of {credentials.describe()} within {CREDENTIALS_TIMEOUT_S:g} s"
            return Step("credentials", bucket, "failed", said, {"signs": False})
        if found is None:
            said = f"{credentials.describe()}; only public buckets can be read so"
            return Step("credentials", bucket, "warning", said, {"signs": False})
        figures: dict[str, str | bool | float | None] = {"signs": True, "which": credentials.describe()}
        if credentials.expires_at_s is None:
            said = f"{credentials.describe()}; nothing says when they expire"
        else:
            left_s = credentials.expires_at_s - self._clock.wall()
            figures["expires_in_s"] = left_s
            said = f"{credentials.describe()}; they expire in {left_s / 60:.0f} min, and are renewed before"
        return Step("credentials", bucket, "ok", said, figures)

    async def _read(self, bucket: str, wanted: ObjectRef | None) -> list[Step]:
        reading, below = self._reading, ObjectRef(self._subject.name, bucket, "")
        absent = asyncio.ensure_future(reading.absent(below._replace(key=self._random_name())))
        try:
            listing = await reading.listing(below)
            ref = wanted or listing.first
            read = [] if ref is None else await reading.read(ref)
            missing = await absent
            if ref is None:
                read = [_unread(below, listing.step, missing)]
            return [listing.step, *read, missing]
        finally:
            absent.cancel()

    def _dated(self, buckets: Iterable[str]) -> list[Step]:
        """How far this machine's clock is from the origin's."""
        if not self._subject.hosts(next(iter(buckets))):
            return []
        return [clock_step(self._reading.seen, dated=self._subject.dated)]


def _unread(below: ObjectRef, listed: Step, absent: Step) -> Step:
    """That no object is known to read from; where everything else was refused too, nothing can be read at all."""
    name = f"name one with --object {below.provider}/{below.bucket}/KEY"
    if listed.result == "warning" and listed.figures.get("refused") and absent.result != "ok":
        said = f"all that was asked for is refused; if objects can be read without being listed, {name}"
        return Step("read", below.bucket, "failed", said)
    return Step("read", below.bucket, "skipped", f"no object is known to read from; {name}")


def clock_step(seen: Iterable[Exchange], *, dated: bool) -> Step:
    """What the dates of these answers say of this machine's clock."""
    # An answer from some cache on the way may be old; the freshest tells the time.
    skew_s = min((each.skew_s for each in seen if each.skew_s is not None), key=abs, default=None)
    if skew_s is None:
        return Step("clock", "", "skipped", "no answer told the time")
    figures = {"skew_s": skew_s}
    if abs(skew_s) <= SKEW_NOTED_S:
        said = f"{abs(skew_s):.0f} s beside the origin's" if abs(skew_s) >= 2 else "as the origin's, to a second or two"
        return Step("clock", "", "ok", said, figures)
    said = f"this machine's clock is {abs(skew_s) / 60:.0f} min {'behind' if skew_s > 0 else 'ahead of'} the origin's"
    if abs(skew_s) > SKEW_MAX_S and dated:
        return Step(
            "clock", "", "failed", f"{said}: signatures are refused; set it (chrony, systemd-timesyncd)", figures
        )
    return Step("clock", "", "warning", f"{said}; ages and tokens are judged by it, set it", figures)
