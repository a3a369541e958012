"""Calls of TrainingService."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from retrieval.client.channel import bearer
from retrieval.v1 import training_service_pb2 as pb
from retrieval.v1 import training_service_pb2_grpc as pb_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    import grpc


class TrainingClient:
    """Training pairs and models over a channel that somebody else closes.

    Every call takes `timeout_s`, which becomes its deadline, and raises `grpc.aio.AioRpcError`: see `error_reason`.
    """

    def __init__(self, channel: grpc.aio.Channel, *, admin_token: str = "") -> None:
        self.stub = pb_grpc.TrainingServiceStub(channel)
        self._metadata = bearer(admin_token)

    async def generate_pairs(
        self, request: pb.GenerateTrainingPairsRequest, *, timeout_s: float | None = None
    ) -> pb.GenerateTrainingPairsResponse:
        """Go on with a run, or start one; it is complete once the reply has no resume token."""
        reply: pb.GenerateTrainingPairsResponse = await self.stub.GenerateTrainingPairs(
            request, timeout=timeout_s, metadata=self._metadata
        )
        return reply

    async def stream_pairs(
        self, request: pb.StreamTrainingPairsRequest, *, timeout_s: float | None = None
    ) -> AsyncGenerator[pb.StreamTrainingPairsResponse, None]:
        """Batches of pairs, each with the token to go on after it. Needs the admin token."""
        call: Any = self.stub.StreamTrainingPairs(request, timeout=timeout_s, metadata=self._metadata)
        try:
            async for batch in call:
                yield batch
        finally:
            call.cancel()

    async def register_model(
        self,
        collection: str,
        model_type: str,
        version: str,
        *,
        metrics: Mapping[str, float] | None = None,
        parameters: Mapping[str, Any] | None = None,
        artifact_uri: str = "",
        training_run_ids: tuple[str, ...] = (),
        timeout_s: float | None = None,
    ) -> pb.ModelVersion:
        """Register a trained model, which is not active yet."""
        model = pb.ModelVersion(
            model_type=model_type,
            version=version,
            metrics=metrics,
            artifact_uri=artifact_uri,
            training_run_ids=training_run_ids,
        )
        model.parameters.update(dict(parameters or {}))
        reply: pb.RegisterModelVersionResponse = await self.stub.RegisterModelVersion(
            pb.RegisterModelVersionRequest(collection=collection, model_version=model),
            timeout=timeout_s,
            metadata=self._metadata,
        )
        return reply.model_version

    async def activate_model(
        self, collection: str, model_type: str, version: str, *, timeout_s: float | None = None
    ) -> pb.ModelVersion:
        """Make a version the active one of its type."""
        reply: pb.ActivateModelVersionResponse = await self.stub.ActivateModelVersion(
            pb.ActivateModelVersionRequest(collection=collection, model_type=model_type, version=version),
            timeout=timeout_s,
            metadata=self._metadata,
        )
        return reply.model_version

    async def rollback_model(
        self, collection: str, model_type: str, *, timeout_s: float | None = None
    ) -> pb.ModelVersion:
        """Make active again what was before the active version."""
        reply: pb.RollbackModelVersionResponse = await self.stub.RollbackModelVersion(
            pb.RollbackModelVersionRequest(collection=collection, model_type=model_type),
            timeout=timeout_s,
            metadata=self._metadata,
        )
        return reply.model_version

    async def get_model(
        self, collection: str, model_type: str, version: str = "", *, timeout_s: float | None = None
    ) -> pb.ModelVersion:
        """A version; by default the active one."""
        reply: pb.GetModelVersionResponse = await self.stub.GetModelVersion(
            pb.GetModelVersionRequest(collection=collection, model_type=model_type, version=version),
            timeout=timeout_s,
            metadata=self._metadata,
        )
        return reply.model_version

    async def list_models(
        self,
        collection: str,
        model_type: str = "",
        *,
        page_size: int = 0,
        page_token: str = "",
        timeout_s: float | None = None,
    ) -> pb.ListModelVersionsResponse:
        """A page of versions by type and name."""
        request = pb.ListModelVersionsRequest(
            collection=collection, model_type=model_type, page_size=page_size, page_token=page_token
        )
        reply: pb.ListModelVersionsResponse = await self.stub.ListModelVersions(
            request, timeout=timeout_s, metadata=self._metadata
        )
        return reply
