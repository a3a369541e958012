"""Benchmarks of the service: `python -m benchmarks run` from the root of the repository."""
