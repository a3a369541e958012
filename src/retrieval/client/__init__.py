"""A small typed client."""

from retrieval.client.calls import RetrievalClient, vector
from retrieval.client.reasons import error_reason

__all__ = ["RetrievalClient", "error_reason", "vector"]
