"""The exact in-memory adapter: the oracle of every test."""
