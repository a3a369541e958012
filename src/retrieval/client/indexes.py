"""Builds the indexes of a version and waits for them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from retrieval.domain.errors import RetrievalError
from retrieval.v1 import collection_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable

POLL_S = 0.2


async def build_indexes(
    collections: Any, collection: str, progress: Callable[[str, int, int], None], version: int = 0
) -> None:
    """Build what is missing; 0 is the active version. `progress` is told ("indexes", ready, of how many).

    Raises: grpc.RpcError; RetrievalError (INDEX_FAILED) where a build fails.
    """
    await collections.BuildIndex(pb.BuildIndexRequest(collection=collection, embedding_version=version))
    while True:
        stats = await collections.GetIndexStats(
            pb.GetIndexStatsRequest(collection=collection, embedding_version=version)
        )
        failed = [i for i in stats.indexes if i.state == pb.INDEX_STATE_FAILED]
        if failed:
            message = f"index {failed[0].name} could not be built: {failed[0].error}"
            raise RetrievalError(message, reason="INDEX_FAILED")
        ready = sum(i.state == pb.INDEX_STATE_READY for i in stats.indexes)
        progress("indexes", ready, len(stats.indexes))
        if ready == len(stats.indexes):
            return
        await asyncio.sleep(POLL_S)
