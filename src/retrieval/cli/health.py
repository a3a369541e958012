"""The command `health`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrieval.client.probe import check_health

if TYPE_CHECKING:
    import argparse

    from retrieval.config import Settings


async def run_health(_settings: Settings, options: argparse.Namespace) -> int:
    """The exit code is 0 where the service says SERVING; otherwise it is said why not."""
    await check_health(options.target, ca=options.ca)
    return 0
