"""How good user candidates are beside the usual recommenders: `python -m benchmarks.candidates`.

A real server over an embedded Postgres gets the ratings that are known as events, `retrieval train` trains its model,
and every question is a SearchUserCandidates. The baselines learn from the same ratings; their settings are chosen by a
validation within these.

Two protocols. *left-out*: each user's last positive rating is held out, everything else is known. *rolling*: the last
part of the log in slices; models know only what came before the slice, each question is asked at its place in time,
and what came in between was recorded as it came. Nothing sees a later rating there, and fewer users come back.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import untrained
from benchmarks.candidates_report import SERVICE, Outcome, Row, plot, ratios, table
from benchmarks.ranking import Ranking, measured
from benchmarks.ratings import RatingsError, bundled, left_out, read, slices
from benchmarks.recommenders import answers, chosen, liked_of, lists_of, rated_of
from benchmarks.served_ratings import Served, run_command, write_catalogue
from benchmarks.servers import service
from retrieval.client import RetrievalClient
from retrieval.embedding.wordllama import WordLlamaEmbedder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from benchmarks.ratings import Ratings
    from benchmarks.recommenders import Fitted

UNTRAINED = "untrained"
"""Named beside strategies: the service as it comes, before any training."""
RESULTS = Path(__file__).resolve().parent / "results"


async def run_left_out(
    served: Served, ratings: Ratings, vectors: NDArray[np.float32], strategies: Sequence[str]
) -> Outcome:
    """Each user's last positive rating, from everything else."""
    held = left_out(ratings)
    known = np.setdiff1d(np.arange(len(ratings)), held)
    users, right = ratings.users[held], ratings.items[held]
    rated = rated_of(ratings, known)
    counts = np.asarray(rated.sum(axis=0), np.float64).ravel()

    def judged(lists: Sequence[NDArray[np.int64]]) -> Ranking:
        return measured(lists, right, counts, len(ratings.user_ids))

    fitted = chosen(ratings, known, vectors, say)
    found = answers(fitted, users, liked_of(ratings, known), rated)
    rows = [Row(f.name, f.setting, f.single, judged(found[f.name][0]), found[f.name][1]) for f in fitted]
    if UNTRAINED in strategies:
        lists, p50_ms = await served.ask_all(users)
        rows.append(Row("service, untrained", "", False, judged(lists), p50_ms))
    train_s = await served.train()
    say(f"trained in {train_s:.0f} s")
    for strategy in strategies:
        if strategy != UNTRAINED:
            lists, p50_ms = await served.ask_all(users, strategy)
            rows.append(Row(f"service, {strategy}", "", False, judged(lists), p50_ms))
            say(f"service, {strategy}: HR@100 {rows[-1].ranking.hr_100:.4f}, nDCG@100 {rows[-1].ranking.ndcg_100:.4f}")
    return Outcome(ratings.name, "left-out", len(held), rows, ratios(rows), train_s)


async def run_rolling(
    served: Served, ratings: Ratings, vectors: NDArray[np.float32], count: int, share: float, most: int
) -> Outcome:
    """The last part of the log in slices, each question from what came before it."""
    names: dict[str, Row] = {}
    lists: dict[str, list[NDArray[np.int64]]] = {}
    right: list[int] = []
    trained: list[float] = []
    parts = slices(ratings, count, share, most)
    for number, part in enumerate(parts, start=1):
        before = np.arange(part.start)
        fitted = chosen(ratings, before, vectors, lambda _line: None)
        trained.append(await served.train())
        recorded = part.start
        for row in part.asked.tolist():
            user = int(ratings.users[row])
            token = await served.record(range(recorded, row))
            recorded = row
            lists.setdefault(SERVICE, []).append((await served.ask(user, token=token))[0])
            past = np.flatnonzero(ratings.users[:row] == user)
            one = answers_of_one(fitted, ratings, user, past)
            for name, listed in one.items():
                lists.setdefault(name, []).append(listed)
            right.append(int(ratings.items[row]))
        await served.record(range(recorded, part.end))
        for each in fitted:
            names[each.name] = Row(each.name, each.setting, each.single, Ranking(0, 0, 0, 0))
        say(f"slice {number} of {len(parts)}: {len(right)} questions so far")
    names[SERVICE] = Row(SERVICE, "", False, Ranking(0, 0, 0, 0))
    counts = np.asarray(rated_of(ratings, np.arange(len(ratings))).sum(axis=0), np.float64).ravel()
    rows = [
        Row(row.name, row.setting, row.single, measured(lists[name], np.array(right), counts, len(ratings.user_ids)))
        for name, row in names.items()
    ]
    return Outcome(ratings.name, "rolling", len(right), rows, ratios(rows), float(np.mean(trained)))


def answers_of_one(
    fitted: Sequence[Fitted], ratings: Ratings, user: int, past: NDArray[np.int64]
) -> dict[str, NDArray[np.int64]]:
    """The baselines' lists for a user with `past` rows."""
    liked, rated = liked_of(ratings, past)[[user]], rated_of(ratings, past)[[user]]
    return {each.name: lists_of(each.model, liked, rated)[0] for each in fitted}


async def run(options: argparse.Namespace, ratings: Ratings) -> Outcome:
    """Start the service, load what is known from the start, and ask."""
    vectors = WordLlamaEmbedder().embed(ratings.texts)
    users, items = len(ratings.user_ids), len(ratings.item_ids)
    say(f"{ratings.name}: {len(ratings):,} ratings of {items:,} items by {users:,} users")
    if options.protocol == "left-out":
        known = np.setdiff1d(np.arange(len(ratings)), left_out(ratings))
    else:
        known = np.arange(slices(ratings, options.slices, options.share, options.most)[0].start)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="candidates-")))
        write_catalogue(ratings, known, folder / "catalogue")
        server = stack.enter_context(service(folder / "data", folder / "server.log", trending_refresh_s="2"))
        await asyncio.to_thread(
            run_command, folder / "data", "load", str(folder / "catalogue"), "--target", server.address
        )
        async with RetrievalClient(server.address) as client:
            served = Served(client, ratings, folder / "data")
            if options.protocol == "left-out":
                return await run_left_out(served, ratings, vectors, options.strategies.split(","))
            return await run_rolling(served, ratings, vectors, options.slices, options.share, options.most)


def report_untrained(results: Path, ratings: Ratings) -> int:
    """Candidates before training beside popularity; 0 where they are as good on every set, and better on average."""
    found = asyncio.run(untrained.run(ratings, say))
    results.mkdir(parents=True, exist_ok=True)
    path = results / f"candidates-{ratings.name}-untrained.json"
    path.write_text(json.dumps(untrained.figures(found), indent=1) + "\n", encoding="utf-8")
    untrained.plot(path.with_suffix(".png"), found)
    sys.stdout.write(untrained.table(found))
    return 0 if untrained.passed(found) else 1


def say(line: str) -> None:
    """A line of progress."""
    sys.stderr.write(line + "\n")


def main() -> int:
    """Run; 0 where the service beats the best single baseline by a tenth in HR@100 and nDCG@100."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--ratings", type=Path, help="user,item,rating,timestamp; the bundled MovieTweetings by default"
    )
    parser.add_argument("--items", type=Path, help="item,title,genres; needed with --ratings")
    parser.add_argument("--positive", type=float, help="lowest positive rating; 0.7 of the highest by default")
    parser.add_argument("--protocol", choices=("left-out", "rolling"), default="left-out")
    parser.add_argument(
        "--strategies",
        default="hybrid",
        help="of the service, with commas; untrained is one, too, and by itself runs on sets made of the ratings",
    )
    parser.add_argument("--slices", type=int, default=6, help="rolling: trainings")
    parser.add_argument("--share", type=float, default=0.3, help="rolling: part of the log that is asked about")
    parser.add_argument("--most", type=int, default=1000, help="rolling: questions a slice")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for figures and plot")
    options = parser.parse_args()
    if (options.ratings is None) != (options.items is None):
        parser.error("--ratings and --items go together")
    try:
        ratings = (
            bundled(options.positive)
            if options.ratings is None
            else read(options.ratings, options.items, options.positive)
        )
    except (RatingsError, OSError) as error:
        sys.exit(str(error))
    if options.strategies == UNTRAINED:
        return report_untrained(options.results, ratings)
    outcome = asyncio.run(run(options, ratings))
    options.results.mkdir(parents=True, exist_ok=True)
    name = f"candidates-{outcome.ratings}-{outcome.protocol}"
    (options.results / f"{name}.json").write_text(json.dumps(asdict(outcome), indent=1) + "\n", encoding="utf-8")
    plot(options.results / f"{name}.png", outcome)
    sys.stdout.write(table(outcome))
    return 0 if outcome.passed else 1


if __name__ == "__main__":
    sys.exit(main())
