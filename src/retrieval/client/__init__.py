"""A small typed client."""
