"""Tables of an application, followed as it writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrieval.application.attachment_ports import AttachmentState
from retrieval.domain.model import ItemStatus, Visibility
from tests.postgres.attach.conftest import near

if TYPE_CHECKING:
    from tests.postgres.attach.conftest import App


async def test_rows_become_items(app: App) -> None:
    await app.run("""
        INSERT INTO {schema}.posts (title, body, author, shown_to, circles, state, stars, votes, tags, platform, likes, extra, embedding, made_at)
        VALUES ('whole', 'body', 'a0000000-0000-0000-0000-000000000001', 'circles', '{c0000000-0000-0000-0000-000000000001}',
            'ok', 4.5, 12, '{x,y}', 'web', 3, '{"k": [1]}', '[3,4,0]', '2024-05-06T07:08:09Z'),
            ('bare', NULL, NULL, 'everybody', '{}', 'ok', NULL, NULL, NULL, NULL, 0, NULL, NULL, NULL)
    """)
    attached = await app.attach()
    assert (attached.state, attached.rows_done, attached.problem_count) == (AttachmentState.FOLLOWING, 2, 0)
    items = await app.items()
    whole, bare = items["whole"], items["bare"]
    assert whole.text == "whole\n\nbody"
    assert whole.owner_id == "a0000000-0000-0000-0000-000000000001"
    assert (whole.visibility, whole.audience) == (Visibility.GROUPS, ("c0000000-0000-0000-0000-000000000001",))
    assert (whole.status, whole.rating_value, whole.rating_count) == (ItemStatus.APPROVED, 4.5, 12)
    assert whole.tags == ("x", "y")
    assert whole.attributes == {"platform": "web", "likes": 3, "made": 1714979289000000}
    assert whole.created_at == 1714979289000000
    assert whole.payload_json is not None
    assert '"extra"' in whole.payload_json
    assert near(whole, 3, 4, 0)
    assert (bare.visibility, bare.owner_id, bare.tags, bare.attributes, bare.chunks) == (Visibility.PUBLIC, "", (), {"likes": 0}, ())


async def test_changes_follow(app: App) -> None:
    await app.attach()
    await app.run("INSERT INTO {schema}.posts (title, embedding) SELECT 'post ' || n, '[1,0,0]' FROM generate_series(1, 50) AS n")
    assert len(await app.items()) == 50
    await app.run("UPDATE {schema}.posts SET title = 'renamed', embedding = '[0,1,0]' WHERE title = 'post 7'")
    await app.run("DELETE FROM {schema}.posts WHERE title = 'post 8'")
    items = await app.items()
    assert len(items) == 49
    assert near(items["renamed"], 0, 1, 0)
    assert "post 8" not in items
    await app.run("TRUNCATE {schema}.posts")
    assert await app.items() == {}
