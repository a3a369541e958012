from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.domain.errors import InvalidArgumentError
from retrieval.transport.paging import page_size, read_token, write_token
from retrieval.v1 import collection_service_pb2 as collections_pb
from retrieval.v1 import common_pb2 as common_pb
from retrieval.v1 import item_service_pb2 as items_pb

if TYPE_CHECKING:
    from tests.transport.conftest import Running

ids = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=64)


@given(ids, st.binary(), st.binary())
def test_a_token_gives_back_its_id(last_id: str, collection: bytes, filters: bytes) -> None:
    assert read_token(write_token(last_id, collection, filters), collection, filters) == last_id


@given(st.text(max_size=80))
def test_what_is_no_token_is_refused(text: str) -> None:
    if text:
        with pytest.raises(InvalidArgumentError) as raised:
            read_token(text, b"films")
        assert raised.value.reason == "BAD_PAGE_TOKEN"


@pytest.mark.parametrize("other", [(b"films", b"x"), (b"film", b"s"), (b"filmss",), ()])
def test_a_token_is_good_for_its_own_request_only(other: tuple[bytes, ...]) -> None:
    with pytest.raises(InvalidArgumentError, match="page_token"):
        read_token(write_token("a", b"films", b"s"), *other)


def test_a_token_that_is_not_utf8_is_refused() -> None:
    raw = base64.urlsafe_b64decode(write_token("ab", b"films") + "==")
    broken = base64.urlsafe_b64encode(raw[:-2] + b"\xff\xfe").rstrip(b"=").decode()
    with pytest.raises(InvalidArgumentError, match="page_token"):
        read_token(broken, b"films")


def test_sizes() -> None:
    assert page_size(0) == 50
    assert page_size(1000) == 1000
    for wrong in (-1, 1001):
        with pytest.raises(InvalidArgumentError, match="page_size"):
            page_size(wrong)


async def test_pages_of_items_and_collections_add_up(run: Running) -> None:
    await run.client.upsert_items("films", [common_pb.Item(item_id=f"i{n:02d}") for n in range(25)])
    seen, token = [], ""
    while True:
        page = await run.client.items.ListItems(
            items_pb.ListItemsRequest(collection="films", page_size=10, page_token=token)
        )
        seen += [item.item_id for item in page.items]
        token = page.next_page_token
        if not token:
            break
    assert seen == [f"i{n:02d}" for n in range(25)]
    listed = await run.client.collections.ListCollections(collections_pb.ListCollectionsRequest(page_size=1))
    assert [c.name for c in listed.collections] == ["films"]
    assert not listed.next_page_token
