"""What Postgres says of a statement that it has run."""

from __future__ import annotations


def affected(status: str) -> int:
    """How many rows a statement wrote, by its status: `INSERT 0 3`, `DELETE 3`."""
    return int(status.rpartition(" ")[2])
