"""The command `train`: trains the co-engagement model of a collection and makes it the active one."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from typing import TYPE_CHECKING

from rich.status import Status

from retrieval.bootstrap import train_model
from retrieval.cli.terminal import console

if TYPE_CHECKING:
    import argparse

    from retrieval.config import Settings
    from retrieval.training.run import Progress

log = logging.getLogger("retrieval.train")


async def run_train(settings: Settings, options: argparse.Namespace) -> int:
    """Train; the exit code is 0 once the model is registered and, unless told otherwise, active."""
    started = time.monotonic()
    with Status(f"training on {options.collection}", console=console) as status:
        said = [""]

        def report(progress: Progress) -> None:
            line = f"{options.collection}: step {progress.step} of {progress.steps}, {progress.name}"
            if progress.done:
                line += f", {progress.done:,} events"
            if console.is_terminal:
                status.update(line)
            elif progress.name != said[0]:
                log.info("%s", line)
            said[0] = progress.name

        model = await asyncio.shield(
            train_model(settings, options.collection, report, activate=not options.no_activate, fresh=options.fresh)
        )
    took_s = time.monotonic() - started
    state = "active" if model.active else "registered"
    sys.stdout.write(f"{model.model_type} {model.version} of {options.collection} is {state}, {took_s:.0f} s\n")
    for name in ("hr_100", "ndcg_100", "hr_100.popularity", "ndcg_100.popularity"):
        if name in model.metrics:
            sys.stdout.write(f"  {name:22} {model.metrics[name]:.4f}\n")
    return 0
