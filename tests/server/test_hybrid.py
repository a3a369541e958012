"""Hybrid search of a real server: the text is embedded by the service, in the language of the collection."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest

from retrieval.client import error_reason
from retrieval.embedding.wordllama import DIMENSION, MODEL, WordLlamaEmbedder
from retrieval.v1 import collection_service_pb2 as collections_pb
from retrieval.v1 import common_pb2 as common_pb
from retrieval.v1 import item_service_pb2 as items_pb
from retrieval.v1 import retrieval_service_pb2 as pb

if TYPE_CHECKING:
    from tests.server.process import Stubs

TEXTS = {
    "bread": "How to bake sourdough bread in a home oven",
    "stars": "Astronomers photograph distant galaxies",
    "trains": "Railways were built across the mountains",
}


async def fill(stubs: Stubs, name: str, model: str = MODEL) -> None:
    await stubs.collections.CreateCollection(
        collections_pb.CreateCollectionRequest(
            collection=collections_pb.Collection(name=name, text_language="english"),
            embedding_version=collections_pb.EmbeddingVersion(model=model, dimension=DIMENSION),
        )
    )
    vectors = WordLlamaEmbedder().embed(list(TEXTS.values()))
    items = [
        common_pb.Item(
            item_id=item_id,
            text=text,
            chunks=[common_pb.Chunk(vector=common_pb.Vector(float32_le=row.astype("<f4").tobytes()))],
        )
        for (item_id, text), row in zip(TEXTS.items(), vectors, strict=True)
    ]
    await stubs.items.UpsertItems(items_pb.UpsertItemsRequest(collection=name, items=items))


async def test_words_stems_and_meaning(stubs: Stubs, name: str) -> None:
    await fill(stubs, name)

    async def best(text: str, mode: pb.HybridMode = pb.HYBRID_MODE_HYBRID) -> pb.SearchHybridResponse:
        request = pb.SearchHybridRequest(collection=name, text=text, mode=mode, snippets=pb.SnippetOptions())
        return await stubs.retrieval.SearchHybrid(request)  # type: ignore[no-any-return]

    railway = await best("railway building")
    assert railway.hits[0].item_id == "trains"
    assert railway.hits[0].snippet == "<b>Railways</b> were built across the mountains"
    assert "embed" in [timing.stage for timing in railway.info.timings]
    # None of these words is in any text.
    stars = await best("telescopes and the universe", pb.HYBRID_MODE_VECTOR)
    assert stars.hits[0].item_id == "stars"
    assert not (await best("telescopes and the universe", pb.HYBRID_MODE_TEXT)).hits
    assert (await best("telescopes and the universe")).hits[0].item_id == "stars"
    without = await best("bake -sourdough")
    assert "bread" not in [hit.item_id for hit in without.hits]


async def test_texts_for_another_model_are_not_embedded(stubs: Stubs, name: str) -> None:
    await fill(stubs, name, "another-model")
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stubs.retrieval.SearchHybrid(pb.SearchHybridRequest(collection=name, text="bread"))
    assert raised.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert error_reason(raised.value) == ("NO_QUERY_EMBEDDER", [])
