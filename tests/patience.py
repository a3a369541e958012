"""How long a test waits for what is sure to happen."""

PATIENCE_S = 90.0
"""Enough for two processes of tests on two busy cores, each with a Postgres and servers of its own."""
