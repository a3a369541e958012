"""Adapters that turn text into vectors inside this process."""
