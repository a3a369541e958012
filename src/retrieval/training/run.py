"""One training run: read the log, fit the model, learn the blend. What is done is kept, so that a run can go on."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from retrieval.domain.engagement import event_types_of, fresh_weight
from retrieval.domain.model_bytes import from_bytes, to_bytes
from retrieval.training.checkpoints import Checkpoints
from retrieval.training.examples import Example, kinds_of, make_examples
from retrieval.training.fit import CONFIDENCE, FACTORS, fit
from retrieval.training.learn_blend import learn_blend, quality
from retrieval.training.log import EngagementLog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from retrieval.domain.co_engagement import CoEngagement
    from retrieval.domain.model import Collection, Event
    from retrieval.training.examples import Kind

notes = logging.getLogger(__name__)

VALIDATED_SHARE = 0.1
"""Part of the examples that the blend is judged on before it learns from all of them."""
MAX_ITEMS = 200_000
"""Most engaged items that the model knows: some 2 KB of memory each, in every process that serves."""


RESUMED_S = 86_400.0
"""What is older than this is not gone on with: the events have moved on."""
CHECKPOINT_FORMAT = 2
"""Of what a run keeps: what another release kept is not gone on with."""
PARAMETERS: dict[str, object] = {"factors": FACTORS, "confidence": CONFIDENCE}
"""What a model is registered with, beside its figures."""


class Progress(NamedTuple):
    """What a run is doing: step `step` of `steps`; `done` of what it handles, where that can be told."""

    step: int
    steps: int
    name: str
    done: int = 0


@dataclass(frozen=True, slots=True)
class Trained:
    """A model with the figures of its validation."""

    model: CoEngagement
    metrics: dict[str, float]


class NotEnoughError(ValueError):
    """There are too few engagements to learn from."""


async def read_log(
    collection: Collection, batches: AsyncIterator[list[Event]], report: Callable[[int], None]
) -> EngagementLog:
    """The positive engagements of all events. What a user turned down is none, whatever else happened.

    `report` hears how many events were read. Memory: 40 bytes an engagement, and the ids of users and items.
    """
    types, scale = event_types_of(collection), collection.rating_scale_max
    users: dict[str, int] = {}
    items: dict[str, int] = {}
    rows: list[tuple[int, int, int, float]] = []
    parts: list[Any] = []
    turned_down: set[tuple[int, int]] = set()
    count = 0
    async for batch in batches:
        for event in batch:
            weight = fresh_weight(event, scale, types)
            if weight == 0:
                continue
            pair = users.setdefault(event.user_id, len(users)), items.setdefault(event.item_id, len(items))
            if weight < 0:
                turned_down.add(pair)
            else:
                rows.append((*pair, event.occurred_at, weight))
        count += len(batch)
        parts.append(np.array(rows, np.float64).reshape(-1, 4))
        rows.clear()
        report(count)
    table = np.concatenate(parts) if parts else np.empty((0, 4))
    if turned_down:
        gone = np.array(sorted(u * len(items) + i for u, i in turned_down), np.float64)
        table = table[~np.isin(table[:, 0] * len(items) + table[:, 1], gone)]
    ids = list(items)
    numbers = table[:, 1].astype(np.int64)
    if len(ids) > MAX_ITEMS:
        counts = np.bincount(numbers, minlength=len(ids))
        kept = np.sort(np.argsort(-counts, kind="stable")[:MAX_ITEMS])
        places = np.full(len(ids), -1)
        places[kept] = np.arange(len(kept))
        table = table[places[numbers] >= 0]
        numbers = places[table[:, 1].astype(np.int64)]
        ids = [ids[i] for i in kept.tolist()]
    return EngagementLog.of(
        ids, table[:, 0].astype(np.int64), numbers, table[:, 2].astype(np.int64), table[:, 3].astype(np.float32)
    )


def open_checkpoints(directory: Path, *, fresh: bool = False) -> Checkpoints:
    """What an earlier run has finished, where it had the same parameters and is less than a day old."""
    kept = Checkpoints(directory, {**PARAMETERS, "format": CHECKPOINT_FORMAT}, RESUMED_S)
    if fresh:
        kept.discard()
    return kept


async def restored_log(
    collection: Collection, batches: AsyncIterator[list[Event]], kept: Checkpoints, report: Callable[[int], None]
) -> EngagementLog:
    """The log of the run: the one it began with, or `read_log`."""
    arrays = kept.load("log")
    if arrays is not None:
        ids = arrays.pop("item_ids").tolist()
        return EngagementLog(ids, unit=float(arrays.pop("unit")), **arrays)
    log = await read_log(collection, batches, report)
    columns = {
        name: getattr(log, name)
        for name in ("users", "items", "times", "weights", "chosen", "first_weights", "risen_at")
    }
    kept.save("log", {"item_ids": np.array(log.item_ids, np.str_), "unit": np.array(log.unit), **columns})
    return log


def train(log: EngagementLog, kept: Checkpoints, report: Callable[[Progress], None], threads: int = 0) -> Trained:
    """The model of `log` with a learned blend. `threads`: 0 takes all cores.

    Raises: NotEnoughError where no user engaged with two items.
    """
    # Many small products: threads of BLAS would wait for each other longer than they work.
    with threadpool_limits(1, "blas"):
        return _train(log, kept, report, threads)


def _train(log: EngagementLog, kept: Checkpoints, report: Callable[[Progress], None], threads: int) -> Trained:
    kinds = kinds_of(log)
    steps = len(kinds) + 3
    if not any(kind.labels for kind in kinds):
        raise NotEnoughError("no user has chosen two items yet: there is nothing to learn from")
    report(Progress(1, steps, "fit"))
    model = _fitted(log, kept, threads)
    examples: list[list[Example]] = []
    for number, kind in enumerate(kinds, start=2):
        report(Progress(number, steps, f"examples {kind.name}"))
        arrays = kept.step(f"examples-{number}", partial(_examples_of, log, kind, threads))
        examples.append(_unpacked(arrays))
    report(Progress(steps - 1, steps, "validate"))
    rng = np.random.default_rng(0)
    everything = [example for kind in examples for example in kind]
    judged = rng.random(len(everything)) < VALIDATED_SHARE
    trial = learn_blend([e for e, held in zip(everything, judged.tolist(), strict=True) if not held])
    metrics = quality([e for e, held in zip(everything, judged.tolist(), strict=True) if held], trial)
    report(Progress(steps, steps, "blend"))
    counts = {"engagements": len(log), "items": len(log.item_ids), "examples": len(everything)}
    return Trained(
        replace(model, blend=learn_blend(everything)), {**metrics, **{k: float(v) for k, v in counts.items()}}
    )


def _fitted(log: EngagementLog, kept: Checkpoints, threads: int) -> CoEngagement:
    saved = kept.load("model")
    if saved is not None:
        try:
            return from_bytes(saved["bytes"].tobytes(), "")
        except ValueError:
            notes.warning("the model that an earlier run fitted cannot be read: it is fitted anew", exc_info=True)
    model = fit(log, threads=threads)
    kept.save("model", {"bytes": np.frombuffer(to_bytes(model), np.uint8)})
    return replace(model, numbers={item_id: number for number, item_id in enumerate(model.item_ids)})


def _examples_of(log: EngagementLog, kind: Kind, threads: int) -> dict[str, Any]:
    return _packed(make_examples(log, kind, threads))


def _packed(examples: Sequence[Example]) -> dict[str, Any]:
    names = sorted({name for example in examples for name in example.ranks})
    return {
        "features": np.concatenate([e.features for e in examples]) if examples else np.empty((0, 0), np.float32),
        "sizes": np.array([len(e.features) for e in examples], np.int64),
        "chosen": np.array([e.chosen for e in examples], np.int64),
        "names": np.array(names, dtype=np.str_),
        "ranks": np.array([[e.ranks.get(name, 0) for name in names] for e in examples], np.int64),
    }


def _unpacked(arrays: dict[str, Any]) -> list[Example]:
    names = arrays["names"].tolist()
    ends = np.cumsum(arrays["sizes"]).tolist()
    found = []
    for number, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
        ranks = {name: rank for name, rank in zip(names, arrays["ranks"][number].tolist(), strict=True) if rank}
        found.append(Example(arrays["features"][start:end], int(arrays["chosen"][number]), ranks))
    return found
