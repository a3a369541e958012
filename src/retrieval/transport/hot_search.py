"""Searches that the cache answers at once: the request's bytes in, the reply's bytes out.

What is anything but plain is declined, and so takes the usual way: that one says what is wrong with a request, waits
where there is something to wait for, and attaches what a hit does not carry by itself.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from google.protobuf.message import DecodeError

from retrieval.application.limits import MAX_BATCH_SEARCHES
from retrieval.domain.errors import RetrievalError
from retrieval.transport.caller import Caller
from retrieval.transport.encode_hits import embedded, encode_hits, encode_info
from retrieval.transport.read_search import read_collection_name, read_options
from retrieval.v1 import retrieval_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retrieval.application.cache_ports import InstantHits, VectorCache
    from retrieval.domain.search import SearchOptions, Stage
    from retrieval.transport.hot import HotCall, HotMethods

KEPT_OPTIONS = 1024
"""Checked options of recent requests, by their bytes: most callers always send the same."""

_RESULTS = b"\x0a"
_NOBODY = Caller(lambda: ())

Key = tuple[str, bytes]


class HotSearch:
    """Answers SearchMatryoshka and BatchSearch from the cache."""

    def __init__(self, cache: VectorCache) -> None:
        self._cache = cache
        self._options: OrderedDict[Key, SearchOptions | None] = OrderedDict()

    def methods(self) -> HotMethods:
        """The hot methods by full name."""
        service = pb.DESCRIPTOR.services_by_name["RetrievalService"].full_name
        return {f"/{service}/SearchMatryoshka": self.matryoshka, f"/{service}/BatchSearch": self.batch}

    def matryoshka(self, calls: Sequence[HotCall]) -> list[bytes | None]:
        """Replies of SearchMatryoshka."""
        requests: list[pb.SearchMatryoshkaRequest | None] = []
        for call in calls:
            try:
                requests.append(pb.SearchMatryoshkaRequest.FromString(call.payload))
            except DecodeError:
                requests.append(None)
        replies: list[bytes | None] = [None] * len(calls)
        for numbers, hits, info in self._search(requests):
            stages = encode_stages(hits.stages)
            for number, encoded in zip(numbers, encode_hits(hits), strict=True):
                replies[number] = encoded + info + stages
        return replies

    def batch(self, calls: Sequence[HotCall]) -> list[bytes | None]:
        """Replies of BatchSearch; a batch of which one search is declined takes the usual way as a whole."""
        return [self._batch(call.payload) for call in calls]

    def _batch(self, payload: bytes) -> bytes | None:
        try:
            entries = pb.BatchSearchRequest.FromString(payload).searches
        except DecodeError:
            return None
        if not 0 < len(entries) <= MAX_BATCH_SEARCHES or any(e.WhichOneof("search") != "matryoshka" for e in entries):
            return None
        results: list[bytes] = [b""] * len(entries)
        for numbers, hits, info in self._search([e.matryoshka for e in entries]):
            for number, encoded in zip(numbers, encode_hits(hits), strict=True):
                results[number] = embedded(_RESULTS, encoded + info)
        return b"".join(results) if all(results) else None

    def _search(
        self, requests: Sequence[pb.SearchMatryoshkaRequest | None]
    ) -> list[tuple[list[int], InstantHits, bytes]]:
        """(numbers of requests, their hits, their encoded info) of those that can be answered: alike ones together."""
        groups: dict[tuple[Key, int], list[int]] = {}
        raws: list[bytes] = []
        for number, request in enumerate(requests):
            raw = b"" if request is None else request.vector.float32_le
            raws.append(raw)
            if request is not None and raw and not len(raw) % 4 and not request.stages:
                asked = request.collection, request.options.SerializeToString()
                groups.setdefault((asked, len(raw)), []).append(number)
        answers = []
        for (asked, size), numbers in groups.items():
            options = self._checked(asked, requests[numbers[0]])
            if options is None:
                continue
            started = time.perf_counter()
            vectors = np.frombuffer(b"".join([raws[n] for n in numbers]), "<f4").reshape(-1, size // 4)
            try:
                hits = self._cache.search_now(asked[0], vectors, options)
            except RetrievalError:
                continue  # the usual way says so
            if hits is not None:
                info = encode_info(hits, options.min_consistency_token, time.perf_counter() - started)
                answers.append((numbers, hits, info))
        return answers

    def _checked(self, key: Key, request: pb.SearchMatryoshkaRequest | None) -> SearchOptions | None:
        """The options of a request; None where they are wrong, or allowed only to some callers."""
        try:
            return self._options[key]
        except KeyError:
            pass
        options = None
        if request is not None:
            try:
                read_collection_name(request.collection)
                options = read_options(request.options, _NOBODY)
            except RetrievalError:
                options = None
        self._options[key] = options
        while len(self._options) > KEPT_OPTIONS:
            self._options.popitem(last=False)
        return options


@lru_cache(256)
def encode_stages(stages: tuple[Stage, ...]) -> bytes:
    """Field `stages` of a reply of SearchMatryoshka."""
    reply = pb.SearchMatryoshkaResponse()
    for stage in stages:
        reply.stages.add(dimension=stage.dimension, candidate_count=stage.candidate_count)
    return reply.SerializeToString()
