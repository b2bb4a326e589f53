"""The clients without a proxy: they read right, and they ask again when they read again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.clients.conftest import assert_same

if TYPE_CHECKING:
    from collections.abc import Callable

    from rangecache.testing.origin import Origin
    from tests.clients.readers import Arrays, Reader


def test_a_second_read_without_a_proxy_costs_the_origin_as_much_as_the_first(
    reader: Reader, local: Callable[[Reader], Arrays], origin: Origin
) -> None:
    requests = []
    for _ in range(2):
        origin.log.clear()
        assert_same(reader.read(origin.url), local(reader))
        requests.append(len(origin.log))
    assert requests[0] == requests[1] > 0
