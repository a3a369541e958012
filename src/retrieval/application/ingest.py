"""Writing and reading items."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from retrieval.application.search import pick_version
from retrieval.application.worker_threads import in_thread
from retrieval.domain.errors import InvalidArgumentError
from retrieval.domain.filters import Filter, check_filter
from retrieval.domain.model import ANONYMOUS
from retrieval.domain.search import NO_FILTER, Predicate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from retrieval.application.ports import Stores, WriteReceipt
    from retrieval.domain.model import Collection, EmbeddingVersion, Item, Viewer
    from retrieval.domain.projection import Projection


@dataclass(frozen=True, slots=True)
class Upsert:
    """A request to write items. `read` makes the items once the collection that types them is known.

    It is the one place where vectors that are written are projected.
    """

    collection: str
    read: Callable[[Collection, EmbeddingVersion, Projection | None], list[Item]]
    request_id: str = ""
    fingerprint: bytes = b""
    embedding_version: int = 0
    large: bool = False


@dataclass(frozen=True, slots=True)
class PreparedUpsert:
    """Items checked against the collection they go to."""

    collection: Collection
    version: EmbeddingVersion
    items: list[Item]
    request_id: str
    fingerprint: bytes


async def prepare_upsert(stores: Stores, request: Upsert) -> PreparedUpsert:
    """Check all items; a stream does this for one batch while the one before is written."""
    collection = await stores.collections.get(request.collection)
    version = pick_version(collection, request.embedding_version)
    projection = await stores.projections.of(version)
    if projection is None and not request.large:
        items = request.read(collection, version, None)
    else:
        # A thousand long vectors take a while to check or multiply, and other calls must not wait for it.
        items = await in_thread(request.read, collection, version, projection)
    return PreparedUpsert(collection, version, items, request.request_id, request.fingerprint)


async def write_upsert(stores: Stores, upsert: PreparedUpsert) -> WriteReceipt:
    """Write all items or none. Every search of this process that begins after it reflects the write."""
    receipt = await stores.items.upsert(
        upsert.collection, upsert.version, upsert.items, upsert.request_id, upsert.fingerprint
    )
    await reflect(stores, upsert.collection, receipt.token)
    return receipt


async def upsert_items(stores: Stores, request: Upsert) -> WriteReceipt:
    """Check all items against the collection, then write all or none."""
    return await write_upsert(stores, await prepare_upsert(stores, request))


async def delete_items(stores: Stores, collection_name: str, item_ids: Sequence[str], request_id: str) -> WriteReceipt:
    """Delete items in every embedding version. No search of this process that begins after it finds them."""
    collection = await stores.collections.get(collection_name)
    ids = sorted(set(item_ids))
    fingerprint = hashlib.sha256("\x1f".join(ids).encode()).digest()
    receipt = await stores.items.delete(collection, ids, request_id, fingerprint)
    await reflect(stores, collection, receipt.token)
    return receipt


async def reflect(stores: Stores, collection: Collection, token: str = "") -> None:
    """Return when every later search of this process reflects the write of that token, by default all writes so far."""
    if stores.cache is not None:
        await stores.cache.reflect(collection, token or await stores.items.token())


@dataclass(frozen=True, slots=True)
class FoundItems:
    """Items in the order asked for, and the ids that are missing or hidden."""

    items: list[Item]
    missing_item_ids: list[str]


async def get_items(
    stores: Stores,
    collection_name: str,
    item_ids: Sequence[str],
    viewer: Viewer | None,
    *,
    full: bool,
    embedding_version: int = 0,
) -> FoundItems:
    """Items by id that the viewer may see."""
    collection = await stores.collections.get(collection_name)
    version = pick_version(collection, embedding_version)
    wanted = list(dict.fromkeys(item_ids))
    found = await stores.items.get(collection, version, wanted, viewer or ANONYMOUS, with_chunks=full)
    return FoundItems([found[i] for i in wanted if i in found], [i for i in wanted if i not in found])


@dataclass(frozen=True, slots=True)
class ListItems:
    """A checked request for a page; `after` is the last item id of the page before, empty for the first."""

    collection: str
    page_size: int = 50
    after: str = ""
    filter: Filter = NO_FILTER
    viewer: Viewer | None = None
    full: bool = False


async def list_items(stores: Stores, request: ListItems) -> tuple[list[Item], str]:
    """Items of a page, and the id to go on after; empty on the last page."""
    if request.page_size < 1:
        raise InvalidArgumentError.of("page_size", "must be positive")
    collection = await stores.collections.get(request.collection)
    check_filter(request.filter, collection)
    predicate = Predicate(request.filter, request.viewer or ANONYMOUS)
    items = await stores.items.list_after(
        collection, collection.active, request.after, request.page_size + 1, predicate, with_chunks=request.full
    )
    page = items[: request.page_size]
    return page, page[-1].item_id if len(items) > len(page) else ""
