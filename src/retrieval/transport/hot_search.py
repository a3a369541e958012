"""Searches that the cache answers at once: the request's bytes in, the reply's bytes out.

What is anything but plain is declined, and so takes the usual way: that one says what is wrong with a request, waits
where there is something to wait for, and attaches what a hit does not carry by itself.
"""

from __future__ import annotations

import time
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from google.protobuf.message import DecodeError, Message

from retrieval.application.bounded_cache import BoundedCache
from retrieval.application.limits import MAX_BATCH_SEARCHES, MAX_LIMIT
from retrieval.domain.errors import RetrievalError
from retrieval.domain.model import MAX_DIMENSION
from retrieval.transport.caller import Caller
from retrieval.transport.encode_hits import embedded, encode_hits, encode_info
from retrieval.transport.read_search import DEFAULT_LIMIT, MAX_NAME_BYTES, read_collection_name, read_options
from retrieval.v1 import retrieval_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from retrieval.application.cache_ports import InstantHits, VectorCache
    from retrieval.domain.search import SearchOptions, Stage
    from retrieval.transport.hot import HotMethods, LongMethods

KEPT_BYTES = 16 * 2**20
"""Of checked options of recent requests: most callers always send the same."""
HOT_OPTIONS_BYTES = 16 * 1024
"""Options that take more, encoded, are not hot: to check them takes longer than the search."""
OBJECT_FACTOR = 8
"""Bytes of checked options for each encoded byte, at most: a value of a few bytes becomes objects of some 60 each."""
HOT_REQUEST_BYTES = HOT_OPTIONS_BYTES + 4 * MAX_DIMENSION
"""A longer request is not even decoded: nothing hot takes as many bytes."""
HOT_HITS = 640
"""A batch of more hits in all takes milliseconds, for which other calls must not wait: it is for `long_batch`."""
HOT_BATCH = 32
"""The same for searches of a batch."""

_RESULTS = b"\x0a"
_NOBODY = Caller(lambda: ())

Key = tuple[str, bytes, int]
"""Collection, encoded options, bytes of the vector: requests of the same key are searched together."""

T = TypeVar("T", bound=Message)


class HotSearch:
    """Answers SearchMatryoshka and BatchSearch from the cache."""

    def __init__(self, cache: VectorCache) -> None:
        self._cache = cache
        self._options: BoundedCache[Key, SearchOptions] = BoundedCache(KEPT_BYTES, OBJECT_FACTOR * HOT_OPTIONS_BYTES)

    def methods(self) -> HotMethods:
        """The hot methods by full name."""
        service = pb.DESCRIPTOR.services_by_name["RetrievalService"].full_name
        return {f"/{service}/SearchMatryoshka": self.matryoshka, f"/{service}/BatchSearch": self.batch}

    def long_methods(self) -> LongMethods:
        """Methods of which some calls take long, by full name."""
        service = pb.DESCRIPTOR.services_by_name["RetrievalService"].full_name
        return {f"/{service}/BatchSearch": self.long_batch}

    def matryoshka(self, payloads: Sequence[bytes]) -> list[bytes | None]:
        """Replies of SearchMatryoshka."""
        replies: list[bytes | None] = [None] * len(payloads)
        parsed = [_parsed(pb.SearchMatryoshkaRequest, p) if len(p) <= HOT_REQUEST_BYTES else None for p in payloads]
        for numbers, hits, info in self._search(parsed):
            ending = info + encode_stages(hits.stages)
            for number, encoded in zip(numbers, encode_hits(hits), strict=True):
                replies[number] = encoded + ending
        return replies

    def batch(self, payloads: Sequence[bytes]) -> list[bytes | None]:
        """Replies of BatchSearch; a batch of which one search is declined takes the usual way as a whole."""
        return [self._batch(payload, HOT_BATCH, HOT_HITS) for payload in payloads]

    def long_batch(self, payload: bytes) -> bytes | None:
        """The reply of BatchSearch, however many searches and hits it is: for a thread of its own."""
        return self._batch(payload, MAX_BATCH_SEARCHES, MAX_BATCH_SEARCHES * MAX_LIMIT)

    def _batch(self, payload: bytes, most_searches: int, most_hits: int) -> bytes | None:
        if len(payload) > most_searches * HOT_OPTIONS_BYTES:
            return None
        request = _parsed(pb.BatchSearchRequest, payload)
        entries = () if request is None else request.searches
        if not 0 < len(entries) <= most_searches or any(e.WhichOneof("search") != "matryoshka" for e in entries):
            return None
        if sum(e.matryoshka.options.limit or DEFAULT_LIMIT for e in entries) > most_hits:
            return None
        results: list[bytes] = [b""] * len(entries)
        for numbers, hits, info in self._search([e.matryoshka for e in entries]):
            for number, encoded in zip(numbers, encode_hits(hits), strict=True):
                results[number] = embedded(_RESULTS, encoded + info)
        return b"".join(results) if all(results) else None

    def _search(
        self, requests: Sequence[pb.SearchMatryoshkaRequest | None]
    ) -> Iterator[tuple[list[int], InstantHits, bytes]]:
        """(numbers of requests, their hits, their encoded info) of those that can be answered: alike ones together."""
        groups: dict[Key, tuple[SearchOptions, list[int], list[bytes]]] = {}
        for number, request in enumerate(requests):
            if request is None or request.stages:
                continue
            raw = request.vector.float32_le
            encoded = request.options.SerializeToString()
            if len(encoded) > HOT_OPTIONS_BYTES or len(request.collection) > MAX_NAME_BYTES:
                continue
            key = request.collection, encoded, len(raw)
            group = groups.get(key)
            if group is None:
                options = self._checked(key, request)
                if options is None:
                    continue
                group = groups[key] = options, [], []
            group[1].append(number)
            group[2].append(raw)
        for key, (options, numbers, raws) in groups.items():
            started = time.perf_counter()
            vectors = np.frombuffer(raws[0] if len(raws) == 1 else b"".join(raws), "<f4").reshape(len(raws), -1)
            try:
                hits = self._cache.search_now(key[0], vectors, options)
            except RetrievalError:
                continue  # the usual way says so
            if hits is not None:
                # Kept only now: the collection is there, and the options mean something in it.
                if self._options.get(key) is not options:
                    self._options.put(key, options, OBJECT_FACTOR * len(key[1]) + len(key[0]))
                yield numbers, hits, encode_info(hits, options.min_consistency_token, time.perf_counter() - started)

    def _checked(self, key: Key, request: pb.SearchMatryoshkaRequest) -> SearchOptions | None:
        """The options of a request; None where something is wrong, or allowed only to some callers."""
        kept = self._options.get(key)
        size = key[2]
        if kept is not None or not size or size % 4:
            return kept
        try:
            read_collection_name(request.collection)
            return read_options(request.options, _NOBODY)
        except RetrievalError:
            return None


def _parsed(message: type[T], payload: bytes) -> T | None:
    try:
        return message.FromString(payload)
    except DecodeError:
        return None


@lru_cache(256)
def encode_stages(stages: tuple[Stage, ...]) -> bytes:
    """Field `stages` of a reply of SearchMatryoshka."""
    reply = pb.SearchMatryoshkaResponse()
    for stage in stages:
        reply.stages.add(dimension=stage.dimension, candidate_count=stage.candidate_count)
    return reply.SerializeToString()
