"""Steps that must not stop each other: one a collection, table or month, say."""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from retrieval.application.task_supervisor import is_outage
from retrieval.domain.errors import RetrievalError

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Iterator

REST_S = 60.0
"""What failed in work that goes on all the time is left alone for so long; the others go on meanwhile."""

log = logging.getLogger(__name__)


class PartlyFailedError(RetrievalError):
    """Some steps failed; all others were done."""

    reason = "PARTLY_FAILED"


class Apart:
    """Runs steps one by one; `failed` names those that did not end well, in order."""

    def __init__(self, work: str) -> None:
        self._work = work
        self.failed: list[str] = []

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """One step: what it raises is logged, and the next goes on. Raises: UnavailableError, which all would meet."""
        try:
            yield
        except Exception as error:
            if is_outage(error):
                raise
            log.exception("%s: %s failed; all else goes on", self._work, name)
            self.failed.append(name)

    def settle(self) -> None:
        """Raises: PartlyFailedError where a step failed."""
        if self.failed:
            raise PartlyFailedError(f"{self._work}: {', '.join(self.failed)} failed; the server log says why")


class Resting:
    """Keys that failed lately."""

    def __init__(self) -> None:
        self._until: dict[Hashable, float] = {}

    def put(self, key: Hashable, seconds: float = REST_S) -> None:
        """Leave the key alone for so long."""
        self._until[key] = time.monotonic() + seconds

    @property
    def keys(self) -> Collection[Hashable]:
        """Those that are to be left alone now."""
        now = time.monotonic()
        self._until = {key: until for key, until in self._until.items() if until > now}
        return self._until.keys()
