"""The answer that is given most, in the fewest steps: the connection's last request again, with other numbers in its
Range, for bytes that are in memory or in the page cache.

Everything is asked that the usual way asks (the Host, the access rules, freshness, recency) and counted as there, of
the same rooms; what is left out is what the last head has told already, and objects that would carry a few numbers from
one function to the next. Whatever is not so simple is left to the usual way, `Connection._handle`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rangecache.server.head import HeadParser
    from rangecache.server.port import DataPort
    from rangecache.server.sending import Outbox


def answer_again(port: DataPort, parser: HeadParser, outbox: Outbox, data: bytes) -> float | None:
    """Answer `data`, all that has arrived since the last answer, if it is such a request: when the answer had been
    handed to the transport, by the port's clock. None: nothing has been done."""
    numbers = parser.again(data)
    if numbers is None or port.draining or parser.host is None or not port.accepts_host(parser.host):
        return None
    started_s = port.now()
    ref = port.router.known(parser.target)
    if ref is None:
        return None
    start, last = numbers
    found = port.reader.peek(ref, start, last + 1, outbox.piece_bytes)
    if found is None:
        return None
    meta, cache, age_s, end, views = found
    head = port.printer.part(meta, start, end, age_s, cache)
    outbox.write_parts((head, *views), len(head) + end - start)
    ended_s = port.now()
    port.accounts.answered(
        parser.method, ref, 206, cache.outcome, ended_s - started_s, ended_s - started_s, end - start
    )
    return ended_s
