"""Positions in the change log: the snapshots of PostgreSQL, as its documentation describes `pg_snapshot`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from retrieval.postgres.tokens import read_token

_FORM = re.compile(r"(\d{1,20}):(\d{1,20}):((?:\d{1,20}(?:,\d{1,20})*)?)", re.ASCII)
_LIMIT = 2**64


@dataclass(frozen=True, slots=True)
class SnapshotPosition:
    """Which transactions a look at the store saw; implements `Position`.

    All below `xmin` had ended, none from `xmax` on had begun; of those between, `running` had not ended.
    """

    xmin: int
    xmax: int
    running: frozenset[int]

    @classmethod
    def parse(cls, text: str) -> SnapshotPosition:
        """The position of which `text` is the `str`. Raises: ValueError."""
        match = _FORM.fullmatch(text)
        if match is not None:
            xmin, xmax = int(match[1]), int(match[2])
            made = cls(xmin, xmax, frozenset(int(part) for part in match[3].split(",") if part))
            if xmin <= xmax < _LIMIT and all(xmin <= xid < xmax for xid in made.running) and str(made) == text:
                return made
        raise ValueError(f"{text!r} is not a position in a change log")

    def __str__(self) -> str:
        return f"{self.xmin}:{self.xmax}:{','.join(map(str, sorted(self.running)))}"

    def reflects(self, token: str) -> bool:
        """See `Position`."""
        transaction_id = read_token(token)
        return transaction_id < self.xmax and transaction_id not in self.running
