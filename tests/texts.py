"""Items with texts: few words, some common and some rare, so that every query matches something."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from retrieval.domain.model import Item
    from tests.catalogue import DataSet

WORDS = (
    *("river", "bridge", "stone", "city", "night", "train", "music", "piano", "violin", "garden", "forest", "winter"),
    *("summer", "letter", "captain", "ship", "harbour", "island", "storm", "lighthouse", "king", "queen", "castle"),
    *("dragon", "market", "baker", "bread", "clock", "tower", "mirror"),
)


def random_text(chooser: Random, longest: int = 24) -> str:
    """Up to `longest` words; the first ones of WORDS come often, the last ones rarely."""
    count = chooser.randint(0, longest)
    return " ".join(WORDS[min(int(chooser.expovariate(0.12)), len(WORDS) - 1)] for _ in range(count))


def with_texts(data: DataSet, seed: int = 3) -> DataSet:
    """The data set with such texts."""
    chooser = Random(seed)
    items: dict[str, Item] = {i: replace(item, text=random_text(chooser)) for i, item in data.items.items()}
    return replace(data, items=items)
