"""The Postgres adapter: the truth."""
