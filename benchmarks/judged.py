"""Judged collections: documents, questions, and who found which documents relevant; and how good a ranking is."""

from __future__ import annotations

import csv
import json
import math
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

MOVIES = Path(__file__).resolve().parents[1] / "examples" / "movies"
POSITIVE = 3.5
MIN_LIKES = 20
SHARED_LIKES = 4
BEST, GOOD = 3, 10
"""Of a film's neighbours by shared likes, so many are graded 2, and up to so many 1."""
QUESTION_OF = 4
"""Every fourth film that enough people like is a question, and no document."""


class JudgedError(Exception):
    """Files that are not a judged collection."""


class Judged(NamedTuple):
    """Texts of documents and of questions by id; grades above 0 by question and document."""

    name: str
    documents: dict[str, str]
    questions: dict[str, str]
    grades: dict[str, dict[str, int]]


def read(documents: Path, queries: Path, judgements: Path) -> Judged:
    """A collection from files.

    Documents: JSON lines {"id" or "_id", "title", "text"}, or lines of id, tab, text. Queries: the same. Judgements:
    lines of query, document, grade, or of TREC's four columns; tabs or spaces, with a heading or without. Queries
    without a relevant document are left out, and so are judgements of documents that are not there.
    """
    texts, questions = dict(_texts(documents)), dict(_texts(queries))
    grades: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for number, line in enumerate(judgements.read_text(encoding="utf-8").splitlines(), start=1):
        fields = line.split()
        if not fields:
            continue
        if len(fields) not in {3, 4}:
            raise JudgedError(f"{judgements}:{number}: needs query, document and grade, or TREC's four columns")
        query, document, grade = fields[0], fields[-2], fields[-1]
        if not re.fullmatch(r"-?\d+(\.0+)?", grade):
            if number == 1:
                continue
            raise JudgedError(f"{judgements}:{number}: {grade!r} is no grade")
        if float(grade) > 0 and query in questions and document in texts:
            grades[query][document] = int(float(grade))
    if not grades:
        raise JudgedError("no query has a relevant document")
    return Judged(documents.stem, texts, {q: questions[q] for q in grades}, dict(grades))


def _texts(path: Path) -> Iterator[tuple[str, str]]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            if line.startswith("{"):
                row = json.loads(line)
                key = str(row.get("id", row.get("_id", "")))
                text = " ".join(part for part in (row.get("title"), row.get("text")) if part)
            else:
                key, _, text = line.rstrip("\n").partition("\t")
            if not key:
                raise JudgedError(f"{path}:{number}: has no id")
            yield key, text


def bundled() -> Judged:
    """The bundled films, judged by who liked them.

    A question is a film's title and genres; relevant are the films that the same people like, by the cosine of the two
    sets of likes. People who rate films read neither our words nor our vectors, so neither arm is favoured by the way
    the judgements came about; but titles say little of who likes a film, so that all figures are low.
    """
    texts: dict[str, str] = {}
    for line in (MOVIES / "items.jsonl").read_text(encoding="utf-8").splitlines():
        item = json.loads(line)
        texts[item["item_id"]] = item["text"]
    fans: defaultdict[str, set[str]] = defaultdict(set)
    liked: defaultdict[str, set[str]] = defaultdict(set)
    with (MOVIES / "events.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["type"] == "rating" and float(row["value"]) >= POSITIVE:
                fans[row["item_id"]].add(row["user_id"])
                liked[row["user_id"]].add(row["item_id"])
    asked = [film for film in sorted(fans) if len(fans[film]) >= MIN_LIKES][::QUESTION_OF]
    documents = {film: text for film, text in texts.items() if film not in set(asked)}
    grades = {film: graded for film in asked if (graded := _neighbours(film, fans, liked, documents))}
    questions = {film: re.sub(r" \(\d{4}\)", "", texts[film]) for film in grades}
    return Judged("movies", documents, questions, grades)


def _neighbours(
    film: str, fans: Mapping[str, set[str]], liked: Mapping[str, set[str]], documents: Mapping[str, str]
) -> dict[str, int]:
    shared = Counter(other for fan in fans[film] for other in liked[fan] if other in documents)
    nearest = sorted(
        (-count / math.sqrt(len(fans[film]) * len(fans[other])), other)
        for other, count in shared.items()
        if count >= SHARED_LIKES
    )
    return {other: 2 if place < BEST else 1 for place, (_, other) in enumerate(nearest[:GOOD])}


def ndcg(ranked: Sequence[str], grades: Mapping[str, int], k: int = 10) -> float:
    """Normalised discounted cumulative gain of the first k: sum of grade / log2(1 + rank), through its highest value.

    K. Jarvelin and J. Kekalainen, "Cumulated gain-based evaluation of IR techniques" (ACM TOIS 20(4), 2002), with the
    discount and the linear gain of trec_eval.
    """
    gained = sum(grades.get(each, 0) / math.log2(place + 2) for place, each in enumerate(ranked[:k]))
    best = sum(g / math.log2(place + 2) for place, g in enumerate(sorted(grades.values(), reverse=True)[:k]))
    return gained / best


def recall(ranked: Sequence[str], grades: Mapping[str, int], k: int = 100) -> float:
    """Share of the relevant documents among the first k."""
    return len(set(ranked[:k]) & grades.keys()) / len(grades)
