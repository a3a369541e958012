"""Judged collections: formats are read to the same, what is no collection is refused, and the measures are right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.hybrid import DEFAULT, Row, passed
from benchmarks.judged import Judged, JudgedError, bundled, ndcg, read, recall

if TYPE_CHECKING:
    from pathlib import Path

DOCUMENTS = {
    "tsv": "d1\tone text\nd2\tsecond\n\nd3\tthird\n",
    "json": '{"_id": "d1", "title": "one", "text": "text"}\n{"id": "d2", "text": "second"}\n'
    '{"id": "d3", "title": "third"}\n',
}
QUERIES = {
    "tsv": "q1\tfind it\nq2\tunjudged\n",
    "json": '{"id": "q1", "text": "find it"}\n{"id": "q2", "text": "unjudged"}\n',
}
JUDGEMENTS = {
    "trec": "q1 0 d1 2\nq1 0 d2 0\nq1 0 gone 1\nq9 0 d1 1\nq1 0 d3 1\n",
    "heading": "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td3\t1\n",
    "floats": "q1 d1 2.0\nq1 d3 1.0\n",
}


def files(folder: Path, documents: str, queries: str, judgements: str) -> Judged:
    paths = [folder / "library", folder / "queries", folder / "qrels"]
    for path, text in zip(paths, (documents, queries, judgements), strict=True):
        path.write_text(text, encoding="utf-8")
    return read(*paths)


@pytest.mark.parametrize("judgements", JUDGEMENTS.values(), ids=JUDGEMENTS.keys())
@pytest.mark.parametrize("kind", ["tsv", "json"])
def test_formats(tmp_path: Path, kind: str, judgements: str) -> None:
    judged = files(tmp_path, DOCUMENTS[kind], QUERIES[kind], judgements)
    assert judged == Judged(
        "library", {"d1": "one text", "d2": "second", "d3": "third"}, {"q1": "find it"}, {"q1": {"d1": 2, "d3": 1}}
    )


@pytest.mark.parametrize("judgements", ["", "q1 d1\n", "q1 d1 1\nq1 d1 good\n", "q1 0 d2 0\n", "q2 0 gone 1\n"])
def test_what_is_no_collection_is_refused(tmp_path: Path, judgements: str) -> None:
    with pytest.raises(JudgedError):
        files(tmp_path, DOCUMENTS["tsv"], QUERIES["tsv"], judgements)


def test_measures() -> None:
    grades = {"a": 2, "b": 1}
    assert ndcg(["a", "b"], grades) == 1.0
    assert ndcg([], grades) == 0.0
    assert ndcg(["x", "a"], grades) == pytest.approx(2 / 1.584962500721156 / (2 + 1 / 1.584962500721156))
    assert ndcg(["x"] * 10 + ["a"], grades) == 0.0
    assert recall(["x", "b"], grades) == 0.5


def test_films_are_judged_by_their_fans_alone() -> None:
    judged = bundled()
    assert len(judged.questions) > 100
    assert not judged.questions.keys() & judged.documents.keys()
    assert judged.grades.keys() == judged.questions.keys()
    assert all(grade in {1, 2} for graded in judged.grades.values() for grade in graded.values())


def test_it_passes_only_above_both() -> None:
    def rows(text: float, vector: float, hybrid: float) -> list[Row]:
        return [Row(n, v, 0, 0, 0) for n, v in (("text", text), ("vector", vector), (DEFAULT, hybrid))]

    assert passed(rows(0.1, 0.2, 0.3))
    assert not passed(rows(0.1, 0.3, 0.3))
    assert not passed(rows(0.4, 0.3, 0.35))
