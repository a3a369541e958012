"""Requests that are about a user."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrieval.application.candidates.profile import DEFAULT_FACETS, ProfileRequest
from retrieval.transport.caller import MAX_GROUPS, MAX_USER_ID_BYTES
from retrieval.transport.read_search import MAX_TOKEN_BYTES, read_collection_name
from retrieval.transport.validate import text, texts, version_number, within

if TYPE_CHECKING:
    from retrieval.v1 import profile_service_pb2 as pb

MAX_FACETS = 100


def read_user_id(value: str) -> str:
    """The user a request is about."""
    return text(value, "user_id", MAX_USER_ID_BYTES, required=True)


def read_profile_request(message: pb.GetUserProfileRequest) -> ProfileRequest:
    """A request of GetUserProfile."""
    return ProfileRequest(
        read_collection_name(message.collection),
        read_user_id(message.user_id),
        version_number(message.embedding_version),
        within(message.facet_limit or DEFAULT_FACETS, 1, MAX_FACETS, "facet_limit", "LIMIT_OUT_OF_RANGE"),
        texts(message.group_ids, "group_ids", MAX_GROUPS, MAX_USER_ID_BYTES),
        text(message.min_consistency_token, "min_consistency_token", MAX_TOKEN_BYTES),
    )
