"""What the command `retrieval` takes. Light: it imports nothing that a subcommand does its work with."""

from __future__ import annotations

import argparse
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval.config import MAX_PORT

if TYPE_CHECKING:
    from collections.abc import Callable

LABELS = {"both": None, "positive": True, "negative": False}
JOB_S = 3600.0
"""Time that `care run` gives a job; what it did until then stays done, and it goes on the next time."""
STALLED_S = 600.0
"""Longer than any pause between two attempts at a text."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def make_parser() -> argparse.ArgumentParser:
    """All subcommands; the name of the one that was given is `command`."""
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
    migrate.add_argument("--steps", type=_positive, default=1, help="how many migrations to undo with down")
    load = commands.add_parser("load", help="load a catalogue into a running service")
    load.add_argument("folder", type=Path, metavar="DIR")
    _add_target(load)
    _add_calling(
        commands.add_parser("reembed", help="embed a collection's texts by another model; goes on where it was"),
        _add_reembed,
    )
    segment = commands.add_parser("build-segment", help="build the next segment of the FAISS cache")
    segment.add_argument("collection")
    segment.add_argument("--version", type=int, default=0, help="embedding version; 0, the default, is the active one")
    segment.add_argument("--attached", action="store_true", help=argparse.SUPPRESS)  # what a server starts
    train = commands.add_parser("train", help="train the co-engagement model of a collection from its events")
    train.add_argument("collection")
    train.add_argument("--fresh", action="store_true", help="begin anew where an earlier run was interrupted")
    train.add_argument("--no-activate", action="store_true", help="register the model only")
    _add_calling(
        commands.add_parser("generate-pairs", help="make training pairs from the events of a window"), _add_generate
    )
    _add_calling(
        commands.add_parser("export-pairs", help="write training pairs into Parquet files; goes on where it was"),
        _add_export,
    )
    _add_calling(
        commands.add_parser("attach", help="have a collection follow a table of the same database"), _add_attach
    )
    attached = commands.add_parser("attached", help="show which tables a collection follows")
    attached.add_argument("collection")
    _add_target(attached)
    _add_calling(commands.add_parser("resync", help="read an attached table again"), _add_table)
    _add_calling(commands.add_parser("detach", help="follow a table no more"), _add_detach)
    _add_calling(commands.add_parser("care", help="show the jobs that come round, or run one now"), _add_care)
    backup = commands.add_parser("backup", help="back up the database, while the service goes on")
    backup.add_argument("file", type=Path, metavar="FILE", help="written with FILE.manifest.json beside it")
    restoring = commands.add_parser("restore", help="restore a backup into a database that no service uses")
    restoring.add_argument("file", type=Path, metavar="FILE")
    restoring.add_argument("--replace", action="store_true", help="delete the collections that the database has")
    health = commands.add_parser("health", help="exit 0 when the service says SERVING")
    _add_target(health)
    return parser


def _add_calling(parser: argparse.ArgumentParser, add: Callable[[argparse.ArgumentParser], None]) -> None:
    """A command that calls a running service: its own arguments, and where that is."""
    add(parser)
    _add_target(parser)


def _add_target(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--target", "--server", type=_target, default="127.0.0.1:50051", help="host:port of the service"
    )
    parser.add_argument("--ca", type=Path, metavar="FILE", help="by TLS, trusting the certificates in this PEM file")


def _add_reembed(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("collection")
    parser.add_argument("--model", required=True, help="model that the server embeds texts with")
    parser.add_argument("--dimension", required=True, type=_positive, help="components of its vectors")
    parser.add_argument(
        "--resolutions", type=_resolutions, default=(), metavar="D[,D...]", help="prefixes that get an index each"
    )
    parser.add_argument(
        "--chunk-characters", type=_positive, default=0, metavar="N", help="embed longer texts in parts of so many"
    )
    parser.add_argument("--no-activate", action="store_true", help="leave the active version as it is")
    parser.add_argument(
        "--worker", action="store_true", help="a worker of yours embeds the texts, with a model that the server lacks"
    )
    parser.add_argument(
        "--patience",
        type=float,
        default=STALLED_S,
        metavar="S",
        help=f"give up where no text is embedded for so long ({STALLED_S:.0f})",
    )


def _add_generate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("collection")
    parser.add_argument("--model-version", required=True, help="what the pairs are for")
    parser.add_argument("--start", required=True, type=moment, metavar="TIME", help="first moment, e.g. 2026-01-31")
    parser.add_argument("--end", required=True, type=moment, metavar="TIME", help="moment behind the last")
    parser.add_argument("--negatives", type=int, default=4, metavar="N", help="negatives for each positive (4)")
    parser.add_argument("--history", type=int, default=50, metavar="N", help="events in a history (50)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="chooses among the negatives (0)")
    parser.add_argument("--run-id", default="", metavar="ID", help="go on with this run; default: a new one")


def _add_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("collection")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder of the Parquet parts")
    parser.add_argument("--model-version", required=True, help="what the pairs were made for")
    parser.add_argument("--label", choices=sorted(LABELS), default="both")
    parser.add_argument("--since", type=moment, metavar="TIME", help="only interactions from this moment on")
    parser.add_argument("--part-pairs", type=_positive, default=50_000, metavar="N", help="pairs in a part (50000)")


def _add_attach(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("collection")
    parser.add_argument("binding", type=Path, metavar="FILE", help="the message TableBinding as JSON")
    parser.add_argument("--no-wait", action="store_true", help="return at once, not when all rows are in")


def _add_detach(parser: argparse.ArgumentParser) -> None:
    _add_table(parser)
    parser.add_argument("--delete-items", action="store_true", help="delete the items that came from the table, too")


def _add_table(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("collection")
    parser.add_argument("relation", help="the attached table or view: schema.table")


def _add_care(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", nargs="?", choices=("list", "run"), default="list")
    parser.add_argument("name", nargs="?", default="", help="the job to run")
    parser.add_argument("--timeout", type=float, default=JOB_S, metavar="S", help=f"time it gets ({JOB_S:.0f})")


def moment(text: str) -> int:
    """Microseconds since the epoch of an ISO 8601 date or time; UTC where it does not say."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no date or time like 2026-01-31T12:00") from error
    return (found.replace(tzinfo=found.tzinfo or UTC) - _EPOCH) // timedelta(microseconds=1)


def _target(text: str) -> str:
    """An address that grpcio takes: host:port, [IPv6]:port, or a URI such as unix:/path or dns:///host:port."""
    if re.match(r"[a-z0-9]+:/", text) is None:
        host, _, port = text.rpartition(":")
        bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host.replace(":", " ")
        if not bare or re.search(r"\s", bare) or not port.isdecimal() or not 0 < int(port) <= MAX_PORT:
            raise argparse.ArgumentTypeError(f"{text!r} is not host:port")
    return text


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no positive number")
    return int(text)


def _resolutions(text: str) -> tuple[int, ...]:
    return tuple(_positive(part) for part in text.split(","))
