"""TrainingService over the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import numpy as np
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from retrieval.client import RetrievalClient, error_reason
from retrieval.transport import training_servicer
from retrieval.v1 import training_service_pb2 as pb
from tests.training import END_US, HOUR_US, START_US, event, item, shelf
from tests.transport.conftest import Running, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ADMIN = "test-admin-token"
NOT_FOUND, EXISTS = grpc.StatusCode.NOT_FOUND, grpc.StatusCode.ALREADY_EXISTS
INVALID, PRECONDITION = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION


@pytest.fixture
async def started(front: str) -> AsyncIterator[Running]:
    """Three users who viewed many films, liked one and rated one."""
    async with running(front, admin_token=ADMIN) as run:
        films = await shelf(run.service.stores, "films", [item(f"i{n}") for n in range(40)])
        for user in ("ann", "bob\nline", "eve"):
            views = [event(user, f"i{n}", "view", n) for n in range(10, 30)]
            rated = event(user, "i1", "rating", 2.5, 4.5, dwell=900)
            await run.service.stores.events.record(films, [event(user, "i0", "like", 1), rated, *views])
        async with RetrievalClient(f"127.0.0.1:{run.server.port}", admin_token=ADMIN) as client:
            yield Running(run.service, run.server, client)


def moment(micros: int) -> Timestamp:
    return Timestamp(seconds=micros // 1_000_000, nanos=micros % 1_000_000 * 1000)


def request(**fields: object) -> pb.GenerateTrainingPairsRequest:
    given = {
        "collection": "films",
        "model_version": "1",
        "window_start": moment(START_US),
        "window_end": moment(END_US),
    } | fields
    return pb.GenerateTrainingPairsRequest(**{name: value for name, value in given.items() if value is not None})


async def streamed(run: Running, **fields: object) -> list[pb.StreamTrainingPairsResponse]:
    wanted = pb.StreamTrainingPairsRequest(**({"collection": "films", "model_version": "1"} | fields))
    return [batch async for batch in run.client.training.stream_pairs(wanted)]


async def refused(call: object) -> tuple[grpc.StatusCode, str, list[str]]:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call  # type: ignore[misc]
    reason, fields = error_reason(raised.value)
    return raised.value.code(), reason, [path for path, _ in fields]


async def test_a_run_in_parts(started: Running) -> None:
    training = started.client.training
    first = await training.generate_pairs(request(max_users=2))
    assert first.run_id
    assert (first.resume_token, first.user_count, first.positive_count, first.negative_count) == (
        first.run_id,
        2,
        4,
        16,
    )
    last = await training.generate_pairs(request(run_id=first.resume_token))
    assert last == pb.GenerateTrainingPairsResponse(
        run_id=first.run_id, positive_count=6, negative_count=24, user_count=3
    )
    assert await training.generate_pairs(request(run_id=first.run_id)) == last
    code, reason, _ = await refused(training.generate_pairs(request(run_id=first.run_id, seed=1)))
    assert (code, reason) == (PRECONDITION, "RUN_ID_REUSED")


async def test_a_pair_says_what_is_known(started: Running) -> None:
    await started.client.training.generate_pairs(request(user_ids=["ann"], run_id="r"))
    (batch,) = await streamed(started)
    pair = next(p for p in batch.pairs if p.item_id == "i1")
    assert np.frombuffer(pair.embedding_float32_le, "<f4").tolist() == [1, 0, 0, 0]
    pair.ClearField("embedding_float32_le")
    expected = pb.TrainingPair(
        user_id="ann",
        item_id="i1",
        label=True,
        engagement_type="rating",
        interaction_at=moment(START_US + 5 * HOUR_US // 2),
        dwell_ms=900,
        value=4.5,
        history=[pb.PairHistoryEntry(item_id="i0", type="like", occurred_at=moment(START_US + HOUR_US))],
        item=pb.ItemSnapshot(
            owner_id="owner-of-i1",
            text="text of i1",
            tags=["a", "b"],
            created_at=moment(START_US - 1000 * HOUR_US),
            counts=pb.ItemCounts(),
        ),
        embedding_version=1,
        model_version="1",
        run_id="r",
    )
    expected.item.attributes["labels"].keywords.values.extend(["x", "y"])
    expected.item.attributes["price"].double = 2.0
    expected.item.attributes["year"].int64 = 1999
    assert pair == expected


async def test_streams_go_on_after_any_batch(started: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    await started.client.training.generate_pairs(request())
    (whole,) = await streamed(started)
    assert len(whole.pairs) == 30
    monkeypatch.setattr(training_servicer, "BATCH_PAIRS", 9)
    batches = await streamed(started)
    assert [len(b.pairs) for b in batches] == [9, 9, 9, 3]
    assert [p for b in batches for p in b.pairs] == list(whole.pairs)
    for place, batch in enumerate(batches):
        rest = await streamed(started, resume_token=batch.resume_token)
        assert [p for b in rest for p in b.pairs] == [p for b in batches[place + 1 :] for p in b.pairs]
    monkeypatch.setattr(training_servicer, "BATCH_BYTES", 1)
    assert [len(b.pairs) for b in await streamed(started)] == [1] * 30


async def test_a_selection_of_pairs(started: Running) -> None:
    await started.client.training.generate_pairs(request())
    (positives,) = await streamed(started, label=pb.PAIR_LABEL_POSITIVE)
    (negatives,) = await streamed(started, label=pb.PAIR_LABEL_NEGATIVE)
    assert (len(positives.pairs), len(negatives.pairs)) == (6, 24)
    assert all(p.label for p in positives.pairs)
    assert not any(p.label for p in negatives.pairs)
    (rated,) = await streamed(started, label=pb.PAIR_LABEL_POSITIVE, since=moment(START_US + 2 * HOUR_US))
    assert {p.engagement_type for p in rated.pairs} == {"rating"}
    assert await streamed(started, model_version="other") == []
    token = positives.resume_token
    for fields in ({}, {"label": pb.PAIR_LABEL_NEGATIVE}, {"model_version": "2"}):
        code, reason, paths = await refused(streamed(started, resume_token=token, **fields))
        assert (code, reason, paths) == (INVALID, "BAD_PAGE_TOKEN", ["resume_token"])


async def test_a_caller_may_leave_a_stream(started: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_servicer, "BATCH_PAIRS", 1)
    await started.client.training.generate_pairs(request())
    wanted = pb.StreamTrainingPairsRequest(collection="films", model_version="1")
    batches = started.client.training.stream_pairs(wanted)
    first = await anext(batches)
    await batches.aclose()
    assert len(await streamed(started, resume_token=first.resume_token)) == 29


async def test_pairs_are_for_administrators(started: Running) -> None:
    """They show what users did, and items whatever their visibility."""
    await started.client.training.generate_pairs(request())
    for token in ("", "wrong"):
        async with RetrievalClient(f"127.0.0.1:{started.server.port}", admin_token=token) as stranger:
            other = replace_client(started, stranger)
            assert await refused(streamed(other)) == (grpc.StatusCode.PERMISSION_DENIED, "ADMIN_TOKEN_REQUIRED", [])


def replace_client(run: Running, client: RetrievalClient) -> Running:
    return Running(run.service, run.server, client)


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"collection": ""}, "collection"),
        ({"window_start": None}, "window_start"),
        ({"window_end": None}, "window_end"),
        ({"window_end": moment(START_US)}, "window_end"),
        ({"window_start": Timestamp(seconds=10**15)}, "window_start"),
        ({"negatives_per_positive": -1}, "negatives_per_positive"),
        ({"negatives_per_positive": 101}, "negatives_per_positive"),
        ({"history_length": 1001}, "history_length"),
        ({"model_version": ""}, "model_version"),
        ({"model_version": "a\n"}, "model_version"),
        ({"model_version": "a" * 129}, "model_version"),
        ({"user_ids": ["a", ""]}, "user_ids[1]"),
        ({"user_ids": ["a"] * 1001}, "user_ids"),
        ({"run_id": "a" * 129}, "run_id"),
        ({"max_users": -1}, "max_users"),
    ],
)
async def test_bad_runs(started: Running, fields: dict[str, object], path: str) -> None:
    assert await refused(started.client.training.generate_pairs(request(**fields))) == (
        INVALID,
        "INVALID_REQUEST",
        [path],
    )


async def test_bad_streams(started: Running) -> None:
    assert (await refused(streamed(started, collection="")))[2] == ["collection"]
    assert (await refused(streamed(started, model_version="")))[2] == ["model_version"]
    assert (await refused(streamed(started, label=9)))[1:] == ("UNKNOWN_ENUM_VALUE", ["label"])
    assert (await refused(streamed(started, resume_token="x")))[1:] == ("BAD_PAGE_TOKEN", ["resume_token"])
    assert (await refused(streamed(started, collection="none")))[:2] == (NOT_FOUND, "COLLECTION_NOT_FOUND")


async def test_the_life_of_a_model(started: Running) -> None:
    training = started.client.training
    run_id = (await training.generate_pairs(request())).run_id
    made = await training.register_model(
        "films",
        "two-tower",
        "1",
        metrics={"auc": 0.9},
        parameters={"layers": [64, 32], "dropout": 0.5},
        artifact_uri="s3://models/1",
        training_run_ids=(run_id,),
    )
    assert made == await training.get_model("films", "two-tower", "1")
    assert (made.metrics, dict(made.parameters)["dropout"]) == ({"auc": 0.9}, 0.5)
    assert (made.artifact_uri, list(made.training_run_ids)) == ("s3://models/1", [run_id])
    assert made.HasField("created_at")
    assert not made.active
    assert not made.HasField("activated_at")
    assert (await refused(training.register_model("films", "two-tower", "1")))[:2] == (EXISTS, "MODEL_VERSION_EXISTS")
    nothing = training.register_model("films", "two-tower", "2", training_run_ids=("nothing",))
    assert (await refused(nothing))[:2] == (NOT_FOUND, "TRAINING_RUN_NOT_FOUND")
    assert (await refused(training.get_model("films", "two-tower")))[:2] == (NOT_FOUND, "MODEL_VERSION_NOT_FOUND")
    assert (await training.activate_model("films", "two-tower", "1")).active
    assert (await refused(training.rollback_model("films", "two-tower")))[:2] == (PRECONDITION, "NO_PREVIOUS_VERSION")
    await training.register_model("films", "two-tower", "2")
    await training.activate_model("films", "two-tower", "2")
    active = await training.get_model("films", "two-tower")
    assert (active.version, active.HasField("activated_at")) == ("2", True)
    assert (await training.rollback_model("films", "two-tower")).version == "1"
    assert (await training.get_model("films", "two-tower")).version == "1"
    missing = training.activate_model("films", "two-tower", "3")
    assert (await refused(missing))[:2] == (NOT_FOUND, "MODEL_VERSION_NOT_FOUND")


async def test_pages_of_models(started: Running) -> None:
    training = started.client.training
    for number in range(7):
        await training.register_model("films", "ranker" if number % 2 else "tower", str(number))
    seen, token = [], ""
    while True:
        page = await training.list_models("films", page_size=3, page_token=token)
        seen += [(m.model_type, m.version) for m in page.model_versions]
        token = page.next_page_token
        if not token:
            break
    assert seen == [("ranker", n) for n in "135"] + [("tower", n) for n in "0246"]
    towers = await training.list_models("films", "tower", page_size=4)
    assert ([m.version for m in towers.model_versions], towers.next_page_token) == (list("0246"), "")
    token = (await training.list_models("films", page_size=3)).next_page_token
    assert (await refused(training.list_models("films", "tower", page_token=token)))[1] == "BAD_PAGE_TOKEN"


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"model_type": ""}, "model_version.model_type"),
        ({"model_type": "A"}, "model_version.model_type"),
        ({"model_type": "a" * 64}, "model_version.model_type"),
        ({"version": ""}, "model_version.version"),
        ({"metrics": {"": 1.0}}, "model_version.metrics"),
        ({"metrics": {"auc": float("nan")}}, "model_version.metrics['auc']"),
        ({"metrics": {str(n): 1.0 for n in range(101)}}, "model_version.metrics"),
        ({"artifact_uri": "a" * 2049}, "model_version.artifact_uri"),
        ({"parameters": {"a": "b" * 70_000}}, "model_version.parameters"),
        ({"training_run_ids": ("",)}, "model_version.training_run_ids[0]"),
        ({"training_run_ids": ("a",) * 101}, "model_version.training_run_ids"),
    ],
)
async def test_bad_models(started: Running, fields: dict[str, object], path: str) -> None:
    given = {"model_type": "tower", "version": "1"} | fields
    refusal = await refused(started.client.training.register_model("films", **given))
    assert refusal == (INVALID, "INVALID_REQUEST", [path])
    assert not (await started.client.training.list_models("films")).model_versions


async def test_a_model_is_required(started: Running) -> None:
    call = started.client.training.stub.RegisterModelVersion(pb.RegisterModelVersionRequest(collection="films"))
    assert await refused(call) == (INVALID, "INVALID_REQUEST", ["model_version"])
