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

    All below `xmin` had ended, none from `xmax` on had begun; of those between, `running` had not ended. The change log
    had no row of a transaction from `logged` on. Only up to there the ids are sure to be taken for good: a server that
    crashes forgets the ids of transactions that left nothing in its log, and gives them out again. So `str`, and what
    changed since, go by `logged`; whether a token is reflected goes by `xmax`.
    """

    xmin: int
    xmax: int
    running: frozenset[int]
    logged: int

    @classmethod
    def parse(cls, text: str) -> SnapshotPosition:
        """The position of which `text` is the `str`. Raises: ValueError."""
        match = _FORM.fullmatch(text)
        if match is not None:
            xmin, xmax = int(match[1]), int(match[2])
            made = cls(xmin, xmax, frozenset(int(part) for part in match[3].split(",") if part), xmax)
            if xmin <= xmax < _LIMIT and all(xmin <= xid < xmax for xid in made.running) and str(made) == text:
                return made
        raise ValueError(f"{text!r} is not a position in a change log")

    def __str__(self) -> str:
        return f"{min(self.xmin, self.logged)}:{self.logged}:{','.join(map(str, sorted(self.unfinished)))}"

    @property
    def unfinished(self) -> frozenset[int]:
        """Transactions below `logged` that had not ended."""
        return frozenset(xid for xid in self.running if xid < self.logged)

    def reflects(self, token: str) -> bool:
        """See `Position`."""
        transaction_id = read_token(token)
        return transaction_id < self.xmax and transaction_id not in self.running
