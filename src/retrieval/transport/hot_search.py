"""Searches that the cache answers at once: the request's bytes in, the reply's bytes out.

What is anything but plain is declined, and so takes the usual way: that one says what is wrong with a request, waits
where there is something to wait for, and attaches what a hit does not carry by itself.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from google.protobuf.message import DecodeError, Message

from retrieval.application.limits import MAX_BATCH_SEARCHES
from retrieval.domain.errors import RetrievalError
from retrieval.transport.caller import Caller
from retrieval.transport.encode_hits import embedded, encode_hits, encode_info
from retrieval.transport.read_search import read_collection_name, read_options
from retrieval.v1 import retrieval_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from retrieval.application.cache_ports import InstantHits, VectorCache
    from retrieval.domain.search import SearchOptions, Stage
    from retrieval.transport.hot import HotMethods

KEPT_BYTES = 16 * 2**20
"""Of checked options of recent requests: most callers always send the same."""
KEPT_ENTRY_BYTES = 4096
"""Options that take more, encoded, are not kept and not hot: to check and compare them takes longer than the search."""
OBJECT_FACTOR = 8
"""Bytes of checked options for each encoded byte, at most: a value of a few bytes becomes objects of some 60 each."""
HOT_HITS = 640
"""A batch of more hits in all takes milliseconds, for which other calls must not wait: it is for `long_batch`."""

_RESULTS = b"\x0a"
_NOBODY = Caller(lambda: ())

Key = tuple[str, bytes, int]
"""Collection, encoded options, bytes of the vector: requests of the same key are searched together."""

T = TypeVar("T", bound=Message)


class HotSearch:
    """Answers SearchMatryoshka and BatchSearch from the cache."""

    def __init__(self, cache: VectorCache) -> None:
        self._cache = cache
        self._options: OrderedDict[Key, SearchOptions | None] = OrderedDict()

    def methods(self) -> HotMethods:
        """The hot methods by full name."""
        service = pb.DESCRIPTOR.services_by_name["RetrievalService"].full_name
        return {f"/{service}/SearchMatryoshka": self.matryoshka, f"/{service}/BatchSearch": self.batch}

    def matryoshka(self, payloads: Sequence[bytes]) -> list[bytes | None]:
        """Replies of SearchMatryoshka."""
        replies: list[bytes | None] = [None] * len(payloads)
        for numbers, hits, info in self._search([_parsed(pb.SearchMatryoshkaRequest, p) for p in payloads]):
            ending = info + encode_stages(hits.stages)
            for number, encoded in zip(numbers, encode_hits(hits), strict=True):
                replies[number] = encoded + ending
        return replies

    def batch(self, payloads: Sequence[bytes]) -> list[bytes | None]:
        """Replies of BatchSearch; a batch of which one search is declined takes the usual way as a whole."""
        return [self._batch(payload) for payload in payloads]

    def _batch(self, payload: bytes) -> bytes | None:
        request = _parsed(pb.BatchSearchRequest, payload)
        entries = () if request is None else request.searches
        if not 0 < len(entries) <= MAX_BATCH_SEARCHES or any(e.WhichOneof("search") != "matryoshka" for e in entries):
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
            key = request.collection, request.options.SerializeToString(), len(raw)
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
                yield numbers, hits, encode_info(hits, options.min_consistency_token, time.perf_counter() - started)

    def _checked(self, key: Key, request: pb.SearchMatryoshkaRequest) -> SearchOptions | None:
        """The options of a request; None where something is wrong, or allowed only to some callers."""
        try:
            return self._options[key]
        except KeyError:
            pass
        options = None
        size = key[2]
        if size and not size % 4:
            try:
                read_collection_name(request.collection)
                options = read_options(request.options, _NOBODY)
            except RetrievalError:
                options = None
        self._options[key] = options
        while len(self._options) > KEPT_OPTIONS:
            self._options.popitem(last=False)
        return options


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
