"""ProfileService: what is known of users, and the vectors that are given for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from retrieval.transport.read_profiles import read_profile_request, read_user_id
from retrieval.transport.read_search import read_collection_name
from retrieval.transport.read_vectors import read_vector
from retrieval.transport.validate import version_number
from retrieval.transport.write_profiles import write_profile
from retrieval.v1 import profile_service_pb2 as pb
from retrieval.v1 import profile_service_pb2_grpc as pb_grpc

if TYPE_CHECKING:
    import grpc

    from retrieval.application.service import Service

    Context = grpc.aio.ServicerContext[Any, Any]


class ProfileServicer(pb_grpc.ProfileServiceServicer):
    """See `ProfileService` in the contract."""

    def __init__(self, service: Service) -> None:
        self._profiles = service.profiles

    async def GetUserProfile(self, request: pb.GetUserProfileRequest, _context: Context) -> pb.GetUserProfileResponse:
        """What a user's events and edges add up to."""
        return pb.GetUserProfileResponse(
            profile=write_profile(await self._profiles.read(read_profile_request(request)))
        )

    async def SetUserVector(self, request: pb.SetUserVectorRequest, _context: Context) -> pb.SetUserVectorResponse:
        """Set or remove the vector that stands for a user."""
        name, user_id = read_collection_name(request.collection), read_user_id(request.user_id)
        version = version_number(request.embedding_version)
        vector = read_vector(request.vector, "vector") if request.HasField("vector") else None
        return pb.SetUserVectorResponse(
            consistency_token=await self._profiles.set_vector(name, user_id, version, vector)
        )
