"""Postgres is stopped, crashed, cut off and read-only under calls of every kind: they fail as promised, and go on."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from tests.patience import PATIENCE_S
from tests.server.outages import ADMIN_TOKEN, Cluster, Traffic, background_works, own_cluster, prepare
from tests.server.process import server_process, stubs_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

OUTAGES = int(os.environ.get("RETRIEVAL_TEST_OUTAGES", "2"))
"""Stops and starts of each kind; more of them find what is rare."""
RECOVERY_S = float(os.environ.get("RETRIEVAL_TEST_RECOVERY_S", str(PATIENCE_S)))
"""Until everything works again: seconds on an idle machine."""


@pytest.fixture(scope="module")
async def cluster() -> AsyncIterator[Cluster]:
    async with own_cluster() as made:
        yield made


def environment(cluster: Cluster, front: str, folder: Path, **settings: str) -> dict[str, str]:
    return {
        "RETRIEVAL_DATABASE_URL": cluster.url,
        "RETRIEVAL_ADMIN_TOKEN": ADMIN_TOKEN,
        "RETRIEVAL_FRONT": front,
        "RETRIEVAL_CACHE_DIR": str(folder),
        **settings,
    }


@pytest.mark.timeout(600)
@pytest.mark.parametrize("workers", [1, 2])
async def test_restarts_under_load(cluster: Cluster, front: str, workers: int, tmp_path: Path, name: str) -> None:
    settings = environment(cluster, front, tmp_path)
    async with (
        server_process("--migrate", "--workers", str(workers), **settings) as server,
        stubs_for(server.target) as stubs,
    ):
        await prepare(stubs, cluster, name)
        await background_works(stubs, cluster, name, "before", PATIENCE_S)
        traffic = Traffic(stubs, name)
        async with traffic.going_on():
            for number in range(OUTAGES):
                await asyncio.sleep(1)
                await cluster.stop(crash=number % 2 == 1)
                await asyncio.sleep(1)
                await cluster.start()
                await works_again(traffic)
                await background_works(stubs, cluster, name, f"restart-{number}", RECOVERY_S)
            for number in range(OUTAGES):
                await asyncio.sleep(1)
                await cluster.cut_sessions()
                await background_works_soon(traffic, cluster, f"cut-{number}")
        assert not traffic.wrong()
        assert any(code == "UNAVAILABLE" for _, code in traffic.seen), "the outages were felt"
        assert {what for what, code in traffic.seen if code == "OK"} == set(traffic.calls())


async def works_again(traffic: Traffic) -> None:
    """Wait until a write goes through: until then a probe of ours would be refused as any other call."""
    done = traffic.seen["upsert", "OK"]
    async with asyncio.timeout(PATIENCE_S):
        while traffic.seen["upsert", "OK"] == done:
            await asyncio.sleep(0.05)


async def background_works_soon(traffic: Traffic, cluster: Cluster, tag: str) -> None:
    await works_again(traffic)
    await background_works(traffic.stubs, cluster, traffic.name, tag, RECOVERY_S)


async def test_a_read_only_database_takes_no_writes_and_says_so(
    cluster: Cluster, front: str, tmp_path: Path, name: str
) -> None:
    """As a standby does after a failover, until the address leads to the primary again."""
    async with (
        server_process("--migrate", **environment(cluster, front, tmp_path)) as server,
        stubs_for(server.target) as stubs,
    ):
        await prepare(stubs, cluster, name)
        traffic = Traffic(stubs, name)
        try:
            await cluster.configure("default_transaction_read_only = on")
            await cluster.cut_sessions()
            async with traffic.going_on(), asyncio.timeout(PATIENCE_S):
                while not all(
                    traffic.seen[what, "UNAVAILABLE"] > 2 for what in ("upsert", "events", "create and delete")
                ):
                    await asyncio.sleep(0.1)
        finally:
            await cluster.configure("default_transaction_read_only = off")
        assert not traffic.wrong()
        assert "standby" in traffic.details["upsert", "UNAVAILABLE"]
        assert traffic.seen["exact search", "OK"], "reads go on"
        await background_works(stubs, cluster, name, "read-only", PATIENCE_S)


async def test_serve_waits_for_a_database_that_is_away(front: str, tmp_path: Path) -> None:
    async with own_cluster() as cluster:
        await cluster.stop()
        settings = environment(cluster, front, tmp_path)

        async def come_back() -> None:
            await asyncio.sleep(2)
            await cluster.start()

        back = asyncio.create_task(come_back())
        async with server_process("--migrate", **settings) as server:
            await back
            assert any("waiting for the database" in line for line in server.lines)


async def test_workers_outlive_an_outage_in_which_they_die(
    cluster: Cluster, front: str, tmp_path: Path, name: str
) -> None:
    """The parent starts workers anew for as long as the database is away, and does not give up."""
    settings = environment(cluster, front, tmp_path, RETRIEVAL_DATABASE_WAIT_S="1", RETRIEVAL_DRAIN_S="0")
    async with server_process("--migrate", "--workers", "2", **settings) as server:
        await cluster.stop()
        try:
            for line in [line for line in server.lines if " is process " in line]:
                os.kill(int(line.split()[-1]), 9)
            async with asyncio.timeout(PATIENCE_S):
                while sum("ended with 75" in line for line in server.lines) < 6:
                    await asyncio.sleep(0.1)
            assert server.process.returncode is None
        finally:
            await cluster.start()
        async with stubs_for(server.target) as stubs:
            async with asyncio.timeout(PATIENCE_S):
                await stubs.channel.channel_ready()
            await prepare(stubs, cluster, name)
            await background_works(stubs, cluster, name, "after", PATIENCE_S)
