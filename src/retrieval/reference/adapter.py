"""The reference adapter put together. It holds everything in memory and forgets it with the process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrieval.application.ports import Stores, VersionReport
from retrieval.reference.attachments import ReferenceAttachments
from retrieval.reference.bandits import ReferenceBandits
from retrieval.reference.collections import ReferenceCollections
from retrieval.reference.embedding_jobs import ReferenceEmbeddingJobs
from retrieval.reference.engagement import ReferenceEngagement
from retrieval.reference.events import ReferenceEvents
from retrieval.reference.index import ReferenceIndex
from retrieval.reference.items import ReferenceItems
from retrieval.reference.maintenance import ReferenceMaintenance
from retrieval.reference.memory import Memory
from retrieval.reference.models import ReferenceModels
from retrieval.reference.pairs import ReferencePairs
from retrieval.reference.profiles import ReferenceProfiles
from retrieval.reference.projections import ReferenceProjections
from retrieval.reference.relationships import ReferenceRelationships
from retrieval.reference.text_index import ReferenceText
from retrieval.reference.user_feed import ReferenceUserFeed

if TYPE_CHECKING:
    from retrieval.application.ports import BuildSpec
    from retrieval.domain.model import Collection, EmbeddingVersion


class ReferenceIndexBuilder:
    """Builds nothing, since exact answers need no index; implements `IndexBuilder`."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    async def build(
        self,
        collection: Collection,  # noqa: ARG002
        version: EmbeddingVersion,  # noqa: ARG002
        spec: BuildSpec,  # noqa: ARG002
    ) -> list[str]:
        """See `IndexBuilder`; there is never anything to queue."""
        return []

    async def report(self, collection: Collection, version: EmbeddingVersion) -> VersionReport:
        """See `IndexBuilder`."""
        rows = self._memory.held(collection).embeddings[version.version_id].rows()
        return VersionReport(len(rows.item_ids), rows.vectors.nbytes, ())

    async def wait_idle(self) -> None:
        """See `IndexBuilder`; nothing is ever under way."""


class ReferenceAdapter:
    """Opens and closes the in-memory stores."""

    def __init__(self) -> None:
        self._open = False

    async def open(self) -> Stores:
        """Stores over a fresh memory."""
        memory, feed = Memory(), ReferenceUserFeed()
        self._open = True
        profiles = ReferenceProfiles(memory, feed)
        engagement, bandits, pairs = ReferenceEngagement(memory, feed), ReferenceBandits(memory), ReferencePairs(memory)
        embedding_jobs = ReferenceEmbeddingJobs(memory)
        return Stores(
            ReferenceCollections(memory),
            ReferenceItems(memory),
            ReferenceIndex(memory),
            ReferenceEvents(memory, feed),
            ReferenceIndexBuilder(memory),
            engagement,
            feed,
            ReferenceModels(memory),
            pairs,
            bandits,
            profiles,
            profiles,
            profiles,
            ReferenceProjections(memory),
            ReferenceText(memory),
            ReferenceRelationships(memory),
            embedding_jobs,
            ReferenceAttachments(),
            ReferenceMaintenance(memory, engagement, bandits, pairs, embedding_jobs),
        )

    async def is_alive(self) -> bool:
        """Whether the stores are open."""
        return self._open

    async def close(self) -> None:
        """Close; the stores handed out keep their memory until they are dropped."""
        self._open = False
