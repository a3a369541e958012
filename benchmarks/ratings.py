"""Ratings of items by users as arrays, from the bundled catalogue or from files, and how they are held out."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

BUNDLED = Path(__file__).resolve().parent.parent / "examples" / "movies"
DELIMITERS = ("::", "\t", ",", ";")
POSITIVE_SHARE = 0.7
"""A rating of at least this part of the highest one is positive: 7 of 10, 4 of 5 where ratings are whole."""
MOST_SECONDS = 1e11
"""Greater timestamps are in milliseconds."""


class RatingsError(Exception):
    """A file of ratings or items cannot be read; the message names the line and what is wrong."""


@dataclass(frozen=True)
class Ratings:
    """Ratings by time: `users`, `items` (r,) int64 numbers, `values` (r,) float64, `times` (r,) int64 Unix seconds.

    `texts` by item number: title and genres. `positive` (r,) bool: what a good list would have had in it.
    """

    name: str
    user_ids: list[str]
    item_ids: list[str]
    texts: list[str]
    users: NDArray[np.int64]
    items: NDArray[np.int64]
    values: NDArray[np.float64]
    times: NDArray[np.int64]
    positive: NDArray[np.bool_]
    scale: float

    def __len__(self) -> int:
        return len(self.users)


def bundled(positive: float | None = None) -> Ratings:
    """MovieTweetings, as it comes with the service."""
    with (BUNDLED / "items.jsonl").open(encoding="utf-8") as lines:
        texts = {item["item_id"]: item["text"] for item in map(json.loads, lines)}
    with (BUNDLED / "events.csv").open(encoding="utf-8", newline="") as lines:
        rows = [(r["user_id"], r["item_id"], float(r["value"]), int(r["occurred_at"])) for r in csv.DictReader(lines)]
    return _ratings("movietweetings", rows, texts, positive)


def read(ratings: Path, items: Path, positive: float | None = None) -> Ratings:
    """From `user,item,rating,timestamp` and `item,title,genres`; a header is optional, genres may be split by bars.

    Timestamps are Unix seconds, or milliseconds. Fields are separated by commas, tabs, semicolons or double colons.
    Raises: RatingsError.
    """
    texts = {}
    for number, fields in _lines(items):
        if len(fields) < 2:
            raise RatingsError(f"{items}:{number}: item,title,genres was expected")
        if number == 1 and fields[1].lower() in ("title", "name"):
            continue
        genres = ", ".join(genre for genre in "|".join(fields[2:]).split("|") if genre.strip())
        texts[fields[0]] = f"{fields[1]}. {genres}" if genres else fields[1]
    rows = []
    for number, fields in _lines(ratings):
        try:
            rows.append((fields[0], fields[1], float(fields[2]), int(float(fields[3]))))
        except (ValueError, IndexError):
            if number > 1:
                raise RatingsError(f"{ratings}:{number}: user,item,rating,timestamp was expected") from None
    if not rows:
        raise RatingsError(f"{ratings} holds no rating")
    return _ratings(ratings.stem, rows, texts, positive)


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Number and fields of each line that is not empty."""
    with path.open(encoding="utf-8", errors="replace", newline="") as lines:
        first = lines.readline()
        delimiter = next((d for d in DELIMITERS if d in first), ",")
        lines.seek(0)
        if len(delimiter) == 1:
            yield from (
                (n, [f.strip() for f in row]) for n, row in enumerate(csv.reader(lines, delimiter=delimiter), 1) if row
            )
        else:
            yield from (
                (n, [f.strip() for f in line.split(delimiter)]) for n, line in enumerate(lines, 1) if line.strip()
            )


def _ratings(
    name: str, rows: Sequence[tuple[str, str, float, int]], texts: dict[str, str], positive: float | None
) -> Ratings:
    users: dict[str, int] = {}
    items = {item_id: number for number, item_id in enumerate(texts)}
    latest: dict[tuple[int, int], tuple[float, int]] = {}
    for user_id, item_id, value, at in rows:
        user, item = users.setdefault(user_id, len(users)), items.setdefault(item_id, len(items))
        # Whoever rates again has changed their mind, not seen the item anew.
        latest[user, item] = value, min(at, latest.get((user, item), (0.0, at))[1])
    table = np.array([(u, i, v, t) for (u, i), (v, t) in latest.items()], np.float64)
    if table[:, 3].max() > MOST_SECONDS:
        table[:, 3] //= 1000
    table = table[np.argsort(table[:, 3], kind="stable")]
    values = table[:, 2]
    scale = float(values.max())
    threshold = positive if positive is not None else POSITIVE_SHARE * scale
    return Ratings(
        name,
        list(users),
        list(items),
        [texts.get(item_id, "") for item_id in items],
        table[:, 0].astype(np.int64),
        table[:, 1].astype(np.int64),
        values,
        table[:, 3].astype(np.int64),
        values >= threshold,
        scale,
    )


def left_out(ratings: Ratings) -> NDArray[np.int64]:
    """(q,) the row of each user's last positive rating, for users who have one before it."""
    rows = np.flatnonzero(ratings.positive)
    users, where, counts = np.unique(ratings.users[rows][::-1], return_index=True, return_counts=True)
    del users
    return np.sort(rows[::-1][where[counts >= 2]])


@dataclass(frozen=True)
class Slice:
    """Rows from `start` to `end`, of which those in `asked` (q,) are guessed, each from what came before it."""

    start: int
    end: int
    asked: NDArray[np.int64]


def slices(ratings: Ratings, count: int, share: float, most: int, seed: int = 0) -> list[Slice]:
    """The last `share` of all ratings in `count` slices by number, with at most `most` questions each."""
    bounds = np.linspace((1.0 - share) * len(ratings), len(ratings), count + 1).astype(int).tolist()
    rng = np.random.default_rng(seed)
    rows = np.flatnonzero(ratings.positive)
    firsts = np.full(len(ratings.user_ids), len(ratings))
    np.minimum.at(firsts, ratings.users[rows], rows)
    found = []
    for start, end in pairwise(bounds):
        usable = rows[(rows >= start) & (rows < end) & (firsts[ratings.users[rows]] < rows)]
        if len(usable) > most:
            usable = np.sort(rng.choice(usable, most, replace=False))
        found.append(Slice(start, end, usable))
    return found
