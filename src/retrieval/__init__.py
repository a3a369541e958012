"""Vector retrieval over gRPC from PostgreSQL and pgvector."""
