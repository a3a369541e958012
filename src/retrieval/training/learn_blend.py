"""Learns a blend from examples: a softmax over each user's candidates, by Adam, in NumPy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from retrieval.domain.blend import Blend
from retrieval.domain.ranker import FEATURES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from retrieval.training.examples import Example

HIDDEN = 32
EPOCHS = 30
BATCH = 32
STEP = 3e-3
PENALTY = 3e-3
SAMPLED = 128
"""Candidates beside the chosen one that a step looks at, drawn anew each time: as good as all some 800, much sooner."""
MEAN_FADE, SQUARE_FADE, EPSILON = 0.9, 0.99, 1e-8
"""Adam's constants (Kingma and Ba, ICLR 2015), the second for some thousand steps in all."""


def learn_blend(examples: Sequence[Example], seed: int = 0) -> Blend | None:
    """The blend under which what was chosen is most likely among the candidates; None without examples.

    The loss is the cross-entropy of a softmax over the candidates of one user (ListNet with one relevant item: Cao et
    al., ICML 2007), sampled and corrected for it (Jean et al., ACL 2015), with weight decay; the rate falls along a
    cosine.
    """
    useful = [example for example in examples if example.chosen >= 0]
    if not useful:
        return None
    rng = np.random.default_rng(seed)
    d = len(FEATURES)
    features = np.concatenate([example.features for example in useful])
    mean, scale = features.mean(axis=0), features.std(axis=0) + np.float32(1e-6)
    features -= mean
    features /= scale
    sizes = np.array([len(example.features) for example in useful])
    starts = np.cumsum(sizes) - sizes
    chosen = starts + np.array([example.chosen for example in useful])
    weights: list[NDArray[np.float32]] = [
        rng.normal(0.0, np.sqrt(2.0 / d), (d, HIDDEN)).astype(np.float32),
        np.zeros(HIDDEN, np.float32),
        rng.normal(0.0, 0.1 / np.sqrt(HIDDEN), HIDDEN).astype(np.float32),
        np.zeros(d, np.float32),
    ]
    _descend(weights, features, sizes, chosen, rng)
    hidden, bias, out, line = (np.asarray(w, np.float32) for w in weights)
    return Blend(np.asarray(mean, np.float32), np.asarray(scale, np.float32), hidden, bias, out, line)


def _descend(
    weights: list[NDArray[np.float32]],
    features: NDArray[np.float32],
    sizes: NDArray[np.int64],
    chosen: NDArray[np.int64],
    rng: np.random.Generator,
) -> None:
    """Change `weights` by Adam; `sizes` (u,): how many of `features` are each user's, `chosen` (u,): the row chosen."""
    starts = np.cumsum(sizes) - sizes
    means = [np.zeros_like(w) for w in weights]
    squares = [np.zeros_like(w) for w in weights]
    steps = 0
    for epoch in range(EPOCHS):
        rate = STEP * 0.5 * (1.0 + np.cos(np.pi * epoch / EPOCHS))
        order = rng.permutation(len(sizes))
        for start in range(0, len(order), BATCH):
            users = order[start : start + BATCH]
            drawn = starts[users, None] + (rng.random((len(users), SAMPLED)) * sizes[users, None]).astype(np.int64)
            rows = np.concatenate([chosen[users, None], drawn], axis=1)
            steps += 1
            for k, gradient in enumerate(_gradients(features[rows], rows, sizes[users], weights)):
                means[k] = MEAN_FADE * means[k] + (1.0 - MEAN_FADE) * gradient
                squares[k] = SQUARE_FADE * squares[k] + (1.0 - SQUARE_FADE) * gradient**2
                step = means[k] / (1.0 - MEAN_FADE**steps)
                weights[k] -= rate * step / (np.sqrt(squares[k] / (1.0 - SQUARE_FADE**steps)) + EPSILON)


def _gradients(
    z: NDArray[np.float32],
    rows: NDArray[np.int64],
    sizes: NDArray[np.int64],
    weights: Sequence[NDArray[np.float32]],
) -> list[NDArray[np.float32]]:
    """Of the loss by each of `weights`; `z` (b, 1 + SAMPLED, d) candidates, the chosen one first, `rows` their numbers.

    Each candidate that was drawn stands for sizes / SAMPLED of them; where the chosen one was drawn it counts once.
    """
    hidden, bias, out, line = weights
    flat = z.reshape(-1, z.shape[2])
    activated = np.maximum(flat @ hidden + bias, np.float32(0.0))
    scores = (activated @ out + flat @ line).reshape(rows.shape)
    scores[:, 1:] += np.log(sizes / np.float32(SAMPLED)).astype(np.float32)[:, None]
    scores[:, 1:][rows[:, 1:] == rows[:, :1]] = -np.inf
    error = np.exp(scores - scores.max(axis=1, keepdims=True))
    error /= error.sum(axis=1, keepdims=True)
    error[:, 0] -= 1.0
    by_row = error.ravel() / np.float32(len(sizes))
    back = by_row[:, None] * out * (activated > 0)
    penalty = np.float32(PENALTY)
    return [
        flat.T @ back + penalty * hidden,
        back.sum(axis=0),
        activated.T @ by_row + penalty * out,
        flat.T @ by_row + penalty * line,
    ]


def quality(examples: Sequence[Example], blend: Blend | None, k: int = 100) -> dict[str, float]:
    """HR@k and nDCG@k of the blend over `examples`, and of each source alone as "<measure>.<source>"."""
    found: dict[str, float] = {}
    count = max(len(examples), 1)

    def note(name: str, ranks: list[int]) -> None:
        hits = [rank for rank in ranks if 0 < rank <= k]
        found[f"hr_{k}{name}"] = len(hits) / count
        found[f"ndcg_{k}{name}"] = float(sum(1.0 / np.log2(rank + 1) for rank in hits)) / count

    if blend is not None:
        ranks = []
        for example in examples:
            if example.chosen >= 0:
                scores = blend.scores(example.features)
                ranks.append(int((scores > scores[example.chosen]).sum()) + 1)
        note("", ranks)
    for source in FEATURES[:-2]:
        note(f".{source}", [example.ranks.get(source, 0) for example in examples])
    return found
