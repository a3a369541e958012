"""The FAISS cache: answers searches from memory. It may be thrown away at any moment; Postgres is the truth."""
