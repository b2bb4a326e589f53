"""`rangecache simulate`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from rangecache.cli import readable
from rangecache.errors import InvalidTrace
from rangecache.settings.units import parse_size
from rangecache.simulation.generate import KINDS, LOOP, Shape, generate
from rangecache.simulation.policies import POLICIES
from rangecache.simulation.prices import PER_1000_REQUESTS, PER_GB, Prices
from rangecache.simulation.replay import BlockTrace, replay, without_cache
from rangecache.trace import read_trace

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rangecache.simulation.replay import Outcome
    from rangecache.trace import TracedRead

_HEADS: Final = ("cache", "policy", "hit ratio", "of bytes", "origin requests", "origin bytes", "cost")


class _Bytes(click.ParamType[int | float]):
    """A size such as 256KiB."""

    name = "size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int | float:
        """Raises `BadParameter`."""
        try:
            size = parse_size(str(value))
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)
        return size or self.fail("expected more than nothing.", param, ctx)


class _CacheSize(_Bytes):
    """Bytes, or a share of all different blocks of the trace (a float)."""

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int | float:
        """Raises `BadParameter`."""
        text = str(value).strip()
        if not text.endswith("%"):
            return super().convert(value, param, ctx)
        try:
            share = float(text[:-1]) / 100
        except ValueError:
            share = 0.0
        if not 0 < share <= 1:
            self.fail(f"expected a share such as 10%, more than 0% and at most 100%, got {text}.", param, ctx)
        return share


@click.command()
@click.argument("traces", metavar="[TRACE]...", nargs=-1, type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option("--generate", "kind", type=click.Choice(KINDS), help="Make a trace of this kind instead.")
@click.option("--reads", type=click.IntRange(1, 5_000_000), default=60_000, help="Of a made trace.", show_default=True)
@click.option("--seed", type=int, default=1, help="Of a made trace.", show_default=True)
@click.option(
    "--size",
    "sizes",
    metavar="SIZE",
    multiple=True,
    type=_CacheSize(),
    default=("1%", "10%", "50%"),
    show_default=True,
    help="Of the cache: 10GiB, or 10% of all that is read. Repeat it.",
)
@click.option(
    "--policy",
    "policies",
    type=click.Choice(list(POLICIES)),
    multiple=True,
    default=tuple(POLICIES),
    help="One of these only. Repeat it.",
)
@click.option("--block-size", "block_bytes", metavar="SIZE", type=_Bytes(), default="256KiB", show_default=True)
@click.option(
    "--max-request",
    "request_bytes",
    metavar="SIZE",
    type=_Bytes(),
    default="8MiB",
    show_default=True,
    help="Neighbouring blocks that are missing are fetched together up to this.",
)
@click.option("--price-per-1000-requests", type=click.FloatRange(0), default=PER_1000_REQUESTS, show_default=True)
@click.option("--price-per-gb", type=click.FloatRange(0), default=PER_GB, show_default=True, help="Of origin bytes.")
@click.option("--json", "as_json", is_flag=True, help="A JSON line for each row.")
def simulate(
    traces: tuple[str, ...],
    kind: str | None,
    reads: int,
    seed: int,
    sizes: tuple[int | float, ...],
    policies: tuple[str, ...],
    block_bytes: int,
    request_bytes: int,
    price_per_1000_requests: float,
    price_per_gb: float,
    as_json: bool,
) -> None:
    """Ask what a cache would have saved: replay a trace with several sizes and policies.

    A TRACE is what `rangecache record` writes: CSV with the header time_s,object,offset,length; - is standard input.
    Several are read one after the other. Nothing is fetched and no instance is needed.

    \b
      rangecache simulate yesterday.csv --size 1GiB --size 10GiB
      rangecache simulate --generate zipf-scans --policy rangecache --policy lru
    """
    if bool(traces) == (kind is not None):
        raise click.UsageError("Say which trace to replay: files, or --generate KIND.")
    prices = Prices(price_per_1000_requests, price_per_gb)
    run_blocks = max(1, request_bytes // block_bytes)
    shape = Shape(reads, seed=seed)
    rows: list[dict[str, Any]] = []
    trace = None
    for size in sizes:
        # Of the kinds only the loop asks how large the cache is: it is a little larger.
        if trace is None or kind == LOOP:
            made = None if kind is None else generate(kind, shape, _share(size, shape))
            trace = BlockTrace(_recorded(traces) if made is None else made, block_bytes)
            _introduce(trace, rows, prices, quiet=as_json)
        limit_bytes = int(size * trace.footprint_bytes) if isinstance(size, float) else size
        for policy in policies:
            outcome = replay(trace, POLICIES[policy](trace.blocks), limit_bytes, run_blocks)
            rows.append(_row(policy, limit_bytes, outcome, prices))
            if as_json:
                click.echo(json.dumps(rows[-1]))
    if not as_json:
        for line in readable.table(_HEADS, [_cells(row) for row in rows], frozenset({0, 2, 3, 4, 5, 6})):
            click.echo(line)


def _recorded(traces: Sequence[str]) -> Iterator[TracedRead]:
    for name in traces:
        if name == "-":
            yield from read_trace(sys.stdin, "standard input")
            continue
        with Path(name).open(encoding="utf-8", newline="") as lines:
            yield from read_trace(lines, name)


def _share(size: float, shape: Shape) -> float:
    return size if isinstance(size, float) else min(1.0, size / (shape.objects * shape.object_bytes))


def _introduce(trace: BlockTrace, rows: list[dict[str, Any]], prices: Prices, *, quiet: bool) -> None:
    """Say what the trace is, and add the row of what it costs without a cache. Raises `InvalidTrace`."""
    if not trace.reads:
        raise InvalidTrace("the trace has no reads")
    rows.append(_row("no cache", 0, without_cache(trace), prices))
    if quiet:
        click.echo(json.dumps(rows[-1]))
    elif len(rows) == 1:
        click.echo(
            f"{readable.count(trace.reads, 'read')} of {readable.count(trace.objects, 'object')},"
            f" {readable.size(trace.wanted_bytes)} in all, {readable.size(trace.footprint_bytes)} in different blocks\n"
        )


def _row(policy: str, cache_bytes: int, outcome: Outcome, prices: Prices) -> dict[str, Any]:
    return {
        "policy": policy,
        "cache_bytes": cache_bytes,
        "reads": outcome.reads,
        "hits": outcome.hits,
        "partial": outcome.partial,
        "hit_ratio": round(outcome.hit_ratio, 4),
        "byte_hit_ratio": round(outcome.byte_hit_ratio, 4),
        "origin_requests": outcome.origin_requests,
        "origin_bytes": outcome.origin_bytes,
        "cost": round(prices.cost(outcome), 6),
    }


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        readable.size(row["cache_bytes"]) if row["cache_bytes"] else "",
        row["policy"],
        f"{row['hit_ratio']:.1%}",
        f"{row['byte_hit_ratio']:.1%}",
        f"{row['origin_requests']:,}",
        readable.size(row["origin_bytes"]),
        f"{row['cost']:,.4f}",
    )
