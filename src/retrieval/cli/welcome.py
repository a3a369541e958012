"""What to type next."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path


def print_welcome(target: str, collection: str) -> None:
    """Print three grpcurl calls that work as pasted against the example catalogue."""
    grpcurl = _grpcurl()
    service = "retrieval.v1.RetrievalService"
    thrillers = '{"must":[{"match":{"attribute":"genres","values":[{"keyword":"Thriller"}]}}]}'
    calls = (
        (
            "Movies similar to The Matrix",
            f'{{"collection":"{collection}","item_ids":["0133093"],"options":{{"limit":3,"view":"VIEW_BASIC"}}}}',
            f"{service}/SearchSimilarItems",
        ),
        (
            "What user 154 should see next, thrillers only",
            f'{{"collection":"{collection}","user_id":"154","options":{{"limit":3,"view":"VIEW_BASIC","filter":{thrillers}}}}}',
            f"{service}/SearchUserCandidates",
        ),
        (
            "Rows, indexes and their state",
            f'{{"collection":"{collection}"}}',
            "retrieval.v1.CollectionService/GetIndexStats",
        ),
    )
    lines = [f"\nServing on {target}. In another terminal:\n"]
    for title, body, method in calls:
        lines.append(f"# {title}\n{grpcurl} -plaintext -d '{body}' {target} {method}\n")
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def _grpcurl() -> str:
    """Grpcurl from the path, or the one beside this interpreter, so that the calls work as pasted."""
    beside = Path(sys.executable).with_name("grpcurl")
    if shutil.which("grpcurl") or not beside.exists():
        return "grpcurl"
    try:
        return str(beside.relative_to(Path.cwd()))
    except ValueError:
        return str(beside)
