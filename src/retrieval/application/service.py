"""The service as the transport sees it: the stores, the pipeline and the limits, put together once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from retrieval.application.candidates.engine import CandidateEngine
from retrieval.application.candidates.profile import UserProfiles
from retrieval.application.limits import Limits
from retrieval.application.query_embedder import QueryEmbedder, no_embedder
from retrieval.application.recall import RecallHistory
from retrieval.application.search import SearchPipeline
from retrieval.application.task_supervisor import TaskSupervisor

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from retrieval.application.ports import Stores


@dataclass(frozen=True, slots=True)
class Service:
    """What the use cases run on.

    `is_alive` tells whether the store answers; `embedder` makes vectors of texts; `tasks` runs what goes on in the
    background. `text_models`: what works off embedding jobs here, each with the components that it makes.
    """

    stores: Stores
    is_alive: Callable[[], Awaitable[bool]]
    limits: Limits = field(default_factory=Limits)
    recalls: RecallHistory = field(default_factory=RecallHistory)
    embedder: QueryEmbedder = field(default_factory=no_embedder)
    tasks: TaskSupervisor = field(default_factory=TaskSupervisor)
    text_models: tuple[tuple[str, int], ...] = ()
    candidates: CandidateEngine = field(init=False)
    profiles: UserProfiles = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "candidates", CandidateEngine(self.stores, self.pipeline, self.tasks))
        object.__setattr__(self, "profiles", UserProfiles(self.stores, self.candidates.states))

    @property
    def pipeline(self) -> SearchPipeline:
        """The search pipeline over the stores."""
        return SearchPipeline(self.stores, self.limits)
