"""All that an origin lists, page after page, distrusted: no page is believed because it could be read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rangecache.errors import InvalidAnswer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from rangecache.model import ObjectRef
    from rangecache.origin.base import ListPage, ObjectStore

PAGE_ENTRIES_MAX: Final = 10_000  # S3 and GCS give 1,000, Azure 5,000
EMPTY_PAGES_MAX: Final = 1_000  # in a row: pages may be empty, as Azure's are behind deleted blobs, but not for ever
KEY_CHARS_MAX: Final = 4_096


async def list_all(store: ObjectStore, below: ObjectRef, *, delimiter: str = "") -> AsyncGenerator[ListPage, None]:
    """Every page of the objects whose keys begin with `below.key`, in the store's order.

    Raises what `ObjectStore.list_page` raises, and `InvalidAnswer` for a page with too many entries or with a key that
    does not belong there, and for a listing that does not move.
    """
    at: str | None = None
    empty = 0
    while True:
        page = await store.list_page(below, delimiter=delimiter, at=at)
        _check(page, below.key, delimiter)
        if page.objects or page.prefixes:
            empty = 0
            yield page
        else:
            empty += 1
        if page.next is None:
            return
        if page.next == at or empty > EMPTY_PAGES_MAX:
            raise InvalidAnswer("the origin's listing does not come to an end")
        at = page.next


async def first_page(store: ObjectStore, below: ObjectRef, *, delimiter: str = "") -> ListPage:
    """The page with which `list_all` begins, which may be empty; raises as it does."""
    page = await store.list_page(below, delimiter=delimiter)
    _check(page, below.key, delimiter)
    return page


def _check(page: ListPage, prefix: str, delimiter: str) -> None:
    if len(page.objects) + len(page.prefixes) > PAGE_ENTRIES_MAX:
        raise InvalidAnswer(f"a page of the origin's listing has more than {PAGE_ENTRIES_MAX} entries")
    for entry in page.objects:
        if not entry.key.startswith(prefix) or len(entry.key) > KEY_CHARS_MAX or entry.size < 0:
            raise InvalidAnswer("the origin listed an object that was not asked for")
        if delimiter and delimiter in entry.key[len(prefix) :]:
            raise InvalidAnswer("the origin listed an object from behind the delimiter")
    for name in page.prefixes:
        if not delimiter or not name.startswith(prefix) or not name.endswith(delimiter) or len(name) > KEY_CHARS_MAX:
            raise InvalidAnswer("the origin listed a prefix that was not asked for")
