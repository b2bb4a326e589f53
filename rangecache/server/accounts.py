"""What is counted and logged about each answer."""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from rangecache.model import ObjectRef
    from rangecache.telemetry import Cell, HistogramCell, Metrics

access_logger = logging.getLogger("rangecache.access")

AccessLog = Literal["all", "sampled", "off"]
SAMPLE_EVERY: Final = 100  # of the answers that are neither slow nor failed
SLOW_S: Final = 1.0
NO_PROVIDER: Final = "none"  # the `provider` label of a request that names no configured one
NO_CACHE: Final = "none"  # the `cache` label of an answer that did not come from the reader
_METHODS: Final = {b"GET": "GET", b"HEAD": "HEAD", b"OPTIONS": "OPTIONS"}


class Accounts:
    """Counts answers, and writes the access log."""

    def __init__(self, metrics: Metrics, access_log: AccessLog = "sampled") -> None:
        self._metrics = metrics
        self._access_log = access_log
        self._until_sample = SAMPLE_EVERY
        # As many as there are label values: bounded, since no label comes from a request as it stands.
        self._cells: dict[tuple[str, bytes, int, str], tuple[Cell, HistogramCell, HistogramCell]] = {}

    def answered(
        self,
        method: bytes,
        ref: ObjectRef | None,
        status: int,
        cache: str,
        first_byte_s: float,
        duration_s: float,
        sent_bytes: int,
    ) -> None:
        """One answer was sent, or as much of it as the client took. Times are counted from the request's last byte."""
        provider = NO_PROVIDER if ref is None else ref.provider
        cells = self._cells.get((provider, method, status, cache))
        if cells is None:
            cells = self._make_cells(provider, method, status, cache)
        counter, duration, first_byte = cells
        counter.value += 1
        duration.observe(duration_s)
        first_byte.observe(first_byte_s)
        if self._access_log == "off":
            return
        self._until_sample -= 1
        if self._until_sample <= 0 or duration_s >= SLOW_S or status >= 500 or self._access_log == "all":
            self._until_sample = SAMPLE_EVERY
            self._log(method, ref, status, cache, duration_s, sent_bytes)

    def _make_cells(
        self, provider: str, method: bytes, status: int, cache: str
    ) -> tuple[Cell, HistogramCell, HistogramCell]:
        metrics, name = self._metrics, _METHODS.get(method, "other")
        cells = (
            metrics.requests.cell(provider, name, str(status), cache),
            metrics.request_duration.cell(provider, cache),
            metrics.first_byte.cell(provider, cache),
        )
        # Methods are free text; those without a name of their own are not worth an entry.
        if method in _METHODS:
            self._cells[(provider, method, status, cache)] = cells
        return cells

    def _log(
        self, method: bytes, ref: ObjectRef | None, status: int, cache: str, duration_s: float, sent_bytes: int
    ) -> None:
        """Write a line. A key may tell a secret, so it is shown as a hash: equal for equal keys, and no more."""
        access_logger.info(
            "request",
            extra={
                "method": _METHODS.get(method, "other"),
                "provider": None if ref is None else ref.provider,
                "bucket": None if ref is None else ref.bucket,
                "key_hash": None if ref is None else hashlib.sha256(ref.key.encode()).hexdigest()[:16],
                "status": status,
                "sent_bytes": sent_bytes,
                "duration_s": round(duration_s, 6),
                "cache": cache,
            },
        )
