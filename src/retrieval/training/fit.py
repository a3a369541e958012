"""Fits a co-engagement model to an engagement log."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from retrieval.domain.co_engagement import CoEngagement
from retrieval.training.graphs import linear_graph, pair_graphs

if TYPE_CHECKING:
    from retrieval.training.log import EngagementLog

FACTORS = 32
ITERATIONS = 15
CONFIDENCE = 4.0
"""alpha of Hu, Koren and Volinsky: what an engagement weighs beyond the 1 of everything unseen."""
REGULARIZATION = 0.05
SEED = 0


def fit(log: EngagementLog, threads: int = 0) -> CoEngagement:
    """The model of `log`, without a blend; `threads` 0 takes all cores."""
    # Its import looks at the machine and warns of what does not concern this process.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from implicit.cpu.als import AlternatingLeastSquares  # noqa: PLC0415

    n = len(log.item_ids)
    popularity = np.bincount(log.items, log.weights, n).astype(np.float32)
    co_visited, recent, sequence = pair_graphs(log)
    linear = linear_graph(log, popularity)
    users = int(log.users.max()) + 1 if len(log) else 0
    matrix = sparse.csr_matrix((log.weights, (log.users, log.items)), (users, n))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        als = AlternatingLeastSquares(
            FACTORS, REGULARIZATION, CONFIDENCE, iterations=ITERATIONS, num_threads=threads, random_state=SEED
        )
        als.fit(matrix, show_progress=False)
    factors = np.ascontiguousarray(als.item_factors, np.float32)
    gram = factors.T @ factors + REGULARIZATION * np.eye(factors.shape[1], dtype=np.float32)
    return CoEngagement(
        log.item_ids,
        popularity,
        co_visited,
        recent,
        sequence,
        linear,
        factors,
        gram.astype(np.float32),
        CONFIDENCE,
        log.unit,
        int(log.times.max()) if len(log) else 0,
    )
