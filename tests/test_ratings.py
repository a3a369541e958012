"""The benchmark of candidates: files are read as they come, what is held out is not known, measures are right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchmarks.ranking import best, measured
from benchmarks.ratings import Ratings, RatingsError, bundled, left_out, read, slices
from benchmarks.recommenders import Popularity, liked_of, lists_of, rated_of

if TYPE_CHECKING:
    from pathlib import Path

ROWS = [
    ("a", "x", "5", "100"),
    ("a", "y", "4", "300"),
    ("a", "z", "1", "400"),
    ("b", "x", "4", "200"),
    ("c", "y", "2", "50"),
]


def written(folder: Path, delimiter: str, *, header: bool, times: int = 1) -> tuple[Path, Path]:
    ratings, items = folder / "ratings.txt", folder / "items.txt"
    lines = [delimiter.join((*row[:3], str(int(row[3]) * times))) for row in ROWS]
    if header:
        lines.insert(0, delimiter.join(("user", "item", "rating", "timestamp")))
    ratings.write_text("\n".join(lines) + "\n", encoding="utf-8")
    texts = [
        f"x{delimiter}The X (1999){delimiter}Drama|War",
        f"y{delimiter}Y{delimiter}",
        f"z{delimiter}Z{delimiter}War",
    ]
    if header:
        texts.insert(0, delimiter.join(("item", "title", "genres")))
    items.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return ratings, items


@pytest.mark.parametrize("delimiter", [",", "\t", "::", ";"])
@pytest.mark.parametrize("header", [False, True])
def test_files(tmp_path: Path, delimiter: str, header: bool) -> None:
    ratings = read(*written(tmp_path, delimiter, header=header))
    assert ratings.item_ids == ["x", "y", "z"]
    assert ratings.texts == ["The X (1999). Drama, War", "Y", "Z. War"]
    assert (ratings.scale, len(ratings)) == (5.0, 5)
    # By time, and positive from 0.7 of the highest rating on.
    assert ratings.times.tolist() == [50, 100, 200, 300, 400]
    assert [ratings.user_ids[u] for u in ratings.users] == ["c", "a", "b", "a", "a"]
    assert ratings.positive.tolist() == [False, True, True, True, False]
    assert read(*written(tmp_path, delimiter, header=header), positive=5.0).positive.sum() == 1


def test_milliseconds(tmp_path: Path) -> None:
    assert read(*written(tmp_path, ",", header=True, times=10**9)).times.tolist() == [
        n * 10**6 for n in (50, 100, 200, 300, 400)
    ]


def test_who_rates_again_has_seen_it_before(tmp_path: Path) -> None:
    ratings, items = written(tmp_path, ",", header=False)
    ratings.write_text("a,x,5,100\na,x,1,900\n", encoding="utf-8")
    found = read(ratings, items)
    assert (found.values.tolist(), found.times.tolist()) == ([1.0], [100])


@pytest.mark.parametrize("line", ["a,x,five,100", "a,x"])
def test_a_bad_line_is_named(tmp_path: Path, line: str) -> None:
    ratings, items = written(tmp_path, ",", header=True)
    ratings.write_text(f"a,x,5,100\n{line}\n", encoding="utf-8")
    with pytest.raises(RatingsError, match=r"ratings\.txt:2"):
        read(ratings, items)


def test_what_is_left_out(tmp_path: Path) -> None:
    ratings = read(*written(tmp_path, ",", header=True))
    held = left_out(ratings)
    # Of a, who liked x and then y; b liked one thing only, c none.
    assert [(ratings.user_ids[ratings.users[r]], ratings.item_ids[ratings.items[r]]) for r in held] == [("a", "y")]


def test_the_bundled_ratings() -> None:
    """The split that published figures are compared on, and questions that have a past."""
    ratings = bundled()
    held = left_out(ratings)
    assert (len(ratings), len(held)) == (100_000, 8117)
    assert ratings.positive[held].all()
    assert len(np.unique(ratings.users[held])) == len(held)
    for part in slices(ratings, 3, 0.2, 50):
        assert len(part.asked) == 50
        assert ((part.asked >= part.start) & (part.asked < part.end)).all()
        for row in part.asked.tolist():
            assert ratings.positive[:row][ratings.users[:row] == ratings.users[row]].any()


def test_measures() -> None:
    lists = [np.array([3, 1]), np.array([0, 2]), np.arange(100)]
    found = measured(lists, np.array([1, 9, 50]), np.array([7.0] + [0.0] * 127), 7)
    assert found.hr_10 == pytest.approx(1 / 3)
    assert found.hr_100 == pytest.approx(2 / 3)
    assert found.ndcg_10 == pytest.approx(1 / np.log2(3) / 3)
    assert found.ndcg_100 == pytest.approx((1 / np.log2(3) + 1 / np.log2(52)) / 3)
    assert found.coverage == pytest.approx(100 / 128)
    # Of 104 items shown two are known to all, which is no news; the others to nobody: 3 bits each with 7 users.
    assert found.novelty == pytest.approx(3 * 102 / 104)


def test_the_best() -> None:
    assert best(np.array([1.0, 3.0, -np.inf, 3.0, 2.0], np.float32), 3).tolist() == [1, 3, 4]
    assert best(np.array([1.0, -np.inf], np.float32), 5).tolist() == [0]


def test_baselines_show_nothing_rated(tmp_path: Path) -> None:
    ratings: Ratings = read(*written(tmp_path, ",", header=True))
    rows = np.arange(len(ratings))
    liked, rated = liked_of(ratings, rows), rated_of(ratings, rows)
    model = Popularity()
    model.fit(liked)
    lists = dict(zip(ratings.user_ids, lists_of(model, liked, rated), strict=True))
    named = {user: [ratings.item_ids[i] for i in found] for user, found in lists.items()}
    assert named == {"a": [], "b": ["y", "z"], "c": ["x", "z"]}
