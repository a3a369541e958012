"""The bundled catalogue is what the contract says a catalogue is."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import json_format

from retrieval.embedding.wordllama import DIMENSION, MODEL, WordLlamaEmbedder
from retrieval.v1 import collection_service_pb2, common_pb2

MOVIES = Path(__file__).parents[1] / "examples" / "movies"


@pytest.fixture(scope="module")
def items() -> list[common_pb2.Item]:
    with (MOVIES / "items.jsonl").open(encoding="utf-8") as lines:
        return [json_format.Parse(line, common_pb2.Item()) for line in lines]


def test_collection_is_made_for_the_local_embedder() -> None:
    request = json_format.Parse(
        (MOVIES / "collection.json").read_text(encoding="utf-8"), collection_service_pb2.CreateCollectionRequest()
    )
    assert request.embedding_version.model == MODEL
    assert request.embedding_version.dimension == DIMENSION
    assert list(request.embedding_version.resolutions) == [64, 128]


def test_items_keep_to_the_declared_attributes_and_scale(items: list[common_pb2.Item]) -> None:
    assert len({item.item_id for item in items}) == len(items) == 10_506
    for item in items:
        assert set(item.attributes) <= {"genres", "year"}
        assert item.attributes["year"].int64 == item.created_at.ToDatetime().year
        assert item.HasField("rating_value") == (item.rating_count > 0)
        assert 0 <= item.rating_value <= 5
        assert not item.chunks


def test_every_item_embeds(items: list[common_pb2.Item]) -> None:
    vectors = WordLlamaEmbedder().embed([item.text for item in items])
    assert vectors.any(axis=1).all()


def test_events_rate_known_items_once(items: list[common_pb2.Item]) -> None:
    with (MOVIES / "events.csv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    known = {item.item_id for item in items}
    assert len({(row["user_id"], row["item_id"]) for row in rows}) == len(rows) == 100_000
    assert {row["item_id"] for row in rows} == known
    assert {row["type"] for row in rows} == {"rating"}
    assert {float(row["value"]) for row in rows} == {step / 2 for step in range(11)}
    assert len(rows) == sum(item.rating_count for item in items)


@pytest.mark.parametrize(
    ("movies", "complaint"),
    [
        ("1::Nameless::Drama\n", "no year"),
        ("1::A (1999)::Drama\n1::B (1999)::Drama\n", "twice"),
        ("1::A (1999)\n", "2 fields, not 3"),
    ],
)
def test_converter_refuses_odd_rows(tmp_path: Path, movies: str, complaint: str) -> None:
    (tmp_path / "movies.dat").write_text(movies, encoding="utf-8")
    (tmp_path / "ratings.dat").write_text("", encoding="utf-8")
    (tmp_path / "convert.py").write_bytes((MOVIES / "convert.py").read_bytes())
    done = subprocess.run(
        [sys.executable, tmp_path / "convert.py", tmp_path / "movies.dat", tmp_path / "ratings.dat"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert complaint in done.stderr


def test_converter_handles_movies_without_genres_or_ratings(tmp_path: Path) -> None:
    (tmp_path / "movies.dat").write_text("7::Ü (1999)::\n8::B (2000)::Drama|War\n", encoding="utf-8")
    (tmp_path / "ratings.dat").write_text("1::8::7::1362062307\n2::8::8::1362062308\n", encoding="utf-8")
    (tmp_path / "convert.py").write_bytes((MOVIES / "convert.py").read_bytes())
    subprocess.run(
        [sys.executable, tmp_path / "convert.py", tmp_path / "movies.dat", tmp_path / "ratings.dat"],
        capture_output=True,
        check=True,
    )
    lines = (tmp_path / "items.jsonl").read_text(encoding="utf-8").splitlines()
    bare, rated = (json_format.Parse(line, common_pb2.Item()) for line in lines)
    assert bare.text == "Ü (1999)"
    assert not bare.HasField("rating_value")
    assert rated.text == "B (2000). Drama, War"
    assert (rated.rating_value, rated.rating_count) == (3.75, 2)
    assert (tmp_path / "events.csv").read_text(encoding="utf-8").splitlines()[1] == "1,8,rating,3.5,1362062307"
