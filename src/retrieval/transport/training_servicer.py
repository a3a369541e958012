"""TrainingService: training pairs, and the register of models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from retrieval.application.training_pairs import BATCH_PAIRS, generate_pairs
from retrieval.domain.errors import InvalidArgumentError, NotFoundError
from retrieval.transport.caller import Caller
from retrieval.transport.paging import page_size, read_token, write_token
from retrieval.transport.read_search import read_collection_name
from retrieval.transport.read_training import read_generate, read_model, read_model_type, read_name, read_query
from retrieval.transport.validate import require
from retrieval.transport.write_training import write_model, write_pair, write_progress
from retrieval.v1 import training_service_pb2 as pb
from retrieval.v1 import training_service_pb2_grpc as pb_grpc

if TYPE_CHECKING:
    import grpc

    from retrieval.application.service import Service
    from retrieval.application.training_ports import PairKey
    from retrieval.domain.model import Collection
    from retrieval.domain.training import TrainingPair

    Context = grpc.aio.ServicerContext[Any, Any]

BATCH_BYTES = 1024 * 1024
"""A batch ends once it is this large: clients take 4 MiB by default, and a pair can be long."""

# Neither user nor item ids nor names of models contain it.
_SEPARATOR = "\n"


class TrainingServicer(pb_grpc.TrainingServiceServicer):
    """See `TrainingService` in the contract."""

    def __init__(self, service: Service, admin_token: str) -> None:
        self._stores = service.stores
        self._admin_token = admin_token

    async def GenerateTrainingPairs(
        self, request: pb.GenerateTrainingPairsRequest, _context: Context
    ) -> pb.GenerateTrainingPairsResponse:
        """Go on with a run until it is complete or the deadline comes near."""
        wanted = read_generate(request)
        return write_progress(wanted.run.run_id, await generate_pairs(self._stores, wanted))

    async def StreamTrainingPairs(self, request: pb.StreamTrainingPairsRequest, context: Context) -> None:
        """Batches of pairs; the next is read once the caller has taken the one before."""
        Caller(context.invocation_metadata, self._admin_token).require_admin("StreamTrainingPairs")
        name, query = read_collection_name(request.collection), read_query(request)
        same = (name.encode(), repr(query).encode())
        after = _read_key(request.resume_token, same)
        collection = await self._stores.collections.get(name)
        while pairs := await self._stores.pairs.list_after(collection, query, after, BATCH_PAIRS):
            batch = pb.StreamTrainingPairsResponse()
            size = 0
            for pair in pairs:
                write_pair(pair, collection.attributes, message := batch.pairs.add())
                after = pair.key
                size += message.ByteSize()
                if size >= BATCH_BYTES:
                    await self._send(batch, pair, same, context)
                    batch, size = pb.StreamTrainingPairsResponse(), 0
            if batch.pairs:
                await self._send(batch, pairs[-1], same, context)

    @staticmethod
    async def _send(
        batch: pb.StreamTrainingPairsResponse, last: TrainingPair, same: tuple[bytes, ...], context: Context
    ) -> None:
        user_id, item_id, interaction_at = last.key
        batch.resume_token = write_token(f"{interaction_at}{_SEPARATOR}{item_id}{_SEPARATOR}{user_id}", *same)
        await context.write(batch)

    async def RegisterModelVersion(
        self, request: pb.RegisterModelVersionRequest, _context: Context
    ) -> pb.RegisterModelVersionResponse:
        """Add a version."""
        name = read_collection_name(request.collection)
        require(request.HasField("model_version"), "model_version", "is required")
        collection = await self._stores.collections.get(name)
        model = read_model(request.model_version, collection, "model_version")
        made = await self._stores.models.register(collection, model)
        return pb.RegisterModelVersionResponse(model_version=write_model(made))

    async def ActivateModelVersion(
        self, request: pb.ActivateModelVersionRequest, _context: Context
    ) -> pb.ActivateModelVersionResponse:
        """Swap the active version."""
        kind, version = read_model_type(request.model_type), read_name(request.version, "version")
        made = await self._stores.models.activate(await self._collection(request.collection), kind, version)
        return pb.ActivateModelVersionResponse(model_version=write_model(made))

    async def RollbackModelVersion(
        self, request: pb.RollbackModelVersionRequest, _context: Context
    ) -> pb.RollbackModelVersionResponse:
        """Go back to the version that was active before."""
        kind = read_model_type(request.model_type)
        made = await self._stores.models.rollback(await self._collection(request.collection), kind)
        return pb.RollbackModelVersionResponse(model_version=write_model(made))

    async def GetModelVersion(
        self, request: pb.GetModelVersionRequest, _context: Context
    ) -> pb.GetModelVersionResponse:
        """A version, or the active one."""
        kind = read_model_type(request.model_type)
        version = read_name(request.version, "version") if request.version else ""
        collection = await self._collection(request.collection)
        if version:
            found = await self._stores.models.get(collection, kind, version)
        else:
            active = await self._stores.models.active(collection, kind)
            if active is None:
                raise NotFoundError(
                    f"no version of a model of type {kind!r} is active; ListModelVersions shows those there are",
                    reason="MODEL_VERSION_NOT_FOUND",
                )
            found = active
        return pb.GetModelVersionResponse(model_version=write_model(found))

    async def ListModelVersions(
        self, request: pb.ListModelVersionsRequest, _context: Context
    ) -> pb.ListModelVersionsResponse:
        """A page of versions by type and name."""
        size = page_size(request.page_size)
        kind = read_model_type(request.model_type) if request.model_type else ""
        same = (request.collection.encode(), kind.encode())
        last_type, _, last_version = read_token(request.page_token, *same).partition(_SEPARATOR)
        collection = await self._collection(request.collection)
        found = await self._stores.models.list_after(collection, kind, (last_type, last_version), size + 1)
        reply = pb.ListModelVersionsResponse(model_versions=[write_model(model) for model in found[:size]])
        if len(found) > size:
            last = found[size - 1]
            reply.next_page_token = write_token(f"{last.model_type}{_SEPARATOR}{last.version}", *same)
        return reply

    async def _collection(self, name: str) -> Collection:
        return await self._stores.collections.get(read_collection_name(name))


def _read_key(token: str, same: tuple[bytes, ...]) -> PairKey | None:
    """The key that a resume token's pairs come after."""
    if not token:
        return None
    try:
        # A user id may contain anything, so it comes last.
        interaction_at, item_id, user_id = read_token(token, *same).split(_SEPARATOR, 2)
        return user_id, item_id, int(interaction_at)
    except (InvalidArgumentError, ValueError) as error:
        raise InvalidArgumentError.of(
            "resume_token", "is not a token that this request, with the same fields, returned", reason="BAD_PAGE_TOKEN"
        ) from error
