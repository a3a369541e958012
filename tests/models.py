"""Small trained models, and the logs that they are trained on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from retrieval.application.candidates.catalogue import MODEL_TYPE
from retrieval.domain.model_bytes import to_bytes
from retrieval.domain.model_registry import ModelVersion
from retrieval.training.examples import kinds_of, make_examples
from retrieval.training.fit import fit
from retrieval.training.learn_blend import learn_blend
from retrieval.training.log import EngagementLog

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retrieval.application.ports import Stores
    from retrieval.domain.co_engagement import CoEngagement
    from retrieval.domain.model import Collection

DAY_US = 86_400_000_000
START_US = 1_700_000_000_000_000


def two_communities(item_ids: Sequence[str], users: int = 40, each: int = 8, seed: int = 5) -> EngagementLog:
    """Even users engage with the first half of the items, odd ones with the second, over a hundred days."""
    rng = np.random.default_rng(seed)
    half = len(item_ids) // 2
    rows = [
        (user, item + (user % 2) * half, START_US + int(rng.integers(100 * DAY_US)))
        for user in range(users)
        for item in rng.choice(half, min(each, half), replace=False).tolist()
    ]
    columns = np.array(rows, np.int64).T
    return EngagementLog.of(list(item_ids), *columns, np.ones(len(rows), np.float32))


def blended(log: EngagementLog) -> CoEngagement:
    """The model of a log with a blend learned from some examples; one thread gives the same model every time."""
    examples = [example for kind in kinds_of(log)[:2] for example in make_examples(log, kind, threads=1)]
    return replace(fit(log, threads=1), blend=learn_blend(examples[:: 1 + len(examples) // 100]))


async def activate(stores: Stores, collection: Collection, model: CoEngagement, version: str) -> ModelVersion:
    """Register the model with its bytes, and make it the active one."""
    registered = await stores.models.register(
        collection, ModelVersion(0, collection.collection_id, MODEL_TYPE, version)
    )
    await stores.artifacts.save(registered, to_bytes(model))
    return await stores.models.activate(collection, MODEL_TYPE, version)
