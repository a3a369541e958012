"""Items similar to seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from retrieval.application.similar_items import SeedStrategy, SimilarItems
from retrieval.domain.errors import FailedPreconditionError, NotFoundError
from retrieval.domain.model import Chunk, Item, Viewer
from retrieval.domain.search import SearchOptions
from retrieval.domain.visibility import can_see
from tests.catalogue import load, make

if TYPE_CHECKING:
    from tests.backends import Agreement, Backend, Oracle
    from tests.catalogue import DataSet

STRATEGIES = pytest.mark.parametrize("strategy", SeedStrategy)


def listed(data: DataSet) -> list[str]:
    """Ids that everybody may see."""
    return [i.item_id for i in data.items.values() if can_see(i, Viewer())]


def hidden(data: DataSet) -> list[Item]:
    return [i for i in data.items.values() if i.owner_id and not can_see(i, Viewer())]


async def test_one_seed(agreement: Agreement, catalogue: DataSet) -> None:
    for seed in listed(catalogue)[:30]:
        result = await agreement.of(catalogue, SimilarItems(catalogue.name, (seed,)), excluded=[seed])
        assert len(result.hits) == 10
        assert result.report.shortfall is None
        distances = [h.distance for h in result.hits]
        assert distances == sorted(distances)
        assert all(h.score == pytest.approx(1.0 - h.distance) for h in result.hits)


@STRATEGIES
async def test_several_seeds_and_negatives(agreement: Agreement, catalogue: DataSet, strategy: SeedStrategy) -> None:
    ids = listed(catalogue)
    for start in range(0, 60, 6):
        seeds, negatives = tuple(ids[start : start + 3]), tuple(ids[start + 3 : start + 5])
        request = SimilarItems(catalogue.name, seeds, negatives, strategy)
        result = await agreement.of(catalogue, request, excluded=[*seeds, *negatives])
        assert len(result.hits) == 10


async def test_negatives_push_away(backend: Backend, catalogue: DataSet) -> None:
    seed, *_ = listed(catalogue)
    near = await backend.search(SimilarItems(catalogue.name, (seed,)))
    pushed = await backend.search(SimilarItems(catalogue.name, (seed,), (near.hits[0].item_id,)))
    assert near.hits[0].item_id not in {h.item_id for h in pushed.hits}
    assert [h.item_id for h in pushed.hits] != [h.item_id for h in near.hits[1:]]


@STRATEGIES
async def test_missing_seeds_are_reported(agreement: Agreement, catalogue: DataSet, strategy: SeedStrategy) -> None:
    seed = listed(catalogue)[3]
    request = SimilarItems(catalogue.name, ("nowhere", seed), ("never",), strategy)
    result = await agreement.of(catalogue, request, excluded=[seed])
    assert result.report.missing_item_ids == ("nowhere", "never")
    assert len(result.hits) == 10


async def test_a_hidden_seed_counts_as_missing(agreement: Agreement, catalogue: DataSet) -> None:
    seed, secret = listed(catalogue)[5], hidden(catalogue)[0]
    result = await agreement.of(catalogue, SimilarItems(catalogue.name, (seed, secret.item_id)), excluded=[seed])
    assert result.report.missing_item_ids == (secret.item_id,)
    options = SearchOptions(viewer=Viewer(secret.owner_id))
    result = await agreement.of(catalogue, SimilarItems(catalogue.name, (seed, secret.item_id), options=options))
    assert result.report.missing_item_ids == ()


async def test_no_usable_seed(backend: Backend, catalogue: DataSet) -> None:
    for seeds in (("nowhere",), (hidden(catalogue)[0].item_id, "nowhere")):
        with pytest.raises(NotFoundError) as caught:
            await backend.search(SimilarItems(catalogue.name, seeds, (listed(catalogue)[0],)))
        assert caught.value.reason == "SEEDS_NOT_FOUND"


async def test_unknown_collection(backend: Backend) -> None:
    with pytest.raises(NotFoundError) as caught:
        await backend.search(SimilarItems("no-such-collection", ("a",)))
    assert caught.value.reason == "COLLECTION_NOT_FOUND"


async def test_chunks_collapse_to_the_best(agreement: Agreement, chunked: DataSet) -> None:
    ids = listed(chunked)
    for seed in ids[:15]:
        result = await agreement.of(chunked, SimilarItems(chunked.name, (seed,)), excluded=[seed])
        assert len(result.hits) == 10
    assert any(len(chunked.items[h.item_id].chunks) > 1 for h in result.hits)


@STRATEGIES
async def test_seeds_with_several_chunks(agreement: Agreement, chunked: DataSet, strategy: SeedStrategy) -> None:
    seeds = tuple(i for i in listed(chunked) if len(chunked.items[i].chunks) > 1)
    # Centroids of IVFFlat are drawn anew each time, and few queries say little of a mean.
    for start in range(10 if agreement.backend.exact else 70):
        pair = seeds[start : start + 2]
        result = await agreement.of(chunked, SimilarItems(chunked.name, pair, strategy=strategy), excluded=pair)
        assert len(result.hits) == 10


async def test_other_metrics(agreement: Agreement, other_metric: DataSet) -> None:
    for seed in listed(other_metric)[:30]:
        result = await agreement.of(other_metric, SimilarItems(other_metric.name, (seed,)), excluded=[seed])
        assert len(result.hits) == 10
        scores = [h.score for h in result.hits]
        assert scores == sorted(scores, reverse=True)


async def test_seeds_that_cancel_out(oracle: Oracle, name: str) -> None:
    data = make(name, 1, dimension=4)
    (item,) = data.items.values()
    opposite = Item("opposite", (Chunk(0, -item.chunks[0].vector),), owner_id="me")
    await load(oracle.backend.stores, data, [item, opposite])
    everything = SearchOptions(viewer=Viewer(unrestricted=True))
    with pytest.raises(FailedPreconditionError) as caught:
        await oracle.search(SimilarItems(data.name, (item.item_id, "opposite"), options=everything))
    assert caught.value.reason == "SEEDS_CANCEL_OUT"
