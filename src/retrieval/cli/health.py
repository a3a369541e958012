"""The command `health`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrieval.client.probe import is_serving

if TYPE_CHECKING:
    import argparse

    from retrieval.config import Settings


async def run_health(_settings: Settings, options: argparse.Namespace) -> int:
    """The exit code is 0 where the service says SERVING, 1 otherwise."""
    return 0 if await is_serving(options.target, ca=options.ca) else 1
