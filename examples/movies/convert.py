"""Makes `items.jsonl` and `events.csv` beside this file from MovieTweetings' `movies.dat` and `ratings.dat`.

    python examples/movies/convert.py path/to/movies.dat path/to/ratings.dat

Needs nothing beyond Python's standard library. The same input gives the same bytes.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HERE = Path(__file__).parent
TITLE_WITH_YEAR = re.compile(r".+ \((?P<year>\d{4})\)")


class Movie(NamedTuple):
    """One line of movies.dat: `id::title (year)::genre|genre`."""

    movie_id: str
    title: str
    year: int
    genres: list[str]


class Rating(NamedTuple):
    """One line of ratings.dat: `user::movie::rating::unix seconds`, the rating on the source's scale of 0 to 10."""

    user_id: str
    movie_id: str
    rating: int
    rated_at: int

    @property
    def stars(self) -> float:
        """The rating on the catalogue's scale of 0 to 5."""
        return self.rating / 2


def fields_of(path: Path, count: int) -> Iterator[list[str]]:
    """The fields of each line, stripped. Raises ValueError for a line that has not `count` of them."""
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            fields = [field.strip() for field in line.split("::")]
            if len(fields) != count:
                raise ValueError(f"{path}:{number}: {len(fields)} fields, not {count}")
            yield fields


def read_movies(path: Path) -> list[Movie]:
    """All movies in file order. Raises ValueError for a repeated id or a title without its year."""
    movies: dict[str, Movie] = {}
    for movie_id, title, genres in fields_of(path, 3):
        match = TITLE_WITH_YEAR.fullmatch(title)
        if match is None:
            raise ValueError(f"{path}: movie {movie_id} has no year in its title: {title!r}")
        if movie_id in movies:
            raise ValueError(f"{path}: movie {movie_id} is there twice")
        # A movie without genres has an empty last field.
        movies[movie_id] = Movie(movie_id, title, int(match["year"]), [genre for genre in genres.split("|") if genre])
    return list(movies.values())


def read_ratings(path: Path) -> list[Rating]:
    """All ratings in file order."""
    return [
        Rating(user_id, movie_id, int(rating), int(rated_at))
        for user_id, movie_id, rating, rated_at in fields_of(path, 4)
    ]


def item_of(movie: Movie, ratings: Sequence[Rating]) -> dict[str, Any]:
    """The movie as protobuf-JSON of `retrieval.v1.Item`; 64-bit integers are strings there."""
    attributes: dict[str, Any] = {"year": {"int64": str(movie.year)}}
    if movie.genres:
        attributes["genres"] = {"keywords": {"values": movie.genres}}
    item: dict[str, Any] = {
        "item_id": movie.movie_id,
        "text": ". ".join(filter(None, [movie.title, ", ".join(movie.genres)])),
        "rating_count": str(len(ratings)),
        "attributes": attributes,
        "payload": {"title": movie.title},
        # The source knows the year alone; without a date the item would count as new on the day it is loaded.
        "created_at": f"{movie.year:04}-01-01T00:00:00Z",
    }
    if ratings:
        item["rating_value"] = round(sum(rating.stars for rating in ratings) / len(ratings), 3)
    return item


def main() -> None:
    """Reads both files and writes the catalogue's two."""
    parser = argparse.ArgumentParser(description="Make items.jsonl and events.csv from MovieTweetings' files.")
    parser.add_argument("movies", type=Path, help="movies.dat")
    parser.add_argument("ratings", type=Path, help="ratings.dat")
    arguments = parser.parse_args()

    movies, ratings = read_movies(arguments.movies), read_ratings(arguments.ratings)
    ratings_of: defaultdict[str, list[Rating]] = defaultdict(list)
    for rating in ratings:
        ratings_of[rating.movie_id].append(rating)

    with (HERE / "items.jsonl").open("w", encoding="utf-8", newline="\n") as items_file:
        for movie in movies:
            item = item_of(movie, ratings_of[movie.movie_id])
            items_file.write(json.dumps(item, ensure_ascii=False, separators=(",", ":")) + "\n")
    with (HERE / "events.csv").open("w", encoding="utf-8", newline="") as events_file:
        writer = csv.writer(events_file, lineterminator="\n")
        writer.writerow(["user_id", "item_id", "type", "value", "occurred_at"])
        writer.writerows([r.user_id, r.movie_id, "rating", r.stars, r.rated_at] for r in ratings)
    print(f"{len(movies)} items, {len(ratings)} events")


if __name__ == "__main__":
    main()
