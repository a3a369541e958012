"""The command `retrieval`: serve, migrate, load, health."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import gc
import logging
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from retrieval.bootstrap import migrating, serving
from retrieval.cli.loading import load_catalogue
from retrieval.cli.terminal import configure_logging
from retrieval.cli.welcome import print_welcome
from retrieval.client.probe import is_serving
from retrieval.config import Settings, SettingsError, load_settings
from retrieval.domain.errors import RetrievalError

if TYPE_CHECKING:
    from collections.abc import Sequence

log = logging.getLogger("retrieval")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand; the exit code is 0 on success, 1 when it failed, 2 for wrong usage."""
    options = _parser().parse_args(arguments)
    try:
        settings = load_settings()
        configure_logging(settings.log_level.upper())
        return uvloop.run(_COMMANDS[options.command](settings, options))
    except SettingsError as error:
        return _fail(str(error), 2)
    except RetrievalError as error:
        return _fail(f"{error.message} [{error.reason}]", 1)
    except ValueError as error:
        return _fail(str(error), 2)
    except KeyboardInterrupt:
        return 130


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"retrieval: {message}\n")
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="retrieval", description="Vector retrieval over gRPC.")
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="serve until SIGTERM or Ctrl-C")
    serve.add_argument("--host", help="address to listen on (RETRIEVAL_HOST, 127.0.0.1)")
    serve.add_argument("--port", type=int, help="port to listen on, 0 for any free one (RETRIEVAL_PORT, 50051)")
    serve.add_argument("--migrate", action="store_true", help="bring the database's schema up to date first")
    serve.add_argument("--catalogue", type=Path, metavar="DIR", help="load this catalogue first, where it is not yet")
    serve.add_argument("--memory", action="store_true", help="serve from memory without a database; for tests")
    migrate = commands.add_parser("migrate", help="move the database's schema")
    migrate.add_argument("direction", choices=("up", "down", "status"))
    migrate.add_argument("--steps", type=int, default=1, help="how many migrations to undo with down")
    load = commands.add_parser("load", help="load a catalogue into a running service")
    load.add_argument("folder", type=Path, metavar="DIR")
    load.add_argument("--target", default="127.0.0.1:50051", help="host:port of the service")
    health = commands.add_parser("health", help="exit 0 when the service says SERVING")
    health.add_argument("--target", default="127.0.0.1:50051", help="host:port of the service")
    return parser


async def _serve(settings: Settings, options: argparse.Namespace) -> int:
    changed = {name: getattr(options, name) for name in ("host", "port") if getattr(options, name) is not None}
    settings = dataclasses.replace(settings, **changed)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with serving(
        settings, migrate=options.migrate, memory=options.memory, warming=options.catalogue is not None
    ) as server:
        target = f"{'127.0.0.1' if settings.host in {'0.0.0.0', '::'} else settings.host}:{server.port}"  # noqa: S104
        if options.catalogue is not None:
            loading = asyncio.create_task(load_catalogue(target, options.catalogue, settings))
            stopped = asyncio.create_task(stop.wait())
            await asyncio.wait({loading, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not loading.done():
                loading.cancel()
                await asyncio.gather(loading, return_exceptions=True)
                return 0
            stopped.cancel()
            name = await loading
            server.ready()
            print_welcome(target, name)
        # What is there now stays: the collector need not walk it again, and passes over short-lived objects are rarer.
        gc.freeze()
        gc.set_threshold(10_000, 20, 20)
        log.info("serving on %s:%d", settings.host, server.port)
        await stop.wait()
        log.info("draining")
    return 0


async def _migrate(settings: Settings, options: argparse.Namespace) -> int:
    async with migrating(settings) as migrator:
        if options.direction == "status":
            for status in await migrator.status():
                migration = status.migration
                sys.stdout.write(f"{migration.number:04d} {migration.name:32} {status.applied_at or 'missing'}\n")
            return 0
        if options.direction == "up":
            count = await migrator.up()
        else:
            count = await migrator.down(options.steps)
        sys.stdout.write(f"{count} migrations {'applied' if options.direction == 'up' else 'undone'}\n")
    return 0


async def _load(settings: Settings, options: argparse.Namespace) -> int:
    await load_catalogue(options.target, options.folder, settings)
    return 0


async def _health(_settings: Settings, options: argparse.Namespace) -> int:
    return 0 if await is_serving(options.target) else 1


_COMMANDS = {"serve": _serve, "migrate": _migrate, "load": _load, "health": _health}

if __name__ == "__main__":
    sys.exit(main())
