"""What attaching tables needs from the store that owns them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from retrieval.domain.model import Collection
    from retrieval.domain.table_binding import TableBinding


class AttachmentState(Enum):
    """Life of an attachment."""

    REQUESTED = "requested"
    BACKFILLING = "backfilling"
    FOLLOWING = "following"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class RowProblem:
    """Why a row became no item, or one without something. `noted_at`: microseconds since the epoch."""

    item_id: str
    problem: str
    noted_at: int


@dataclass(frozen=True, slots=True)
class Attachment:
    """A table that a collection follows.

    `rows_done` of about `rows_total` were read by the backfill in progress, or by the last one; 0: not counted.
    `waiting`: changes that are noted and not applied; `lag_s`: age of the oldest of them. `error`: why it cannot go on.
    """

    attachment_id: int
    relation: str
    binding: TableBinding
    state: AttachmentState
    error: str = ""
    rows_done: int = 0
    rows_total: int = 0
    waiting: int = 0
    lag_s: float = 0.0
    problem_count: int = 0
    problems: tuple[RowProblem, ...] = ()
    created_at: int = 0


class AttachmentStore(Protocol):
    """Tables of applications in the same database, and their likeness in collections."""

    async def attach(self, collection: Collection, binding: TableBinding) -> Attachment:
        """Follow a table from now on, and bring in what it holds, in the background.

        Raises: InvalidArgumentError (UNKNOWN_RELATION, UNKNOWN_COLUMN, COLUMN_TYPE, …) at the binding's field;
        AlreadyExistsError (TABLE_ATTACHED); FailedPreconditionError (TABLE_BUSY, TABLE_NOT_ACCESSIBLE, NO_DATABASE).
        """
        ...

    async def attachments(self, collection: Collection) -> list[Attachment]:
        """All attachments of a collection by relation."""
        ...

    async def detach(self, collection: Collection, relation: str, *, delete_items: bool) -> int:
        """Follow a table no more; returns how many items were deleted with it.

        Raises: NotFoundError (TABLE_NOT_ATTACHED), FailedPreconditionError (TABLE_BUSY).
        """
        ...

    async def resync(self, collection: Collection, relation: str) -> Attachment:
        """Compare the whole table with its items once more, in the background. Raises: NotFoundError as `detach`."""
        ...
