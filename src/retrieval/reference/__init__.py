"""The exact in-memory adapter: the oracle of the tests, and a store for trying the service out."""
