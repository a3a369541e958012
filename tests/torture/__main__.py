"""The long run of the model test: `python -m tests.torture --operations 50000 --seed 7`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.torture.world import World, own_postgres


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def run(operations: int, seed: int) -> None:
    say(f"seed {seed}")
    started = time.monotonic()
    async with own_postgres() as server:
        with tempfile.TemporaryDirectory(prefix="retrieval-torture-cache-") as folder:
            world = World(server.url, Path(folder), seed, server)
            try:
                await world.run(operations)
                world.check()
            finally:
                for shelf in world.shelves:
                    tally = shelf.tally
                    say(f"{shelf.name}: {tally.operations} operations, recall {tally.recall:.4f}")
                    say(f"  {dict(tally.kinds)}\n  {dict(tally.sources)}")
                say(f"{len(world.disturbances)} rounds, disturbed by {sorted(set(world.disturbances))}")
                say(f"{world.operations} operations of seed {seed} in {time.monotonic() - started:.0f} s")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.torture")
    parser.add_argument("--operations", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--verbose", action="store_true", help="with the log of the cache")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO if arguments.verbose else logging.ERROR)
    asyncio.run(run(arguments.operations, arguments.seed))


if __name__ == "__main__":
    main()
