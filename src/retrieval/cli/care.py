"""The command `care`: the jobs that come round as a table, and running one now."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from retrieval.client.maintenance import maintenance_of
from retrieval.config import SettingsError

if TYPE_CHECKING:
    import argparse

    from retrieval.config import Settings
    from retrieval.v1.maintenance_service_pb2 import MaintenanceJob, MaintenanceRun

LIST_S = 30.0
PIPE_WIDTH = 200


async def run_care(settings: Settings, options: argparse.Namespace) -> int:
    """Show the jobs, or run one; the exit code is 1 where it failed."""
    if (options.action == "run") != bool(options.name):
        raise SettingsError("care run NAME runs a job; care, or care list, shows all")
    async with maintenance_of(options.target, settings.admin_token, options.ca) as maintenance:
        if options.action == "list":
            jobs = await maintenance.jobs(timeout_s=LIST_S)
            # On a pipe there is no width to go by.
            Console(width=None if sys.stdout.isatty() else PIPE_WIDTH).print(_table(list(jobs)))
            return 0
        run = await maintenance.run(options.name, timeout_s=options.timeout)
    sys.stdout.write(f"{options.name}: {_outcome(run)}, {run.affected} affected in {_duration(run)}{_more(run)}\n")
    return 0 if run.outcome == run.OUTCOME_SUCCEEDED else 1


def _table(jobs: list[MaintenanceJob]) -> Table:
    table = Table("job", "every", "last run", "took", "outcome", "affected", "next run", "failures", "what", box=None)
    for job in jobs:
        run = job.last_run if job.HasField("last_run") else None
        if job.continuous:
            state = "running" if job.running else "not here"
            lag = job.lag.ToTimedelta().total_seconds()
            state += f", {_span(lag)} behind" if lag else ""
        else:
            state = "never ran" if run is None else _outcome(run)
        last = job.last_success_at if job.continuous else (run.started_at if run is not None else None)
        table.add_row(
            job.name,
            _span(job.interval.ToTimedelta().total_seconds()),
            _moment(last.ToMicroseconds()) if last is not None and last.ByteSize() else "",
            "" if run is None else _duration(run),
            state,
            "" if run is None else str(run.affected),
            _moment(job.next_run_at.ToMicroseconds()) if job.HasField("next_run_at") else "",
            str(job.consecutive_failures),
            job.description + ("" if run is None else _more(run)),
        )
    return table


def _outcome(run: MaintenanceRun) -> str:
    return run.Outcome.Name(run.outcome).removeprefix("OUTCOME_").lower()


def _more(run: MaintenanceRun) -> str:
    return "".join(f"; {text}" for text in (run.detail, run.error) if text)


def _duration(run: MaintenanceRun) -> str:
    return f"{run.duration.ToTimedelta().total_seconds():.1f} s" if run.HasField("duration") else ""


def _span(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


def _moment(micros: int) -> str:
    return datetime.fromtimestamp(micros / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
