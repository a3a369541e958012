"""The server's own worker, on both stores: every text of a model it knows, failures and outages, a clean stop."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from retrieval.application import embedding_worker
from retrieval.application.embedders import Embedders, LocalTextEmbedder, TextRefused
from retrieval.application.embedding_worker import EmbeddingWorker
from retrieval.application.query_embedder import QueryEmbedder
from retrieval.application.task_supervisor import TaskSupervisor
from retrieval.domain.errors import FailedPreconditionError, UnavailableError
from retrieval.domain.model import EVERYTHING, Collection, EmbeddingVersion, Item, Metric
from retrieval.domain.projection import Projection
from tests.embedding_jobs import DIM, check_texts, create, embed, lease, vectors, write
from tests.embedding_server import BAD_TEXT, EmbeddingServer, Reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from retrieval.application.ports import Stores


class Fake:
    """An embedder in memory whose next answers can be chosen, and that waits when told to."""

    def __init__(self, model: str) -> None:
        self.model, self.dimension, self.batch = model, DIM, 4
        self.seen: list[str] = []
        self.refuse: TextRefused | None = None
        self.go = asyncio.Event()
        self.go.set()

    async def embed(self, texts: Sequence[str], length: int, *, urgent: bool = False) -> list[Any]:
        self.seen += texts
        await self.go.wait()
        return [self.refuse or embed(text, length).astype(np.float32) for text in texts]

    async def close(self) -> None: ...


@pytest.fixture
def fake(name: str) -> Fake:
    # Of this test alone: the database has jobs of other tests.
    return Fake(f"model of {name}")


@asynccontextmanager
async def working(stores: Stores, *embedders: Any, lease_s: float = 60.0) -> AsyncIterator[EmbeddingWorker]:
    worker = EmbeddingWorker(stores, Embedders(*embedders), lease_s)
    worker.start(TaskSupervisor())
    try:
        yield worker
    finally:
        await worker.stop()


async def shelf(stores: Stores, name: str, model: str) -> Collection:
    return await stores.collections.create(Collection(0, name), EmbeddingVersion(0, 0, model, DIM, embeds_text=True))


async def until_idle(stores: Stores, collection: Collection) -> None:
    while True:
        counts = await stores.embedding_jobs.counts(collection, collection.active)
        if not counts.queued and not counts.leased and not counts.retrying:
            return
        await asyncio.sleep(0.01)


async def test_it_embeds_what_is_written(stores: Stores, name: str, fake: Fake) -> None:
    collection = await shelf(stores, name, fake.model)
    async with working(stores, Fake("another model"), fake):
        texts = {f"i{n}": f"text {n}" for n in range(11)}
        await write(stores, collection, *(Item(i, text=t) for i, t in texts.items()))
        await until_idle(stores, collection)
        await check_texts(stores, collection, collection.active, texts)
        await write(stores, collection, Item("i3", text="new"))
        await until_idle(stores, collection)
    await check_texts(stores, collection, collection.active, texts | {"i3": "new"})
    assert sorted(fake.seen) == sorted([*texts.values(), "new"]), "each text once"


async def test_long_texts_are_embedded_in_parts(stores: Stores, name: str, fake: Fake) -> None:
    version = EmbeddingVersion(0, 0, fake.model, DIM, embeds_text=True, chunk_characters=1000)
    collection = await stores.collections.create(Collection(0, name), version)
    long = " ".join(f"Sentence {n} says something." for n in range(100))
    async with working(stores, fake):
        await write(stores, collection, Item("long", text=long), Item("short", text="short"))
        await until_idle(stores, collection)
        items = await stores.items.get(collection, collection.active, ["long", "short"], EVERYTHING, with_chunks=True)
        (whole,) = items["short"].chunks
        assert (whole.chunk_index, whole.text_span) == (0, None)
        chunks = items["long"].chunks
        assert [c.chunk_index for c in chunks] == list(range(len(chunks)))
        spans = [c.text_span for c in chunks if c.text_span is not None]
        assert len(spans) == len(chunks) >= 3
        assert (spans[0][0], spans[-1][1]) == (0, len(long))
        assert all(end - start <= 1000 for start, end in spans)
        for c, (start, end) in zip(chunks, spans, strict=True):
            assert np.array_equal(c.vector, embed(long[start:end]))
        known = await stores.collections.get(name)
        assert (known.active.max_chunks, known.active.has_places) == (len(chunks), True)
        await write(stores, collection, Item("long", text="short again"))
        await until_idle(stores, collection)
    await check_texts(stores, collection, collection.active, {"long": "short again", "short": "short"})


async def test_a_text_fails_with_a_part_of_it(stores: Stores, name: str, fake: Fake) -> None:
    version = EmbeddingVersion(0, 0, fake.model, DIM, embeds_text=True, chunk_characters=1000)
    collection = await stores.collections.create(Collection(0, name), version)
    await write(stores, collection, Item("long", text="word " * 500))
    fake.refuse = TextRefused("not this one", permanent=True)
    async with working(stores, fake):
        await until_idle(stores, collection)
    counts = await stores.embedding_jobs.counts(collection, collection.active)
    assert counts.dead == 1


async def test_a_stop_gives_jobs_back(stores: Stores, name: str, fake: Fake) -> None:
    collection = await shelf(stores, name, fake.model)
    await write(stores, collection, Item("a", text="one"))
    fake.go.clear()
    async with working(stores, fake):
        while not fake.seen:
            await asyncio.sleep(0.01)
        assert (await stores.embedding_jobs.counts(collection, collection.active)).leased == 1
    _, jobs = await lease(stores, collection, collection.active)
    assert [(j.text, j.attempt) for j in jobs] == [("one", 1)]


async def test_jobs_that_end_under_its_hands_do_not_stop_it(stores: Stores, name: str, fake: Fake) -> None:
    collection = await shelf(stores, name, fake.model)
    for refusal in (None, TextRefused("late")):
        fake.refuse = refusal
        fake.seen.clear()
        fake.go.clear()
        await write(stores, collection, Item("a", text="one"))
        working_on = asyncio.create_task(EmbeddingWorker(stores, Embedders(fake)).work())
        while not fake.seen:
            await asyncio.sleep(0.01)
        await stores.items.delete(collection, ["a"], "", b"")
        fake.go.set()
        assert await working_on
    assert await vectors(stores, collection, collection.active, "a") == {}


async def test_it_holds_its_jobs_while_it_works(
    stores: Stores, name: str, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = await shelf(stores, name, fake.model)
    await write(stores, collection, Item("a", text="one"))
    fake.go.clear()
    extended = asyncio.Event()
    extend = stores.embedding_jobs.extend

    async def watched(*arguments: Any) -> int:
        extended.set()
        return await extend(*arguments[:3], 60.0)

    monkeypatch.setattr(stores.embedding_jobs, "extend", watched)
    async with working(stores, fake, lease_s=0.03):
        await extended.wait()
        while not (await stores.embedding_jobs.counts(collection, collection.active)).leased:
            await asyncio.sleep(0.01)
        assert (await lease(stores, collection, collection.active))[1] == []
        fake.go.set()
        await until_idle(stores, collection)
    await check_texts(stores, collection, collection.active, {"a": "one"})


async def test_failures_that_last_are_held(stores: Stores, name: str, fake: Fake) -> None:
    collection = await shelf(stores, name, fake.model)
    await write(stores, collection, Item("a", text="one"))
    fake.refuse = TextRefused("no use", permanent=True)
    async with working(stores, fake):
        await until_idle(stores, collection)
    (dead,) = await stores.embedding_jobs.list_dead(collection, collection.active, 0, 5)
    assert (dead.error, dead.attempts) == ("no use", 1)


async def test_a_model_rests_after_an_outage(
    stores: Stores, name: str, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Jobs that wait keep their attempts while nothing can be embedded."""
    monkeypatch.setattr(embedding_worker, "FIRST_REST_S", 3600.0)
    collection = await shelf(stores, name, fake.model)
    await write(stores, collection, *(Item(f"i{n}", text=f"t{n}") for n in range(10)))
    fake.refuse = TextRefused("down")
    worker = EmbeddingWorker(stores, Embedders(fake))
    assert await worker.work()
    assert not await worker.work()
    assert len(fake.seen) == fake.batch
    counts = await stores.embedding_jobs.counts(collection, collection.active)
    assert (counts.queued, counts.retrying) == (10 - fake.batch, fake.batch)


async def test_what_the_model_cannot_express_is_held(stores: Stores, name: str) -> None:
    class Silent:
        model, dimension = f"silent model of {name}", DIM

        def embed(self, texts: Sequence[str]) -> Any:
            return np.zeros((len(texts), DIM), dtype=np.float32)

    version = EmbeddingVersion(0, 0, Silent.model, 4, embeds_text=True)
    collection = await stores.collections.create(Collection(0, name, Metric.L2), version)
    await write(stores, collection, Item("a", text="???"))
    worker = EmbeddingWorker(stores, Embedders(LocalTextEmbedder(Silent.model, DIM, Silent)))
    assert await worker.work()
    assert (await stores.embedding_jobs.counts(collection, collection.active)).dead == 1


async def test_vectors_of_a_projected_version_are_projected(stores: Stores, name: str, fake: Fake) -> None:
    projection = Projection(np.eye(3, DIM, dtype=np.float32))
    collection = await stores.collections.create(
        Collection(0, name, Metric.L2), EmbeddingVersion(0, 0, fake.model, 3, embeds_text=True), projection
    )
    await write(stores, collection, Item("a", text="one"))
    assert await EmbeddingWorker(stores, Embedders(fake)).work()
    found = await vectors(stores, collection, collection.active, "a")
    np.testing.assert_allclose(found["a"][0], embed("one")[:3], atol=2e-3)


async def test_an_http_server_that_goes_and_comes_back(stores: Stores, name: str) -> None:
    server = EmbeddingServer()
    await server.start()
    embedder = server.embedder()
    embedder.model = f"http model of {name}"
    collection = await shelf(stores, name, embedder.model)
    texts = {f"i{n}": f"text {n}" for n in range(12)}
    await write(stores, collection, *(Item(i, text=t) for i, t in texts.items()), Item("bad", text=BAD_TEXT))
    server.script.extend([Reply(500, b""), Reply(429, b"", {"retry-after": "0"}), Reply(200, b"{")])
    async with working(stores, embedder):
        while len(server.requests) < 4:
            await asyncio.sleep(0.01)
        await server.stop()
        await asyncio.sleep(0.2)
        await server.start()
        await until_idle(stores, collection)
    await check_texts(stores, collection, collection.active, texts)
    (dead,) = await stores.embedding_jobs.list_dead(collection, collection.active, 0, 5)
    assert (dead.item_id, dead.attempts <= 8) == ("bad", True)
    await embedder.close()
    await server.stop()


async def test_a_query_asks_whoever_has_the_model() -> None:
    server = EmbeddingServer()
    await server.start()
    http, fake = server.embedder(), Fake("other")
    embedder = QueryEmbedder(Embedders(fake, http))
    for model in ("model-a", "other"):
        made = await embedder.embed(EmbeddingVersion(1, 1, model, DIM), "cat")
        assert made is not None
        assert np.array_equal(made.astype(np.float16), embed("cat"))
    with pytest.raises(FailedPreconditionError, match=r"'other' with 8, 'model-a' with 8") as missing:
        await embedder.embed(EmbeddingVersion(1, 1, "model-a", DIM + 1), "cat")
    assert missing.value.reason == "NO_QUERY_EMBEDDER"
    await server.stop()
    with pytest.raises(UnavailableError) as raised:
        await embedder.embed(EmbeddingVersion(1, 1, "model-a", DIM), "cat")
    assert raised.value.reason == "EMBEDDER_UNAVAILABLE"
    await http.close()


async def test_a_worker_outlives_its_errors(
    stores: Stores, name: str, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding_worker, "POLL_S", 0.01)
    collection = await create(stores, name, embeds_text=False)
    made = EmbeddingVersion(0, 0, fake.model, DIM, embeds_text=True)
    await stores.collections.create_version(name, made)
    errors: list[Exception] = [UnavailableError("the store is away"), ValueError("a defect")]
    due = stores.embedding_jobs.due

    async def failing() -> list[tuple[str, int]]:
        if errors:
            raise errors.pop()
        return await due()

    monkeypatch.setattr(stores.embedding_jobs, "due", failing)
    async with working(stores, fake):
        await write(stores, collection, Item("a", text="one"))
        version = (await stores.collections.get(name)).versions[1]
        while not await vectors(stores, collection, version, "a"):
            await asyncio.sleep(0.01)
    assert not errors
