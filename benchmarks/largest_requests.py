"""The largest requests that the contract allows, one for each RPC that takes more than a name."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp

from retrieval.v1 import collection_service_pb2 as collections_pb
from retrieval.v1 import common_pb2 as common_pb
from retrieval.v1 import feedback_service_pb2 as feedback_pb
from retrieval.v1 import item_service_pb2 as items_pb
from retrieval.v1 import profile_service_pb2 as profiles_pb
from retrieval.v1 import retrieval_service_pb2 as retrieval_pb
from retrieval.v1 import training_service_pb2 as training_pb

if TYPE_CHECKING:
    from google.protobuf.message import Message

DIM = 256
USERS = 200
LIMIT = 1000
WORDS = [f"word{number}" for number in range(2000)]
TAGS = [f"tag-{number}" for number in range(64_000)]


class Largest(NamedTuple):
    """A call: its name for people, its full method, its encoded request."""

    name: str
    method: str
    request: bytes


def vector(seed: int, dim: int = DIM) -> common_pb.Vector:
    """A random vector."""
    return common_pb.Vector(float32_le=np.random.default_rng(seed).standard_normal(dim).astype("<f4").tobytes())


def item(number: int, text_words: int = 20, chunks: int = 1) -> common_pb.Item:
    """An item with everything that an item may have, of a usual size."""
    rng = np.random.default_rng(number)
    words = rng.integers(0, len(WORDS), text_words)
    return common_pb.Item(
        item_id=f"item-{number:06d}",
        owner_id=f"owner-{number % 300}",
        tags=[TAGS[number % 50]],
        text=" ".join(WORDS[w] for w in words),
        attributes={"tag": common_pb.AttributeValue(keyword=TAGS[number % 1000])},
        chunks=[common_pb.Chunk(chunk_index=c, vector=vector(number * 100 + c)) for c in range(chunks)],
    )


def filter_of(conditions: int = 64, values: int = 1000) -> common_pb.Filter:
    """A filter of so many conditions with so many values each, which every item of `item` passes."""
    known = [common_pb.AttributeValue(keyword=tag) for tag in TAGS[:values]]
    match = common_pb.Condition(match=common_pb.MatchAny(attribute="tag", values=known))
    return common_pb.Filter(must=[match] * conditions)


def options(**settings: object) -> common_pb.SearchOptions:
    """Options with the most hits."""
    return common_pb.SearchOptions(limit=LIMIT, **settings)


def event(number: int) -> feedback_pb.Event:
    """An event of one of the users."""
    return feedback_pb.Event(
        user_id=f"user-{number % USERS}",
        item_id=f"item-{number % 5000:06d}",
        type="like",
        event_id=f"{time.time_ns()}-{number}",
        occurred_at=Timestamp(seconds=int(time.time()) - number % 100_000),
    )


def largest(name: str, items: int) -> list[Largest]:
    """The calls, on a collection of that name that holds so many items of `item`."""
    mmr = options(diversity=common_pb.Diversity(mmr_lambda=0.5))
    dpp = options(diversity=common_pb.Diversity(dpp_theta=0.7))
    full = options(view=common_pb.VIEW_FULL)
    filtered = options(filter=filter_of())
    excluded = options(exclude_item_ids=[f"item-{n:06d}" for n in range(20_000)][: items // 2] + ["x" * 250] * 100)
    exact = options(params=common_pb.SearchParams(exact=True))
    seeds = [f"item-{n:06d}" for n in range(64)]
    ids = [f"item-{n:06d}" for n in range(LIMIT)]
    history = [
        retrieval_pb.HistoryEntry(
            item_id=f"item-{n * 3 % items:06d}", type="like", occurred_at=Timestamp(seconds=int(time.time()) - n)
        )
        for n in range(1000)
    ]

    def similar(**how: object) -> Message:
        return retrieval_pb.SearchSimilarItemsRequest(collection=name, item_ids=seeds, **how)

    def nearest(**how: object) -> Message:
        return retrieval_pb.SearchMatryoshkaRequest(collection=name, vector=vector(1), **how)

    def candidates(**how: object) -> Message:
        return retrieval_pb.SearchUserCandidatesRequest(collection=name, history=history, no_cache=True, **how)

    batch_entry = retrieval_pb.BatchSearchEntry
    best_score = retrieval_pb.SEED_STRATEGY_BEST_SCORE
    small = common_pb.SearchOptions(limit=10)
    requests: list[tuple[str, str, Message]] = [
        ("similar, MMR", "RetrievalService/SearchSimilarItems", similar(options=mmr)),
        ("similar, best score", "RetrievalService/SearchSimilarItems", similar(options=mmr, strategy=best_score)),
        ("nearest, MMR", "RetrievalService/SearchMatryoshka", nearest(options=mmr)),
        ("nearest, DPP", "RetrievalService/SearchMatryoshka", nearest(options=dpp)),
        ("nearest, full items", "RetrievalService/SearchMatryoshka", nearest(options=full)),
        ("nearest, filter of 64 x 1000", "RetrievalService/SearchMatryoshka", nearest(options=filtered)),
        ("nearest, 10,000 excluded", "RetrievalService/SearchMatryoshka", nearest(options=excluded)),
        ("nearest, exact", "RetrievalService/SearchMatryoshka", nearest(options=exact)),
        ("candidates, MMR", "RetrievalService/SearchUserCandidates", candidates(options=mmr)),
        ("candidates, DPP", "RetrievalService/SearchUserCandidates", candidates(options=dpp)),
        ("candidates, full items", "RetrievalService/SearchUserCandidates", candidates(options=full)),
        (
            "hybrid, 1024 words",
            "RetrievalService/SearchHybrid",
            retrieval_pb.SearchHybridRequest(
                collection=name, text=" ".join(WORDS[:1024])[:16_000], vector=vector(2), options=options()
            ),
        ),
        (
            "rank 1000 items",
            "RetrievalService/RankItems",
            retrieval_pb.RankItemsRequest(collection=name, item_ids=ids, vector=vector(3), options=full),
        ),
        (
            "batch of 256 small searches",
            "RetrievalService/BatchSearch",
            retrieval_pb.BatchSearchRequest(
                searches=[
                    batch_entry(
                        matryoshka=retrieval_pb.SearchMatryoshkaRequest(
                            collection=name, vector=vector(n), options=small
                        )
                    )
                    for n in range(256)
                ]
            ),
        ),
        (
            "batch of 256 searches of 1000",
            "RetrievalService/BatchSearch",
            retrieval_pb.BatchSearchRequest(
                searches=[
                    batch_entry(
                        matryoshka=retrieval_pb.SearchMatryoshkaRequest(
                            collection=name, vector=vector(n), options=options()
                        )
                    )
                    for n in range(256)
                ]
            ),
        ),
        (
            "batch of 256 similar",
            "RetrievalService/BatchSearch",
            retrieval_pb.BatchSearchRequest(
                searches=[
                    batch_entry(
                        similar_items=retrieval_pb.SearchSimilarItemsRequest(
                            collection=name, item_ids=[f"item-{n:06d}"], options=small
                        )
                    )
                    for n in range(256)
                ]
            ),
        ),
        (
            "upsert of 1000 items",
            "ItemService/UpsertItems",
            items_pb.UpsertItemsRequest(collection=name, items=[item(n, text_words=200) for n in range(1000)]),
        ),
        (
            "upsert of 64 x 64 chunks",
            "ItemService/UpsertItems",
            items_pb.UpsertItemsRequest(collection=f"{name}-chunks", items=[item(n, chunks=64) for n in range(64)]),
        ),
        (
            "delete 1000 items",
            "ItemService/DeleteItems",
            items_pb.DeleteItemsRequest(collection=f"{name}-gone", item_ids=ids),
        ),
        (
            "get 1000 full items",
            "ItemService/BatchGetItems",
            items_pb.BatchGetItemsRequest(collection=name, item_ids=ids, view=common_pb.VIEW_FULL),
        ),
        (
            "list 1000 items, filter of 64 x 1000",
            "ItemService/ListItems",
            items_pb.ListItemsRequest(collection=name, page_size=1000, filter=filter_of(), view=common_pb.VIEW_FULL),
        ),
        (
            "1000 relationships",
            "ItemService/UpsertRelationships",
            items_pb.UpsertRelationshipsRequest(
                collection=name,
                relationships=[
                    common_pb.Relationship(
                        item_id=f"item-{n:06d}", related_item_id=f"item-{n + 1:06d}", kind=1, weight=1, confidence=1
                    )
                    for n in range(1000)
                ],
            ),
        ),
        (
            "1000 events",
            "FeedbackService/RecordEvents",
            feedback_pb.RecordEventsRequest(collection=name, events=[event(n) for n in range(1000)]),
        ),
        (
            "profile",
            "ProfileService/GetUserProfile",
            profiles_pb.GetUserProfileRequest(collection=name, user_id="user-1"),
        ),
        (
            "recall over 1000 samples",
            "CollectionService/EvaluateRecall",
            collections_pb.EvaluateRecallRequest(collection=name, sample_size=1000, limit=100),
        ),
        ("statistics", "CollectionService/GetIndexStats", collections_pb.GetIndexStatsRequest(collection=name)),
        (
            "trending",
            "RetrievalService/ListTrendingItems",
            retrieval_pb.ListTrendingItemsRequest(collection=name, page_size=1000, view=common_pb.VIEW_FULL),
        ),
        (
            "related, 10 steps",
            "RetrievalService/ListRelatedItems",
            retrieval_pb.ListRelatedItemsRequest(
                collection=name, item_id="item-000000", page_size=1000, depth=10, view=common_pb.VIEW_FULL
            ),
        ),
        (
            "training pairs",
            "TrainingService/GenerateTrainingPairs",
            training_pb.GenerateTrainingPairsRequest(
                collection=name, window_start=Timestamp(seconds=1), window_end=Timestamp(seconds=4_000_000_000)
            ),
        ),
    ]
    return [Largest(what, f"/retrieval.v1.{method}", message.SerializeToString()) for what, method, message in requests]
