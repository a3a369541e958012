"""The command `retrieval` and its subcommands."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from retrieval.bootstrap import migrating
from retrieval.cli.attaching import (
    add_attach_arguments,
    add_detach_arguments,
    add_table_arguments,
    run_attach,
    run_attached,
    run_detach,
    run_resync,
)
from retrieval.cli.backups import run_backup, run_restore
from retrieval.cli.care import add_care_arguments, run_care
from retrieval.cli.loading import load_catalogue
from retrieval.cli.pairs import add_export_arguments, add_generate_arguments, run_export, run_generate
from retrieval.cli.reembedding import add_reembed_arguments, run_reembed
from retrieval.cli.segments import run_build_segment
from retrieval.cli.serving import serve
from retrieval.cli.terminal import configure_logging
from retrieval.cli.training import run_train
from retrieval.client.probe import is_serving
from retrieval.config import Settings, SettingsError, load_settings
from retrieval.domain.errors import RetrievalError

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand; the exit code is 0 on success, 1 when it failed, 2 for wrong usage."""
    options = _parser().parse_args(arguments)
    try:
        settings = load_settings()
        configure_logging(settings.log_level.upper(), getattr(options, "worker", None))
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
    serving = commands.add_parser("serve", help="serve until SIGTERM or Ctrl-C")
    serving.add_argument("--host", help="address to listen on (RETRIEVAL_HOST, 127.0.0.1)")
    serving.add_argument("--port", type=int, help="port to listen on, 0 for any free one (RETRIEVAL_PORT, 50051)")
    serving.add_argument("--migrate", action="store_true", help="bring the database's schema up to date first")
    serving.add_argument("--catalogue", type=Path, metavar="DIR", help="load this catalogue first, where it is not yet")
    serving.add_argument("--memory", action="store_true", help="serve from memory without a database; for tests")
    serving.add_argument(
        "--workers", type=int, metavar="N", help="serve from N processes on the port (RETRIEVAL_WORKERS, 1)"
    )
    serving.add_argument("--worker", type=int, help=argparse.SUPPRESS)  # what the supervisor starts
    migrate = commands.add_parser("migrate", help="move the database's schema")
    migrate.add_argument("direction", choices=("up", "down", "status"))
    migrate.add_argument("--steps", type=int, default=1, help="how many migrations to undo with down")
    load = commands.add_parser("load", help="load a catalogue into a running service")
    load.add_argument("folder", type=Path, metavar="DIR")
    _add_target(load)
    reembed = commands.add_parser("reembed", help="embed a collection's texts by another model; goes on where it was")
    add_reembed_arguments(reembed)
    _add_target(reembed)
    segment = commands.add_parser("build-segment", help="build the next segment of the FAISS cache")
    segment.add_argument("collection")
    segment.add_argument("--version", type=int, default=0, help="embedding version; 0, the default, is the active one")
    segment.add_argument("--attached", action="store_true", help=argparse.SUPPRESS)  # what a server starts
    train = commands.add_parser("train", help="train the co-engagement model of a collection from its events")
    train.add_argument("collection")
    train.add_argument("--fresh", action="store_true", help="begin anew where an earlier run was interrupted")
    train.add_argument("--no-activate", action="store_true", help="register the model only")
    generate = commands.add_parser("generate-pairs", help="make training pairs from the events of a window")
    add_generate_arguments(generate)
    _add_target(generate)
    export = commands.add_parser("export-pairs", help="write training pairs into Parquet files; goes on where it was")
    add_export_arguments(export)
    _add_target(export)
    attach = commands.add_parser("attach", help="have a collection follow a table of the same database")
    add_attach_arguments(attach)
    _add_target(attach)
    attached = commands.add_parser("attached", help="show which tables a collection follows")
    attached.add_argument("collection")
    _add_target(attached)
    resync = commands.add_parser("resync", help="read an attached table again")
    add_table_arguments(resync)
    _add_target(resync)
    detach = commands.add_parser("detach", help="follow a table no more")
    add_detach_arguments(detach)
    _add_target(detach)
    care = commands.add_parser("care", help="show the jobs that come round, or run one now")
    add_care_arguments(care)
    _add_target(care)
    backup = commands.add_parser("backup", help="back up the database, while the service goes on")
    backup.add_argument("file", type=Path, metavar="FILE", help="written with FILE.manifest.json beside it")
    restoring = commands.add_parser("restore", help="restore a backup into a database that no service uses")
    restoring.add_argument("file", type=Path, metavar="FILE")
    restoring.add_argument("--replace", action="store_true", help="delete the collections that the database has")
    health = commands.add_parser("health", help="exit 0 when the service says SERVING")
    _add_target(health)
    return parser


def _add_target(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--target", "--server", default="127.0.0.1:50051", help="host:port of the service")
    parser.add_argument("--ca", type=Path, metavar="FILE", help="by TLS, trusting the certificates in this PEM file")


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
    await load_catalogue(options.target, options.folder, settings, options.ca)
    return 0


async def _health(_settings: Settings, options: argparse.Namespace) -> int:
    return 0 if await is_serving(options.target, ca=options.ca) else 1


_COMMANDS = {
    "serve": serve,
    "migrate": _migrate,
    "load": _load,
    "reembed": run_reembed,
    "build-segment": run_build_segment,
    "train": run_train,
    "generate-pairs": run_generate,
    "export-pairs": run_export,
    "attach": run_attach,
    "attached": run_attached,
    "resync": run_resync,
    "detach": run_detach,
    "care": run_care,
    "backup": run_backup,
    "restore": run_restore,
    "health": _health,
}

if __name__ == "__main__":
    sys.exit(main())
