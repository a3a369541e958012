"""Profiles of replies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrieval.transport.write_items import write_time
from retrieval.v1 import profile_service_pb2 as pb

if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp

    from retrieval.application.candidates.profile import UserProfile
    from retrieval.domain.interests import Facet

SHOWN_ITEMS = 5
"""Of an interest: enough to see what it is about."""


def write_profile(profile: UserProfile) -> pb.UserProfile:
    """All of a profile but the vectors in it."""
    return pb.UserProfile(
        interests=[
            pb.Interest(
                weight=interest.weight,
                medoid_item_id=interest.medoid,
                item_ids=interest.item_ids[:SHOWN_ITEMS],
                item_count=len(interest.item_ids),
            )
            for interest in profile.interests
        ],
        facets=[_facet(facet) for facet in profile.facets],
        gaps=[_facet(facet) for facet in profile.gaps],
        event_counts=profile.event_counts,
        positive_item_count=profile.positive_items,
        negative_item_count=profile.negative_items,
        seen_item_count=profile.seen_items,
        followed_owner_count=len(profile.edges.followed),
        blocked_owner_count=len(profile.edges.blocked),
        muted_owner_count=len(profile.edges.muted),
        newest_event_at=_time(profile.newest_event_at),
        oldest_event_at=_time(profile.oldest_event_at),
        has_user_vector=profile.vector_set_at is not None,
        user_vector_set_at=_time(profile.vector_set_at),
        embedding_version=profile.embedding_version,
        interests_at=_time(profile.interests_at),
        computed_at=write_time(profile.computed_at),
    )


def _facet(facet: Facet) -> pb.Facet:
    return pb.Facet(
        attribute=facet.attribute,
        value=facet.value,
        user_share=facet.user_share,
        catalogue_share=facet.catalogue_share,
    )


def _time(moment: int | None) -> Timestamp | None:
    return None if moment is None else write_time(moment)
