"""A small typed client."""

from retrieval.client.calls import RetrievalClient, vector
from retrieval.client.embedding_jobs import EmbeddingJobClient
from retrieval.client.maintenance import MaintenanceClient
from retrieval.client.reasons import error_reason
from retrieval.client.training import TrainingClient

__all__ = ["EmbeddingJobClient", "MaintenanceClient", "RetrievalClient", "TrainingClient", "error_reason", "vector"]
