"""The command `retrieval`."""
