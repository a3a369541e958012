"""What candidates are compared with: the usual recommenders, each by itself, from `implicit` where it has them."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from scipy import sparse

from benchmarks.ranking import LISTED, best, measured

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of the machine, at import
    from implicit.cpu.als import AlternatingLeastSquares
    from implicit.nearest_neighbours import BM25Recommender, CosineRecommender, ItemItemRecommender

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from benchmarks.ratings import Ratings

VALIDATED_USERS = 1500
BATCH = 256


class Recommender(Protocol):
    """Scores all items for users by what they liked."""

    def fit(self, liked: sparse.csr_matrix) -> None:
        """Learn from `liked` (users, items)."""
        ...

    def scores(self, liked: sparse.csr_matrix) -> NDArray[np.float32]:
        """(users, items) float32; minus infinity where it says nothing of an item."""
        ...


class Popularity:
    """How many liked an item."""

    def fit(self, liked: sparse.csr_matrix) -> None:
        self._counts = np.asarray(liked.sum(axis=0), np.float32).ravel()

    def scores(self, liked: sparse.csr_matrix) -> NDArray[np.float32]:
        return np.tile(self._counts, (liked.shape[0], 1))


class MeanVector:
    """Cosine of an item's text embedding with the mean of those that were liked."""

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        self._units = np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)

    def fit(self, liked: sparse.csr_matrix) -> None:
        """Nothing to learn."""

    def scores(self, liked: sparse.csr_matrix) -> NDArray[np.float32]:
        return np.asarray((liked @ self._units) @ self._units.T, np.float32)


class Neighbours:
    """Items by their neighbours among those liked: `implicit`'s co-occurrence, cosine or BM25."""

    def __init__(self, kind: type[ItemItemRecommender], k: int) -> None:
        self._kind, self._k = kind, k

    def fit(self, liked: sparse.csr_matrix) -> None:
        self._model = self._kind(K=self._k, num_threads=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._model.fit(liked.astype(np.float64), show_progress=False)

    def scores(self, liked: sparse.csr_matrix) -> NDArray[np.float32]:
        found = (liked @ self._model.similarity).toarray().astype(np.float32)
        found[found <= 0] = -np.inf
        return found


class ThenPopularity:
    """A recommender, and the most popular items where it says nothing: two sources, not one."""

    def __init__(self, first: Recommender) -> None:
        self._first, self._then = first, Popularity()

    def fit(self, liked: sparse.csr_matrix) -> None:
        self._first.fit(liked)
        self._then.fit(liked)

    def scores(self, liked: sparse.csr_matrix) -> NDArray[np.float32]:
        found = self._first.scores(liked)
        silent = np.isinf(found)
        popular = self._then.scores(liked)
        found[silent] = popular[silent] - popular.max() - 1.0
        return found


class Als:
    """`implicit`'s alternating least squares; users are folded in, so that they may have liked more since."""

    def __init__(self, factors: int, alpha: float) -> None:
        self._factors, self._alpha = factors, alpha

    def fit(self, liked: sparse.csr_matrix) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._model = AlternatingLeastSquares(
                self._factors, 0.05, self._alpha, iterations=15, num_threads=0, random_state=0
            )
            self._model.fit(liked, show_progress=False)

    def scores(self, liked: sparse.csr_matrix) -> NDArray[np.float32]:
        users = self._model.recalculate_user(np.arange(liked.shape[0]), liked)
        return np.asarray(users @ self._model.item_factors.T, np.float32)


@dataclass(frozen=True)
class Fitted:
    """A baseline that has learned, with the setting that a validation chose."""

    name: str
    setting: str
    single: bool
    model: Recommender


def baselines(vectors: NDArray[np.float32] | None) -> dict[str, dict[str, Callable[[], Recommender]]]:
    """Settings to choose from, by the baseline's name. `vectors` (items, dim): text embeddings, where there are any."""
    ks = (20, 100, 500)
    found: dict[str, dict[str, Callable[[], Recommender]]] = {
        "popularity": {"": Popularity},
        "co-occurrence": {"": lambda: Neighbours(ItemItemRecommender, 5000)},
        "co-occurrence, then popularity": {"": lambda: ThenPopularity(Neighbours(ItemItemRecommender, 5000))},
        "item-kNN (cosine)": {f"K={k}": lambda k=k: Neighbours(CosineRecommender, k) for k in ks},
        "BM25": {f"K={k}": lambda k=k: Neighbours(BM25Recommender, k) for k in ks},
        "ALS": {f"factors={f}, alpha={a}": lambda f=f, a=a: Als(f, a) for f in (16, 32, 64) for a in (1.0, 10.0)},
    }
    if vectors is not None:
        found["mean of text vectors"] = {"": lambda: MeanVector(vectors)}
    return found


def liked_of(ratings: Ratings, rows: NDArray[Any]) -> sparse.csr_matrix:
    """(users, items) float32 of ones: the positive ratings among `rows`."""
    rows = rows[ratings.positive[rows]]
    shape = len(ratings.user_ids), len(ratings.item_ids)
    return sparse.csr_matrix((np.ones(len(rows), np.float32), (ratings.users[rows], ratings.items[rows])), shape)


def rated_of(ratings: Ratings, rows: NDArray[Any]) -> sparse.csr_matrix:
    """(users, items) bool: all ratings among `rows`."""
    shape = len(ratings.user_ids), len(ratings.item_ids)
    return sparse.csr_matrix((np.ones(len(rows), bool), (ratings.users[rows], ratings.items[rows])), shape)


def lists_of(model: Recommender, liked: sparse.csr_matrix, rated: sparse.csr_matrix) -> list[NDArray[np.int64]]:
    """The first 100 items of each row of `liked` that are not in `rated`, best first; fewer where it has no more."""
    found: list[NDArray[np.int64]] = []
    for start in range(0, liked.shape[0], BATCH):
        scores = model.scores(liked[start : start + BATCH])
        rows, columns = rated[start : start + BATCH].nonzero()
        scores[rows, columns] = -np.inf
        found.extend(best(row, LISTED) for row in scores)
    return found


def chosen(
    ratings: Ratings, known: NDArray[Any], vectors: NDArray[np.float32] | None, say: Callable[[str], None]
) -> list[Fitted]:
    """Every baseline on `known` rows; a setting is chosen by guessing each user's last positive among those rows."""
    liked = liked_of(ratings, known)
    rng = np.random.default_rng(0)
    positive = known[ratings.positive[known]]
    users, where, counts = np.unique(ratings.users[positive][::-1], return_index=True, return_counts=True)
    rows = positive[::-1][where[counts >= 2]]
    del users
    if len(rows) > VALIDATED_USERS:
        rows = rng.choice(rows, VALIDATED_USERS, replace=False)
    inner = np.setdiff1d(known, rows)
    inner_liked, inner_rated = liked_of(ratings, inner), rated_of(ratings, inner)
    found = []
    for name, settings in baselines(vectors).items():
        since = time.perf_counter()
        setting = next(iter(settings))
        if len(settings) > 1:
            gains = {}
            for candidate, make in settings.items():
                model = make()
                model.fit(inner_liked)
                asked = ratings.users[rows]
                gains[candidate] = measured(
                    lists_of(model, inner_liked[asked], inner_rated[asked]), ratings.items[rows]
                ).ndcg_100
            setting = max(gains, key=lambda s: gains[s])
        model = settings[setting]()
        model.fit(liked)
        say(f"{name} {setting}: {time.perf_counter() - since:.1f} s")
        found.append(Fitted(name, setting, not isinstance(model, ThenPopularity), model))
    return found


def answers(
    fitted: Sequence[Fitted],
    users: NDArray[np.int64],
    liked: sparse.csr_matrix,
    rated: sparse.csr_matrix,
) -> dict[str, tuple[list[NDArray[np.int64]], float]]:
    """Lists by baseline, and the milliseconds that one user takes, of 50 asked one by one."""
    found = {}
    for each in fitted:
        lists = lists_of(each.model, liked[users], rated[users])
        timed = []
        for user in users[:50].tolist():
            since = time.perf_counter()
            lists_of(each.model, liked[[user]], rated[[user]])
            timed.append((time.perf_counter() - since) * 1e3)
        found[each.name] = lists, float(np.median(timed)) if timed else 0.0
    return found
