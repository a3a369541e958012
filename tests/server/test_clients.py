"""The clients engineers use: grpcurl and buf curl, against a real server."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from tests.patience import PATIENCE_S
from tests.server.process import BIN, Stubs, create, random_items, server_process, upsert
from tests.transport.test_fronts import TLS

if TYPE_CHECKING:
    from tests.server.process import ServerProcess


async def _run(*command: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    return process.returncode or 0, out.decode(), err.decode()


async def _grpcurl(*arguments: str) -> tuple[int, str, str]:
    return await _run(str(BIN / "grpcurl"), "-plaintext", *arguments)


async def test_grpcurl_lists_and_describes(server: ServerProcess) -> None:
    code, out, err = await _grpcurl(server.target, "list")
    assert code == 0, err
    assert {
        "retrieval.v1.RetrievalService",
        "retrieval.v1.CollectionService",
        "retrieval.v1.ItemService",
        "retrieval.v1.FeedbackService",
        "retrieval.v1.TrainingService",
        "retrieval.v1.ProfileService",
        "retrieval.v1.EmbeddingJobService",
        "retrieval.v1.MaintenanceService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    } <= set(out.split())
    code, out, err = await _grpcurl(server.target, "describe", "retrieval.v1.SearchOptions")
    assert code == 0, err
    assert "score_threshold" in out


async def test_grpcurl_searches(server: ServerProcess, stubs: Stubs, name: str) -> None:
    await create(stubs, name)
    await upsert(stubs, name, random_items(0, 20))
    body = {"collection": name, "item_ids": ["item-000003"], "options": {"limit": 3}}
    code, out, err = await _grpcurl(
        "-d", json.dumps(body), server.target, "retrieval.v1.RetrievalService/SearchSimilarItems"
    )
    assert code == 0, err
    reply = json.loads(out)
    assert len(reply["hits"]) == 3
    assert reply["info"]["source"] == "SOURCE_FAISS"


async def test_grpcurl_shows_what_is_wrong(server: ServerProcess, stubs: Stubs, name: str) -> None:
    await create(stubs, name)
    body = {"collection": name, "vector": {"floats": {"values": [1, 2, 3]}}}
    code, _, err = await _grpcurl(
        "-d", json.dumps(body), server.target, "retrieval.v1.RetrievalService/SearchMatryoshka"
    )
    assert code != 0
    assert "InvalidArgument" in err
    assert "DIMENSION_MISMATCH" in err


async def test_buf_curl_searches(server: ServerProcess, stubs: Stubs, name: str) -> None:
    await create(stubs, name)
    await upsert(stubs, name, random_items(0, 20))
    body = {"collection": name, "item_ids": ["item-000003"]}
    code, out, err = await _run(
        str(BIN / "buf"),
        "curl",
        "--protocol",
        "grpc",
        "--http2-prior-knowledge",
        "--data",
        json.dumps(body),
        f"http://{server.target}/retrieval.v1.RetrievalService/SearchSimilarItems",
    )
    assert code == 0, err
    assert len(json.loads(out)["hits"]) == 10


async def test_clients_by_tls(database_url: str) -> None:
    certificate = str(TLS / "certificate.pem")
    environment = {
        "RETRIEVAL_DATABASE_URL": database_url,
        "RETRIEVAL_TLS_CERTIFICATE": certificate,
        "RETRIEVAL_TLS_KEY": str(TLS / "key.pem"),
    }
    async with server_process("--migrate", **environment) as server:
        health = (str(BIN / "python"), "-m", "retrieval.cli.main", "health", "--target", server.target)
        code, _, err = await _run(*health, "--ca", certificate)
        assert code == 0, err
        code, _, _ = await _run(*health)
        assert code == 1
        code, out, err = await _run(str(BIN / "grpcurl"), "-cacert", certificate, server.target, "list")
        assert code == 0, err
        assert "retrieval.v1.RetrievalService" in out


async def test_health_command(server: ServerProcess) -> None:
    code, _, err = await _run(str(BIN / "python"), "-m", "retrieval.cli.main", "health", "--target", server.target)
    assert code == 0, err
    code, _, _ = await _run(str(BIN / "python"), "-m", "retrieval.cli.main", "health", "--target", "127.0.0.1:1")
    assert code == 1
