"""RetrievalService: reads requests, runs use cases, writes replies."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from retrieval.application.hybrid import search_hybrid
from retrieval.application.limits import MAX_BATCH_SEARCHES
from retrieval.application.matryoshka import search_matryoshka
from retrieval.application.rank_items import rank_items
from retrieval.application.related_items import list_related_items
from retrieval.application.similar_items import search_similar_items
from retrieval.application.trending_items import list_trending_items
from retrieval.domain.search import View
from retrieval.transport.apart import LARGE_REPLY_HITS, apart, apart_if
from retrieval.transport.caller import Caller
from retrieval.transport.read_hybrid import read_hybrid
from retrieval.transport.read_relationships import read_related, write_paths, write_related_place
from retrieval.transport.read_search import (
    read_matryoshka,
    read_rank_items,
    read_similar_items,
    read_user_candidates,
)
from retrieval.transport.read_trending import read_trending, write_place
from retrieval.transport.status import search_error
from retrieval.transport.validate import count, require
from retrieval.transport.write_hits import write_hits, write_result, write_stages
from retrieval.transport.write_items import write_time
from retrieval.v1 import retrieval_service_pb2 as pb
from retrieval.v1 import retrieval_service_pb2_grpc as pb_grpc

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    import grpc

    from retrieval.application.service import Service
    from retrieval.domain.model import AttributeType
    from retrieval.domain.search import SearchOptions, SearchResult
    from retrieval.transport.write_hits import SearchReply

    Context = grpc.aio.ServicerContext[Any, Any]


class RetrievalServicer(pb_grpc.RetrievalServiceServicer):
    """See `RetrievalService` in the contract."""

    def __init__(self, service: Service, admin_token: str) -> None:
        self._service = service
        self._admin_token = admin_token

    async def SearchSimilarItems(
        self, request: pb.SearchSimilarItemsRequest, context: Context
    ) -> pb.SearchSimilarItemsResponse:
        """Items similar to seeds."""
        reply = pb.SearchSimilarItemsResponse()
        await self._similar_items(request, self._caller(context), reply)
        return reply

    async def SearchUserCandidates(
        self, request: pb.SearchUserCandidatesRequest, context: Context
    ) -> pb.SearchUserCandidatesResponse:
        """What a user should see next."""
        reply = pb.SearchUserCandidatesResponse()
        await self._user_candidates(request, self._caller(context), reply)
        return reply

    async def SearchMatryoshka(
        self, request: pb.SearchMatryoshkaRequest, context: Context
    ) -> pb.SearchMatryoshkaResponse:
        """Nearest to a vector."""
        reply = pb.SearchMatryoshkaResponse()
        result = await self._matryoshka(request, self._caller(context), reply)
        write_stages(result.report.stages, reply.stages)
        return reply

    async def RankItems(self, request: pb.RankItemsRequest, context: Context) -> pb.RankItemsResponse:
        """Scores of the caller's items."""
        reply = pb.RankItemsResponse()
        await self._rank_items(request, self._caller(context), reply)
        return reply

    async def BatchSearch(self, request: pb.BatchSearchRequest, context: Context) -> pb.BatchSearchResponse:
        """Several searches, a few at a time, each with a status of its own."""
        count(request.searches, "searches", MAX_BATCH_SEARCHES, required=True)
        caller = self._caller(context)
        reply = pb.BatchSearchResponse(results=[pb.BatchSearchResult() for _ in request.searches])
        pending = zip(request.searches, reply.results, strict=True)

        async def work() -> None:
            for entry, result in pending:
                await self._one(entry, caller, result)
                await asyncio.sleep(0)  # what is in memory is searched without a pause: others get theirs in between

        async with asyncio.TaskGroup() as group:
            for _ in range(min(self._service.limits.batch_concurrency, len(request.searches))):
                group.create_task(work())
        return reply

    async def SearchHybrid(self, request: pb.SearchHybridRequest, context: Context) -> pb.SearchHybridResponse:
        """Text and vector together."""
        reply = pb.SearchHybridResponse()
        await self._hybrid(request, self._caller(context), reply)
        return reply

    async def ListRelatedItems(
        self, request: pb.ListRelatedItemsRequest, context: Context
    ) -> pb.ListRelatedItemsResponse:
        """A page of what relationships lead to."""
        query = await apart(read_related, request, self._caller(context))
        page = await list_related_items(self._service.stores, query)
        reply = pb.ListRelatedItemsResponse(next_page_token=write_related_place(request, page.next_after))
        types = await self._types(query.collection, query.view)
        large = len(page.hits) > LARGE_REPLY_HITS
        await apart_if(large, write_hits, [hit for hit, _ in page.hits], types, reply.hits)
        await apart_if(large, write_paths, page, reply.paths)
        return reply

    async def ListTrendingItems(
        self, request: pb.ListTrendingItemsRequest, context: Context
    ) -> pb.ListTrendingItemsResponse:
        """A page of what trends."""
        query = await apart(read_trending, request, self._caller(context))
        page = await list_trending_items(self._service.stores, query)
        reply = pb.ListTrendingItemsResponse(next_page_token=write_place(request, page.next_after))
        types = await self._types(query.collection, query.view)
        await apart_if(len(page.hits) > LARGE_REPLY_HITS, write_hits, page.hits, types, reply.hits)
        if page.refreshed_at is not None:
            reply.refreshed_at.CopyFrom(write_time(page.refreshed_at))
        return reply

    def _caller(self, context: Context) -> Caller:
        return Caller(context.invocation_metadata, self._admin_token)

    async def _one(self, entry: pb.BatchSearchEntry, caller: Caller, into: pb.BatchSearchResult) -> None:
        run: dict[str, Callable[[Any, Caller, SearchReply], Awaitable[object]]] = {
            "similar_items": self._similar_items,
            "user_candidates": self._user_candidates,
            "matryoshka": self._matryoshka,
            "rank_items": self._rank_items,
            "hybrid": self._hybrid,
        }
        kind = entry.WhichOneof("search")
        try:
            require(kind, "search", f"is required: set one of {', '.join(run)}")
            await run[str(kind)](getattr(entry, str(kind)), caller, into)
        except Exception as error:  # it becomes the status of this search alone
            into.Clear()
            into.error.CopyFrom(search_error(error))

    async def _similar_items(self, request: pb.SearchSimilarItemsRequest, caller: Caller, into: SearchReply) -> None:
        query = await apart(read_similar_items, request, caller)
        result = await search_similar_items(self._service.stores, self._service.pipeline, query)
        await self._write(result, query.collection, query.options, into)

    async def _user_candidates(
        self, request: pb.SearchUserCandidatesRequest, caller: Caller, into: SearchReply
    ) -> None:
        query = await apart(read_user_candidates, request, caller)
        result = await self._service.candidates.search(query)
        await self._write(result, query.collection, query.options, into)

    async def _matryoshka(self, request: pb.SearchMatryoshkaRequest, caller: Caller, into: SearchReply) -> SearchResult:
        query = await apart(read_matryoshka, request, caller)
        result = await search_matryoshka(self._service.pipeline, query)
        await self._write(result, query.collection, query.options, into)
        return result

    async def _rank_items(self, request: pb.RankItemsRequest, caller: Caller, into: SearchReply) -> None:
        query = await apart(read_rank_items, request, caller)
        result = await rank_items(self._service.stores, self._service.pipeline, query)
        await self._write(result, query.collection, query.options, into)

    async def _hybrid(self, request: pb.SearchHybridRequest, caller: Caller, into: SearchReply) -> None:
        query = await apart(read_hybrid, request, caller)
        service = self._service
        result = await search_hybrid(service.stores, service.pipeline, service.embedder, query)
        await self._write(result, query.collection, query.options, into)

    async def _write(self, result: SearchResult, collection: str, options: SearchOptions, into: SearchReply) -> None:
        types = await self._types(collection, options.view)
        large = len(result.hits) > LARGE_REPLY_HITS
        await apart_if(large, write_result, result, types, options.min_consistency_token, into)

    async def _types(self, collection: str, view: View) -> Mapping[str, AttributeType]:
        """Types of the attributes that the view shows."""
        return {} if view is View.ID_SCORE else (await self._service.stores.collections.get(collection)).attributes
