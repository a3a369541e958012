"""What is learned from examples beats what is fixed, where there is something to learn."""

from __future__ import annotations

import numpy as np
import pytest

from retrieval.domain.blend import RRF_K, fuse
from retrieval.domain.ranker import FEATURES
from retrieval.training.examples import Example
from retrieval.training.learn_blend import learn_blend, quality

CANDIDATES = 30


def planted(count: int, seed: int) -> list[Example]:
    """What a user chooses goes by a trend where the user was long away, and by taste where not; the rest is noise."""
    rng = np.random.default_rng(seed)
    taste, trend, absence = (FEATURES.index(name) for name in ("co_visited", "trend_7d", "absence"))
    made = []
    for _ in range(count):
        features = rng.standard_normal((CANDIDATES, len(FEATURES))).astype(np.float32)
        away = bool(rng.random() < 0.5)
        features[:, absence] = 3.0 if away else 0.0
        wanted = features[:, trend if away else taste] + 0.2 * rng.standard_normal(CANDIDATES)
        chosen = int(np.argmax(wanted))
        ranks = {
            name: int((features[:, column] > features[chosen, column]).sum()) + 1
            for column, name in enumerate(FEATURES[:-2])
        }
        made.append(Example(features, chosen, ranks))
    return made


def of_fixed_weights(examples: list[Example], k: int) -> float:
    """nDCG@k of reciprocal rank fusion, all columns alike."""
    total = 0.0
    for example in examples:
        lists = {n: np.argsort(-example.features[:, c]).tolist() for c, n in enumerate(FEATURES[:-2])}
        rank = list(fuse(lists, {})).index(example.chosen) + 1
        total += 1 / np.log2(rank + 1) if rank <= k else 0.0
    return total / len(examples)


def test_a_learned_blend_beats_a_fixed_one() -> None:
    blend = learn_blend(planted(600, 1))
    held_out = planted(200, 2)
    found = quality(held_out, blend, k=10)
    assert blend is not None
    assert found["ndcg_10"] > 1.5 * of_fixed_weights(held_out, 10)
    # Better than any column alone, too: it takes the one or the other, by the absence.
    best = max(value for name, value in found.items() if name.startswith("ndcg_10."))
    assert found["ndcg_10"] > 1.1 * best
    few, again = learn_blend(planted(50, 1)), learn_blend(planted(50, 1))
    assert few is not None
    assert again is not None
    assert all(np.array_equal(a, b) for a, b in zip(few, again, strict=True))


def test_without_examples_there_is_no_blend() -> None:
    missed = [example._replace(chosen=-1) for example in planted(5, 3)]
    assert learn_blend([]) is None
    assert learn_blend(missed) is None
    assert quality(missed, None)["hr_100.linear"] > 0
    assert "hr_100" not in quality(missed, None)


def test_figures_by_hand() -> None:
    features = np.zeros((3, len(FEATURES)), np.float32)
    ranks = [{"popularity": 1}, {"popularity": 3}, {"popularity": 11}, {}]
    found = quality([Example(features, 0, rank) for rank in ranks], None, k=10)
    assert found["hr_10.popularity"] == 0.5
    assert found["ndcg_10.popularity"] == pytest.approx((1 + 0.5) / 4)
    assert found["hr_10.recent"] == 0.0


def test_reciprocal_ranks_by_hand() -> None:
    fused = fuse({"a": ["x", "y"], "b": ["y", "z"]}, {"b": 2.0})
    assert list(fused) == ["y", "z", "x"]
    assert fused["y"] == pytest.approx(1 / (RRF_K + 2) + 2 / (RRF_K + 1))
    assert list(fuse({"a": ["q"], "b": ["p"]}, {})) == ["p", "q"]
