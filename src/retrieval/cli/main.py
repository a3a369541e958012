"""The command `retrieval`."""

from __future__ import annotations

import logging
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING

import uvloop

from retrieval.cli.arguments import make_parser
from retrieval.cli.terminal import configure_logging
from retrieval.config import UsageError, load_settings
from retrieval.domain.errors import RetrievalError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Coroutine, Sequence
    from typing import Any

    from retrieval.config import Settings

    Command = Callable[[Settings, argparse.Namespace], Coroutine[Any, Any, int]]

log = logging.getLogger("retrieval")

# Only the one that is wanted is imported: a health check need not load FAISS.
_COMMANDS = {
    "serve": "serving:serve",
    "migrate": "migrating:run_migrate",
    "load": "loading:run_load",
    "reembed": "reembedding:run_reembed",
    "build-segment": "segments:run_build_segment",
    "train": "training:run_train",
    "generate-pairs": "pairs:run_generate",
    "export-pairs": "pairs:run_export",
    "attach": "attaching:run_attach",
    "attached": "attaching:run_attached",
    "resync": "attaching:run_resync",
    "detach": "attaching:run_detach",
    "care": "care:run_care",
    "backup": "backups:run_backup",
    "restore": "backups:run_restore",
    "health": "health:run_health",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand; the exit code is 0 on success, 1 when it failed, 2 for wrong usage.

    What an operator can mend is one line on standard error. Anything else is a defect and shows where it is.
    """
    options = make_parser().parse_args(arguments)
    # What goes wrong with a connection is told below; gRPC's own lines would stand beside it.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    try:
        settings = load_settings()
        configure_logging(settings.log_level.upper(), getattr(options, "worker", None))
        return uvloop.run(_command(options.command)(settings, options))
    except UsageError as error:
        return _fail(str(error), 2)
    except RetrievalError as error:
        return _fail(f"{error.message} [{error.reason}]", 1)
    except BrokenPipeError:
        # Whoever read the output has seen enough; what is still buffered must not be written at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        # A file, folder or disk: those that need more words say so themselves.
        log.debug("where it happened", exc_info=True)
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error} [SYSTEM_ERROR]", 1)
    except KeyboardInterrupt:
        return 130


def _command(name: str) -> Command:
    module, function = _COMMANDS[name].split(":")
    found: Command = getattr(import_module(f"retrieval.cli.{module}"), function)
    return found


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"retrieval: {message}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
