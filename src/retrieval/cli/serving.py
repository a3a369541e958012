"""`retrieval serve`: one server in this process, or workers and their supervisor."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import dataclasses
import gc
import logging
import os
import signal
import sys
from typing import TYPE_CHECKING

from retrieval.bootstrap import prepared_database, serving
from retrieval.cli.loading import collection_name, load_catalogue
from retrieval.cli.welcome import print_welcome
from retrieval.config import SettingsError, to_environment
from retrieval.domain.errors import UnavailableError
from retrieval.transport.fronts.choice import check_front
from retrieval.transport.fronts.front import Address
from retrieval.workers.line import STORE_AWAY, SupervisorLine
from retrieval.workers.port import reserved
from retrieval.workers.supervisor import Supervisor

if TYPE_CHECKING:
    import argparse
    from collections.abc import Coroutine
    from pathlib import Path
    from typing import Any

    from retrieval.config import Settings

log = logging.getLogger("retrieval")

KEPT_ARRAY_BYTES = 4 * 2**20
KEPT_FREE_BYTES = 32 * 2**20
"""Up to so much a freed array, and free memory in all, stays with the process."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc


async def serve(settings: Settings, options: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code."""
    changed = {name: value for name in ("host", "port", "workers") if (value := getattr(options, name)) is not None}
    settings = dataclasses.replace(settings, **changed)
    if settings.tls and options.catalogue is not None:
        raise SettingsError("--catalogue loads in plain text: with TLS, load it later with retrieval load --ca")
    # What is wrong with them is said before anything is started.
    check_front(settings)
    if options.catalogue is not None:
        collection_name(options.catalogue)
    stop = asyncio.Event()
    _heed_signals(stop)
    if options.worker is not None:
        return await _work(settings, stop)
    if settings.workers > 1:
        await _supervise(settings, options, stop)
    else:
        await _serve_alone(settings, options, stop)
    return 0


def _heed_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # as nohup has it
        return
    # A terminal that is gone ends what was started on it; to others the signal says "read your settings anew". Asked
    # now: one that is gone is no terminal any more.
    loop.add_signal_handler(signal.SIGHUP, stop.set if sys.stderr.isatty() else _ignore_hang_up)


def _ignore_hang_up() -> None:
    log.info("SIGHUP is ignored: settings are read at the start; to change them, start the service anew")


async def _serve_alone(settings: Settings, options: argparse.Namespace, stop: asyncio.Event) -> None:
    async with serving(
        settings, migrate=options.migrate, memory=options.memory, warming=options.catalogue is not None
    ) as server:
        if options.catalogue is not None:
            if not await _load(settings, server.port, options.catalogue, stop):
                return
            server.ready()
        _settle()
        log.info("serving on %s:%d", settings.host, server.port)
        await stop.wait()
        log.info("draining")


async def _supervise(settings: Settings, options: argparse.Namespace, stop: asyncio.Event) -> None:
    if options.memory:
        raise SettingsError("--memory keeps everything in one process: it takes RETRIEVAL_WORKERS=1")
    with reserved(Address(settings.host, settings.port)) as port:
        async with prepared_database(settings, migrate=options.migrate) as url:
            settings = dataclasses.replace(settings, port=port, database_url=url)
            command = (sys.executable, "-m", "retrieval.cli.main", "serve")
            supervisor = Supervisor(
                command,
                os.environ | to_environment(settings),
                settings.workers,
                settings.drain_s,
                settings.database_wait_s,
            )
            try:
                if not await _unless(stop, supervisor.start()):
                    return
                if options.catalogue is not None and not await _load(settings, port, options.catalogue, stop):
                    return
                supervisor.serve()
                log.info("serving on %s:%d", settings.host, port)
                await _unless(stop, supervisor.failed())
                log.info("draining")
            finally:
                await supervisor.stop()


async def _work(settings: Settings, stop: asyncio.Event) -> int:
    """Serve as one of several processes; returns the exit code."""
    line = SupervisorLine(stop)
    listening = asyncio.create_task(line.listen())  # awaited: below
    try:
        async with serving(settings, warming=True, reuse_port=True) as server:
            _settle()
            line.ready()
            log.info("ready")
            if await _unless(stop, line.serving.wait()):
                server.ready()
            await stop.wait()
            log.info("draining")
    except UnavailableError as error:
        if error.reason not in {UnavailableError.reason, "DATABASE_UNREACHABLE"}:
            raise
        log.warning("gives up: %s", error.message)
        return STORE_AWAY
    else:
        return 0
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


async def _load(settings: Settings, port: int, folder: Path, stop: asyncio.Event) -> bool:
    """Load a catalogue through the service itself; False when told to stop first."""
    target = f"{'127.0.0.1' if settings.host in {'0.0.0.0', '::'} else settings.host}:{port}"  # noqa: S104
    if not await _unless(stop, load_catalogue(target, folder, settings)):
        return False
    print_welcome(target, collection_name(folder))
    return True


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, object]) -> bool:
    """Whether `work` came to its end before `stop`, which cancels it. Its error is passed on."""
    working = asyncio.create_task(work)  # awaited: below
    stopped = asyncio.create_task(stop.wait())  # awaited: below
    try:
        await asyncio.wait({working, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            await working
            return True
        return False
    finally:
        for task in (working, stopped):
            task.cancel()
        await asyncio.gather(working, stopped, return_exceptions=True)


def _settle() -> None:
    """What is there now stays: the collector need not walk it again, and passes over short-lived objects are rarer."""
    _keep_freed_memory()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
    # The thread that answers hot calls waits this long for one that computes; the default is 5 ms.
    sys.setswitchinterval(0.001)


def _keep_freed_memory() -> None:
    """Let the C library keep what is freed for the next search, rather than return its pages and fault them in anew.

    Arrays of a batch of 64 are beyond glibc's defaults (mallopt(3): 128 KiB); a twelfth of the time went there.
    """
    with contextlib.suppress(AttributeError):  # other C libraries have no such call
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, KEPT_ARRAY_BYTES)
        mallopt(_M_TRIM_THRESHOLD, KEPT_FREE_BYTES)
