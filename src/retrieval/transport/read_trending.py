"""Requests of ListTrendingItems, and the tokens of their pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrieval.application.trending_items import TrendingItems
from retrieval.domain.errors import InvalidArgumentError
from retrieval.domain.search import NO_FILTER, View
from retrieval.domain.trending import DAY_S, DEFAULT_WINDOW_S, HOUR_S, WINDOWS_S
from retrieval.transport import enums
from retrieval.transport.paging import page_size, read_token, write_token
from retrieval.transport.read_filters import read_filter
from retrieval.transport.read_search import read_collection_name
from retrieval.transport.validate import require, seconds

if TYPE_CHECKING:
    from retrieval.transport.caller import Caller
    from retrieval.v1 import retrieval_service_pb2 as pb


def read_trending(request: pb.ListTrendingItemsRequest, caller: Caller) -> TrendingItems:
    """A checked request for a page."""
    return TrendingItems(
        read_collection_name(request.collection),
        _window(request),
        page_size(request.page_size),
        _places(read_token(request.page_token, *_same(request))),
        read_filter(request.filter, "filter") if request.HasField("filter") else NO_FILTER,
        caller.viewer(request.viewer, "viewer") if request.HasField("viewer") else None,
        enums.read(enums.VIEW, request.view, "view", View.ID_SCORE),
    )


def write_place(request: pb.ListTrendingItemsRequest, places: int) -> str:
    """The token of the page that begins so many places down the list; empty for 0."""
    return write_token(str(places) if places else "", *_same(request))


def _window(request: pb.ListTrendingItemsRequest) -> int:
    if not request.HasField("window"):
        return DEFAULT_WINDOW_S
    window_s = seconds(request.window, "window")
    names = ", ".join(f"{w}s ({w // DAY_S} d)" if w >= DAY_S else f"{w}s ({w // HOUR_S} h)" for w in WINDOWS_S)
    require(window_s in WINDOWS_S, "window", f"is {window_s:g}s, must be one of {names}", "UNKNOWN_WINDOW")
    return int(window_s)


def _places(text: str) -> int:
    if not text:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) < 8):
        raise InvalidArgumentError.of(
            "page_token", "is not a token that this request returned", reason="BAD_PAGE_TOKEN"
        )
    return int(text)


def _same(request: pb.ListTrendingItemsRequest) -> tuple[bytes, ...]:
    """What must be the same on every page."""
    parts = (request.window, request.filter, request.viewer)
    return (request.collection.encode(), *(part.SerializeToString(deterministic=True) for part in parts))
