"""User candidates before any training beside plain popularity, on a set of ratings and on sets made of it.

Each user's last positive rating is held out, as in `benchmarks.candidates`. The sets made of it have the same ratings
over other times, or fewer of them: what trends at their end, and what few events say, is worth what there is of it.
"""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.ranking import Ranking, measured
from benchmarks.ratings import left_out
from benchmarks.recommenders import Popularity, liked_of, lists_of, rated_of
from benchmarks.served_ratings import Served, run_command, write_catalogue
from benchmarks.servers import service
from retrieval.client import RetrievalClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from benchmarks.ratings import Ratings

DAY_S = 86_400
YEARS = 20
WHILE_S = 5 * DAY_S
"""Who comes rates everything within this, where ratings are spread over the years."""
QUESTIONS = 500
LEAST_BAR, MEAN_BAR = 1.0, 1.05
"""HR@100 through that of popularity: on every set, and on average."""


@dataclass(frozen=True)
class Set:
    """Figures on one set. `ratio`: HR@100 of the service through that of popularity."""

    name: str
    ratings: int
    users: int
    questions: int
    popularity: Ranking
    service: Ranking
    ratio: float
    p50_ms: float


def variants(ratings: Ratings) -> Iterator[Ratings]:
    """The ratings as they are, over 20 years in several ways, in slices by time, and a part of them."""
    rng = np.random.default_rng(5)
    count, users, items = len(ratings), len(ratings.user_ids), len(ratings.item_ids)
    everything = np.arange(count)
    span_s = YEARS * 365 * DAY_S
    yield ratings
    first, last = int(ratings.times[0]), int(ratings.times[-1])
    stretched = last - (last - ratings.times) * (span_s / max(1, last - first))
    yield _part(ratings, everything, "as long as 20 years", stretched.astype(np.int64))
    began, ended = np.full(users, ratings.times[-1]), np.zeros(users, np.int64)
    np.minimum.at(began, ratings.users, ratings.times)
    np.maximum.at(ended, ratings.users, ratings.times)
    squeeze = np.minimum(1.0, WHILE_S / np.maximum(ended - began, 1))
    within = (ratings.times - began[ratings.users]) * squeeze[ratings.users]
    came = rng.uniform(0, span_s - WHILE_S, users)
    times = (came[ratings.users] + within).astype(np.int64) + last - span_s
    yield _part(ratings, everything, "users over 20 years", times)
    released = np.where(rng.random(items) < 0.5, 0, rng.uniform(0, span_s, items))
    there = np.flatnonzero(times - last + span_s >= released[ratings.items])
    yield _part(ratings, there, "users and items over 20 years", times)
    few = np.flatnonzero((rng.random(users) < 0.2)[ratings.users])
    yield _part(ratings, np.intersect1d(few, there), "a fifth of these users", times)
    yield _part(ratings, everything[: count // 2], "the first half")
    yield _part(ratings, everything[count * 3 // 4 :], "the last quarter")
    yield _part(ratings, few, "a fifth of the users")
    for share in (0.2, 0.05):
        yield _part(ratings, np.flatnonzero(rng.random(count) < share), f"{share:.0%} of the ratings")


def _part(ratings: Ratings, rows: NDArray[Any], name: str, times: NDArray[np.int64] | None = None) -> Ratings:
    """Those rows, in the order of their times, which may be others."""
    times = ratings.times if times is None else times
    rows = rows[np.argsort(times[rows], kind="stable")]
    return replace(
        ratings,
        name=f"{ratings.name}, {name}",
        users=ratings.users[rows],
        items=ratings.items[rows],
        values=ratings.values[rows],
        times=times[rows],
        positive=ratings.positive[rows],
    )


async def run(ratings: Ratings, say: Callable[[str], None]) -> list[Set]:
    """Every set in a collection of its own, on one server."""
    found = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="untrained-")))
        server = stack.enter_context(service(folder / "data", folder / "server.log", trending_refresh_s="2"))
        async with RetrievalClient(server.address) as client:
            for number, variant in enumerate(variants(ratings)):
                held = left_out(variant)
                known = np.setdiff1d(np.arange(len(variant)), held)
                if len(held) > QUESTIONS:
                    held = np.sort(np.random.default_rng(0).choice(held, QUESTIONS, replace=False))
                name = f"set-{number}"
                write_catalogue(variant, known, folder / name, name)
                target = ("--target", server.address)
                await asyncio.to_thread(run_command, folder / "data", "load", str(folder / name), *target)
                found.append(await _judged(Served(client, variant, folder / "data", name), variant, known, held))
                last = found[-1]
                say(f"{last.name}: HR@100 {last.service.hr_100:.3f}, {last.ratio:.3f} of popularity's")
    return found


async def _judged(served: Served, ratings: Ratings, known: NDArray[np.int64], held: NDArray[np.int64]) -> Set:
    users, right = ratings.users[held], ratings.items[held]
    liked, rated = liked_of(ratings, known), rated_of(ratings, known)
    counts = np.asarray(rated.sum(axis=0), np.float64).ravel()
    popularity = Popularity()
    popularity.fit(liked)
    plain = measured(lists_of(popularity, liked[users], rated[users]), right, counts, len(ratings.user_ids))
    await served.settled()
    lists, p50_ms = await served.ask_all(users)
    ours = measured(lists, right, counts, len(ratings.user_ids))
    ratio = round(ours.hr_100 / plain.hr_100, 3)
    there = len(np.unique(ratings.users))
    return Set(ratings.name, len(ratings), there, len(held), plain, ours, ratio, p50_ms)


def passed(found: list[Set]) -> bool:
    """Whether both bars are met."""
    ratios = [each.ratio for each in found]
    return min(ratios) >= LEAST_BAR and float(np.mean(ratios)) >= MEAN_BAR


def table(found: list[Set]) -> str:
    """The figures in Markdown."""
    lines = [
        "| set | ratings | users | questions | popularity, HR@100 | service, untrained, HR@100 | ratio | p50, ms |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {s.name} | {s.ratings:,} | {s.users:,} | {s.questions:,} | {s.popularity.hr_100:.3f} | "
        f"{s.service.hr_100:.3f} | {s.ratio:.3f} | {s.p50_ms:.1f} |"
        for s in found
    ]
    ratios = [each.ratio for each in found]
    lines += ["", f"HR@100 through popularity's: {min(ratios):.3f} at least, {np.mean(ratios):.3f} on average.", ""]
    return "\n".join(lines)


def figures(found: list[Set]) -> list[dict[str, Any]]:
    """For a file."""
    return [asdict(each) for each in found]


def plot(path: Path, found: list[Set]) -> None:
    """HR@100 of both on every set."""
    import matplotlib as mpl  # takes its time, and only this needs it

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    at = np.arange(len(found))
    figure, axes = plt.subplots(figsize=(9, 0.5 * len(found) + 1.2), layout="constrained")
    axes.barh(at + 0.2, [s.popularity.hr_100 for s in found], 0.38, label="popularity", color="0.65")
    axes.barh(at - 0.2, [s.service.hr_100 for s in found], 0.38, label="service, untrained", color="tab:blue")
    axes.set_yticks(at, [s.name for s in found])
    axes.invert_yaxis()
    axes.set_xlabel("HR@100")
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=120)
    plt.close(figure)
