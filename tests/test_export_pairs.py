"""`generate-pairs` and `export-pairs`: from events to Parquet files, interrupted and not."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from retrieval.cli import pairs as pair_commands
from retrieval.cli import progress
from retrieval.cli.arguments import make_parser, moment
from retrieval.cli.pair_files import PairFolder
from retrieval.client.pairs import PairService
from retrieval.config import Settings, SettingsError, UsageError
from retrieval.domain.errors import RetrievalError
from retrieval.transport import training_servicer
from tests.server.commands import run_command
from tests.training import HOUR_US, START_US, event, generate, item, pairs_of, run_of, shelf
from tests.transport.conftest import Running, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

ADMIN = "test-admin-token"
SETTINGS = Settings(admin_token=ADMIN)
USERS = 6


@pytest.fixture
async def films(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    """Six users of five pairs each; batches are of four pairs."""
    monkeypatch.setattr(training_servicer, "BATCH_PAIRS", 4)
    async with running("grpcio", admin_token=ADMIN) as run:
        made = await shelf(run.service.stores, "films", [*(item(f"i{n}") for n in range(19)), item("i19", chunks=0)])
        for number in range(USERS):
            user = f"user-{number}"
            views = [event(user, f"i{n}", "view", n) for n in range(8, 20)]
            rated = event(user, "i0", "rating", number, 4.0, dwell=number or None)
            await run.service.stores.events.record(made, [rated, *views])
        yield run


async def command(run: Running, *arguments: str, settings: Settings = SETTINGS) -> int:
    options = make_parser().parse_args([*arguments, "--server", f"127.0.0.1:{run.server.port}"])
    commands = {"generate-pairs": pair_commands.run_generate, "export-pairs": pair_commands.run_export}
    return await commands[options.command](settings, options)


async def made(run: Running) -> None:
    collection = await run.service.stores.collections.get("films")
    await generate(run.service.stores, collection, run_of("r", "1"))


async def export(run: Running, out: Path, *arguments: str) -> int:
    return await command(run, "export-pairs", "films", "--out", str(out), "--model-version", "1", *arguments)


def rows(out: Path) -> list[dict[str, Any]]:
    return pq.read_table(out).to_pylist()


async def test_from_events_to_rows(films: Running, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    window = ("--start", "2023-11-14T22:13:20", "--end", "2030-01-01", "--history", "2")
    assert await command(films, "generate-pairs", "films", "--model-version", "1", *window) == 0
    assert "6 users, 6 positive and 24 negative pairs" in capsys.readouterr().out
    out = tmp_path / "pairs.parquet"
    assert await export(films, out) == 0
    assert capsys.readouterr().out == f"30 pairs in 1 parts at {out}, 30 of them new\n"
    found = rows(out)
    collection = await films.service.stores.collections.get("films")
    pairs = await pairs_of(films.service.stores, collection, "1")
    assert len(found) == len(pairs) == 30
    for row, pair in zip(found, pairs, strict=True):
        assert (row["user_id"], row["item_id"], row["label"]) == (pair.user_id, pair.item_id, pair.label)
        assert row["engagement_type"] == pair.event_type
        assert moment(row["interaction_at"].isoformat()) == pair.interaction_at
        assert (row["dwell_ms"], row["value"]) == (pair.dwell_ms, pair.value)
        assert [(e["item_id"], e["type"], e["value"]) for e in row["history"]] == [
            (e.item_id, e.event_type, e.value) for e in pair.history
        ]
        assert [moment(e["occurred_at"].isoformat()) for e in row["history"]] == [e.occurred_at for e in pair.history]
        assert (row["item_text"], row["item_tags"]) == (pair.item.text, ["a", "b"])
        assert row["item_owner_id"] == pair.item.owner_id
        assert row["item_attributes"] == '{"labels": ["x", "y"], "price": 2.0, "year": 1999}'
        assert moment(row["item_created_at"].isoformat()) == pair.item.created_at
        counts = pair.item.counts
        assert row["item_positive_count"] == counts.positives
        assert row["item_view_count"] == counts.views
        assert row["item_rating_count"] == counts.ratings
        assert row["item_rating_mean"] == counts.rating_mean
        if pair.embedding is None:
            assert row["embedding"] is None
        else:
            assert np.array_equal(row["embedding"], pair.embedding)
        assert (row["embedding_version"], row["model_version"], row["run_id"]) == (1, "1", pair.run_id)
    assert {len(row["history"]) for row in found} == {0, 1, 2}
    assert any(row["embedding"] is None for row in found)
    assert any(row["item_rating_mean"] == 4.0 for row in found)


async def test_parts_and_selections(films: Running, tmp_path: Path) -> None:
    await made(films)
    await export(films, tmp_path / "whole")
    await export(films, tmp_path / "parts", "--part-pairs", "8")
    names = sorted(p.name for p in (tmp_path / "parts").iterdir())
    assert names == [f"part-{n:05d}.parquet" for n in range(4)]
    assert [pq.read_metadata(tmp_path / "parts" / n).num_rows for n in names] == [8, 8, 8, 6]
    assert rows(tmp_path / "parts") == rows(tmp_path / "whole")
    since = ("--since", "2023-11-15T00:13:20+00:00")
    await export(films, tmp_path / "some", "--label", "positive", *since)
    assert [(r["user_id"], r["label"]) for r in rows(tmp_path / "some")] == [(f"user-{n}", True) for n in range(2, 6)]


async def test_row_groups_bound_what_is_held(films: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await made(films)
    monkeypatch.setattr("retrieval.cli.pair_files.GROUP_ROWS", 8)
    await export(films, tmp_path / "rows")
    monkeypatch.setattr("retrieval.cli.pair_files.GROUP_BYTES", 1)
    await export(films, tmp_path / "bytes")
    groups = {p: pq.ParquetFile(tmp_path / p / "part-00000.parquet").num_row_groups for p in ("rows", "bytes")}
    assert groups == {"rows": 4, "bytes": 8}
    assert rows(tmp_path / "rows") == rows(tmp_path / "bytes")


@pytest.mark.parametrize("stop", [asyncio.CancelledError, RetrievalError])
@pytest.mark.parametrize("batches", [0, 1, 3, 5])
async def test_an_interrupted_export_goes_on(
    films: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: type[BaseException], batches: int
) -> None:
    await made(films)
    await export(films, tmp_path / "whole")
    stream = PairService.stream

    async def breaking(self: PairService, request: Any) -> AsyncIterator[Any]:
        left = batches
        async for batch in stream(self, request):
            if not left:
                raise stop("interrupted")
            left -= 1
            yield batch

    with monkeypatch.context() as patched:
        patched.setattr(PairService, "stream", breaking)
        with pytest.raises(stop):
            await export(films, tmp_path / "parts", "--part-pairs", "8")
    kept = sorted(p.name for p in (tmp_path / "parts").iterdir())
    assert len(kept) == (batches + 1) // 2
    (tmp_path / "parts" / ".part-00007.new").write_bytes(b"torn")
    assert await export(films, tmp_path / "parts", "--part-pairs", "8") == 0
    assert not list((tmp_path / "parts").glob(".*"))
    assert rows(tmp_path / "parts") == rows(tmp_path / "whole")
    assert await export(films, tmp_path / "parts") == 0
    assert len(rows(tmp_path / "parts")) == 30


async def test_a_folder_holds_one_export(films: Running, tmp_path: Path) -> None:
    await made(films)
    await export(films, tmp_path / "out")
    for other in (("--label", "positive"), ("--since", "2023-11-14"), ("--model-version", "2")):
        with pytest.raises(UsageError, match="another export"):
            await export(films, tmp_path / "out", *other)
    # A collection of the same name, created later, is another one.
    await films.service.stores.collections.delete("films")
    await shelf(films.service.stores, "films", [])
    with pytest.raises(UsageError, match="another export"):
        await export(films, tmp_path / "out")
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file"):
        PairFolder(tmp_path / "file", {})


async def test_nothing_to_export(films: Running, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert await export(films, tmp_path / "out") == 0
    assert capsys.readouterr().out.startswith("0 pairs in 0 parts")
    assert list((tmp_path / "out").iterdir()) == []


async def test_what_is_missing_is_named(films: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = ("export-pairs", "films", "--out", str(tmp_path / "out"), "--model-version", "1")
    with pytest.raises(RetrievalError, match="admin token"):
        await command(films, *out, settings=Settings())
    monkeypatch.setattr(pair_commands, "find_spec", lambda _name: None)
    with pytest.raises(SettingsError, match=r"pip install 'retrieval-service\[train\]'"):
        await export(films, tmp_path / "out")


@pytest.mark.parametrize("wrong", [("--since", "yesterday"), ("--part-pairs", "0")])
def test_wrong_usage(wrong: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        make_parser().parse_args(["export-pairs", "films", "--out", "x", "--model-version", "1", *wrong])
    assert wrong[1] in capsys.readouterr().err


async def test_progress_on_a_pipe_is_a_log(
    films: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(progress, "_LOG_EVERY_S", 0.0)
    caplog.set_level(logging.INFO, "retrieval.training")
    window = ("--start", "2023-11-14", "--end", "2030-01-01", "--run-id", "r")
    await command(films, "generate-pairs", "films", "--model-version", "1", *window)
    await export(films, tmp_path / "out")
    assert "run r: 6 users, 6 positive and 24 negative pairs" in caplog.text
    assert "30 pairs, part 0" in caplog.text


async def test_as_a_process(films: Running, tmp_path: Path) -> None:
    await made(films)
    out, server = str(tmp_path / "out"), f"127.0.0.1:{films.server.port}"
    ran = await run_command(
        *("export-pairs", "films", "--model-version", "1", "--out", out, "--server", server),
        RETRIEVAL_ADMIN_TOKEN=ADMIN,
    )
    assert ran.code == 0, ran.log
    assert ran.out.startswith("30 pairs in 1 parts")
    assert len(rows(tmp_path / "out")) == 30


def test_moments() -> None:
    assert moment("2023-11-14T22:13:20") == START_US
    assert moment("2023-11-14T23:13:20+01:00") == START_US
    assert moment("2023-11-14T23:13:20Z") == START_US + HOUR_US
    assert moment("1969-12-31T23:59:59.999999") == -1
