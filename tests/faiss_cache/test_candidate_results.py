"""A result of candidates that is kept goes with the segment that it was found in."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from retrieval.application.candidates.engine import CandidateEngine, UserCandidates
from retrieval.application.limits import Limits
from retrieval.application.search import SearchPipeline
from retrieval.domain.model import Viewer
from retrieval.domain.search import SearchOptions, Source
from tests.caches import caught_up
from tests.patience import PATIENCE_S

if TYPE_CHECKING:
    from pathlib import Path

    from tests.catalogue import DataSet
    from tests.faiss_cache.conftest import Ground


async def test_a_new_segment_has_other_answers(ground: Ground, data: DataSet, tmp_path: Path) -> None:
    await ground.segment(data, tmp_path)
    async with ground.cached(tmp_path, building=False) as cached:
        engine = CandidateEngine(cached.stores, SearchPipeline(cached.stores, Limits()))
        engine.open()
        options = SearchOptions(viewer=Viewer(unrestricted=True))
        # Ann has a vector of her own, and nothing that a notification might still be told of.
        collection = await cached.stores.collections.get(data.name)
        vector = data.items["item-00007"].chunks[0].vector
        await cached.stores.profiles.set_vector(collection, collection.active, "ann", vector)
        try:
            await caught_up(cached.stores, data.name, 1)
            request = UserCandidates(data.name, "ann", options=options)
            async with asyncio.timeout(PATIENCE_S):
                while not (before := await engine.search(request)).report.cached:
                    await asyncio.sleep(0.01)
            assert (before.report.source, before.report.index_generation) == (Source.FAISS, 1)
            await ground.segment(data, tmp_path)
            await caught_up(cached.stores, data.name, 2)
            after = await engine.search(request)
            assert (after.report.cached, after.report.index_generation) == (False, 2)
            assert (await engine.search(request)).report.cached
        finally:
            await engine.close()
