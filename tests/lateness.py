"""How late the event loop is while something else goes on."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

BEAT_S = 0.005


@dataclass(slots=True)
class Lateness:
    """`worst_s`: the most seconds that a beat came after its time; `beats`: how many there were."""

    worst_s: float = 0.0
    beats: int = 0


@asynccontextmanager
async def lateness() -> AsyncIterator[Lateness]:
    """Listens to the loop's pulse until the end of the block."""
    found = Lateness()

    async def beat() -> None:
        while True:
            due = time.perf_counter() + BEAT_S
            await asyncio.sleep(BEAT_S)
            found.worst_s = max(found.worst_s, time.perf_counter() - due)
            found.beats += 1

    pulse = asyncio.create_task(beat())
    await asyncio.sleep(2 * BEAT_S)
    found.worst_s = 0.0
    try:
        yield found
        await asyncio.sleep(2 * BEAT_S)  # what came at the very end is late too
    finally:
        pulse.cancel()
        await asyncio.gather(pulse, return_exceptions=True)
