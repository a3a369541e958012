"""A user's interests: engaged items grouped by their vectors, each group with its medoid.

One mean vector points between tastes, at nothing the user likes; several do not (Pal et al., "PinnerSage", KDD 2020,
whose medoids and decayed weights these are).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from retrieval.domain.model import AttributeType

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from retrieval.domain.engagement import Engagement
    from retrieval.domain.model import Event, Item

MAX_INTERESTS = 8
ITEMS_AN_INTEREST = 5
"""A group for about so many items: fewer interests for who engaged little."""
ITERATIONS = 5
"""Groups of some dozen items settle within these."""
SAME_INTEREST = 0.9
"""Groups whose directions have this cosine are one."""


@dataclass(frozen=True, slots=True)
class Interest:
    """A group of engaged items. `vector`: (dim,) float32, their weighted mean direction; `weight`: share, in (0, 1].

    `medoid`: the item nearest to the vector; `item_ids`: all of them, the strongest first.
    """

    vector: NDArray[np.float32]
    weight: float
    medoid: str
    item_ids: tuple[str, ...]


def interests(
    item_ids: Sequence[str], vectors: NDArray[np.float32], weights: NDArray[np.float32]
) -> tuple[Interest, ...]:
    """The interests in `item_ids` with `vectors` (n, dim) and positive `weights` (n,), the heaviest first.

    Weighted spherical k-means (Dhillon and Modha, Machine Learning 42, 2001), begun at the strongest item and then at
    whatever is farthest from what was chosen, so that the same history gives the same interests.
    """
    n = len(item_ids)
    if n == 0:
        return ()
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    units = np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)
    wanted = min(MAX_INTERESTS, max(1, round(n / ITEMS_AN_INTEREST)))
    centres = units[[int(np.argmax(weights))]]
    while len(centres) < wanted:
        nearest = (units @ centres.T).max(axis=1)
        farthest = int(np.argmax((1.0 - nearest) * weights))
        if nearest[farthest] >= SAME_INTEREST:
            break
        centres = np.vstack([centres, units[farthest]])
    group = np.zeros(n, np.int64)
    for _ in range(ITERATIONS):
        group = np.argmax(units @ centres.T, axis=1)
        members = np.where(group == np.arange(len(centres))[:, None], weights, 0.0).astype(units.dtype)
        sums = members @ units
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        centres = np.divide(sums, lengths, out=centres.copy(), where=lengths > 0)
    merged = _merged(centres)
    group = merged[np.argmax(units @ centres.T, axis=1)]
    total = float(weights.sum())
    found = []
    for number in np.unique(group).tolist():
        rows = np.flatnonzero(group == number)
        mean = (vectors[rows] * weights[rows, None]).sum(axis=0) / weights[rows].sum()
        medoid = rows[int(np.argmax(units[rows] @ mean))]
        strongest = rows[np.argsort(-weights[rows], kind="stable")]
        found.append(
            Interest(
                mean.astype(np.float32),
                float(weights[rows].sum()) / total,
                item_ids[medoid],
                tuple(item_ids[row] for row in strongest.tolist()),
            )
        )
    return tuple(sorted(found, key=lambda interest: (-interest.weight, interest.medoid)))


def _merged(centres: NDArray[np.float32]) -> NDArray[np.int64]:
    """(k,) the number of the first centre that each is the same as."""
    same = centres @ centres.T >= SAME_INTEREST
    return np.asarray(np.argmax(same, axis=1), np.int64)


@dataclass(frozen=True, slots=True)
class Facet:
    """How often a value of an attribute occurs in what the user engaged with, and in the catalogue; both in [0, 1]."""

    attribute: str
    value: str
    user_share: float
    catalogue_share: float


def labels(item: Item, attributes: Mapping[str, AttributeType]) -> set[tuple[str, str]]:
    """The (attribute, value) pairs of an item that facets count: keyword attributes of those declared, and `tags`."""
    found = {("tags", tag) for tag in item.tags}
    for name, kind in attributes.items():
        value = item.attributes.get(name)
        if kind is AttributeType.KEYWORD and isinstance(value, str):
            found.add((name, value))
        elif kind is AttributeType.KEYWORD_LIST and isinstance(value, tuple):
            found.update((name, word) for word in value)
    return found


def shares(weighted: Iterable[tuple[float, Iterable[tuple[str, str]]]]) -> dict[tuple[str, str], float]:
    """Share of the weight of all items that items with a label carry, by label; in (0, 1].

    `weighted`: positive weight and distinct labels of each item.
    """
    total = 0.0
    found: dict[tuple[str, str], float] = {}
    for weight, those in weighted:
        total += weight
        for label in those:
            found[label] = found.get(label, 0.0) + weight
    return {label: weight / total for label, weight in found.items()}


def facets(
    of_user: Mapping[tuple[str, str], float], of_catalogue: Mapping[tuple[str, str], float]
) -> tuple[list[Facet], list[Facet]]:
    """What stands out in a user's taste, and its gaps: what the catalogue has much of and the user nothing.

    Shares by (attribute, value). What stands out is more common with the user than in the catalogue. Both lists most
    telling first: by how far the shares are apart. A user with nothing has no gaps either.
    """
    if not of_user:
        return [], []
    compared = [Facet(a, v, share, of_catalogue.get((a, v), 0.0)) for (a, v), share in of_user.items()]
    taste = [facet for facet in compared if facet.user_share > facet.catalogue_share]
    gaps = [Facet(a, v, 0.0, share) for (a, v), share in of_catalogue.items() if (a, v) not in of_user]
    taste.sort(key=lambda f: (-(f.user_share - f.catalogue_share), f.attribute, f.value))
    gaps.sort(key=lambda f: (-f.catalogue_share, f.attribute, f.value))
    return taste, gaps


def first_positives(
    events: Sequence[Event], engagement: Engagement, fresh: Sequence[float]
) -> list[tuple[str, int, float]]:
    """(item, time of its first positive event, its strongest weight) of what attracted the user, oldest first.

    `fresh`: the weight of each event as it happened (see `engagement.fresh_weight`).
    """
    found: dict[str, tuple[int, float]] = {}
    for event, weight in zip(events, fresh, strict=True):
        if weight > 0 and event.item_id in engagement.attracting:
            time, strongest = found.get(event.item_id, (event.occurred_at, weight))
            found[event.item_id] = min(time, event.occurred_at), max(strongest, weight)
    return sorted(((i, time, weight) for i, (time, weight) in found.items()), key=lambda row: (row[1], row[0]))
