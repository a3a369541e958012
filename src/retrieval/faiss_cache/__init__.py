"""The FAISS cache: answers searches from memory, follows the store, and is never the truth."""
