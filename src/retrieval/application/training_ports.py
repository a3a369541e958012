"""What training needs from the outside: the interactions of users, a store of pairs, the register of models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retrieval.domain.model import Collection, Event
    from retrieval.domain.model_registry import ModelVersion
    from retrieval.domain.training import ItemCounts, TrainingPair

MAX_COUNTED_EVENTS = 10_000
"""Events of an item that are counted for a pair at most, the latest ones: what a very popular item costs is bounded."""

PairKey = tuple[str, str, int]
"""(user id, item id, interaction time); see `TrainingPair.key`."""


@dataclass(frozen=True, slots=True)
class PairRun:
    """A run that makes pairs. `fingerprint`: a digest of the settings, which never change within a run."""

    run_id: str
    model_version: str
    fingerprint: bytes


@dataclass(frozen=True, slots=True)
class RunProgress:
    """How far a run got: everything up to `last_user_id` is done. Counts are those of the run as a whole."""

    last_user_id: str = ""
    complete: bool = False
    positives: int = 0
    negatives: int = 0
    skipped: int = 0
    users: int = 0
    truncated: int = 0


@dataclass(frozen=True, slots=True)
class UserDone:
    """What is noted when a user is finished."""

    user_id: str
    skipped: int
    truncated: bool


@dataclass(frozen=True, slots=True)
class PairQuery:
    """Which pairs are listed. `label` None: both; `since`: microseconds since the epoch, None: all."""

    model_version: str
    label: bool | None = None
    since: int | None = None


class InteractionLog(Protocol):
    """Events, read as pairs are made of them. Moments are microseconds since the epoch."""

    async def users_after(self, collection: Collection, user_id: str, start: int, end: int, count: int) -> list[str]:
        """Up to `count` users with an id greater than `user_id` and an event in [start, end), by id."""
        ...

    async def window(self, collection: Collection, user_id: str, start: int, end: int, count: int) -> list[Event]:
        """The user's first `count` events in [start, end), oldest first."""
        ...

    async def before(self, collection: Collection, user_id: str, moment: int, count: int) -> list[Event]:
        """The user's latest `count` events strictly before `moment` that belong into a history, newest first."""
        ...

    async def engaged_before(
        self, collection: Collection, user_id: str, item_ids: Sequence[str], moment: int
    ) -> set[str]:
        """Those of `item_ids` that the user engaged with strictly before `moment`."""
        ...

    async def counts(self, collection: Collection, moments: Sequence[tuple[str, int]]) -> list[ItemCounts]:
        """For each (item, moment): events of all users with the item strictly before it, the latest 10,000."""
        ...


class PairStore(InteractionLog, Protocol):
    """Training pairs, and the runs that make them."""

    async def begin(self, collection: Collection, run: PairRun) -> RunProgress:
        """Start a run, or go on with it. Raises: FailedPreconditionError (RUN_ID_REUSED) for other settings."""
        ...

    async def add(
        self, collection: Collection, run: PairRun, pairs: Sequence[TrainingPair], done: UserDone | None = None
    ) -> RunProgress:
        """Store those pairs whose key the model version does not have, and note what the run did, at once.

        Pairs of a user who has no event any more are left out: such a user was erased meanwhile. `done`: these were the
        last pairs of a user, which is noted once.
        """
        ...

    async def finish(self, collection: Collection, run: PairRun) -> RunProgress:
        """Note that the run is complete."""
        ...

    async def list_after(
        self, collection: Collection, query: PairQuery, after: PairKey | None, count: int
    ) -> list[TrainingPair]:
        """Up to `count` pairs with a key greater than `after`, by key; user and item ids in code-point order."""
        ...

    async def erase_user(self, collection: Collection, user_id: str) -> int:
        """Delete the user's pairs; returns how many. Once the user's events are gone, no run makes them anew."""
        ...

    async def prune(self, before: int) -> int:
        """Delete pairs made before that moment by runs that a registered model was trained on; returns how many."""
        ...


class ModelRegistry(Protocol):
    """Trained models; of each type at most one version is active in a collection."""

    async def register(self, collection: Collection, model: ModelVersion) -> ModelVersion:
        """Add a version, inactive.

        Raises: AlreadyExistsError (MODEL_VERSION_EXISTS), NotFoundError (TRAINING_RUN_NOT_FOUND).
        """
        ...

    async def get(self, collection: Collection, model_type: str, version: str) -> ModelVersion:
        """A version. Raises: NotFoundError (MODEL_VERSION_NOT_FOUND)."""
        ...

    async def active(self, collection: Collection, model_type: str) -> ModelVersion | None:
        """The active version of a type, where there is one."""
        ...

    async def activate(self, collection: Collection, model_type: str, version: str) -> ModelVersion:
        """Make a version the active one, atomically. Raises: NotFoundError (MODEL_VERSION_NOT_FOUND)."""
        ...

    async def rollback(self, collection: Collection, model_type: str) -> ModelVersion:
        """Make active what was before the active version. Raises: FailedPreconditionError (NO_PREVIOUS_VERSION)."""
        ...

    async def list_after(
        self, collection: Collection, model_type: str, after: tuple[str, str], count: int
    ) -> list[ModelVersion]:
        """Up to `count` versions with a (type, version) greater than `after`, in code-point order; "": of all types."""
        ...
