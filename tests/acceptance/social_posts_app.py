"""A social feed with tables of its own: who writes about what, who likes what, and what became of it."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from functools import cache
from random import Random
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, UUID, uuid5

import numpy as np

from retrieval.v1 import feedback_service_pb2 as feedback_pb

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

NOW = datetime.now(UTC).replace(microsecond=0)
TOPICS = {
    "baking": "sourdough crust oven flour rye proofing crumb yeast loaf butter pastry baguette",
    "databases": "query index vacuum transaction replica planner lock schema migration partition join checkpoint",
    "cycling": "derailleur gravel climb saddle peloton sprint chainring descent tubeless cadence pannier headset",
    "gardening": "compost seedling tomato mulch pruning perennial trellis slug greenhouse bulb hedge watering",
    "astronomy": "telescope nebula eclipse galaxy comet eyepiece aperture meteor saturn dobsonian seeing orbit",
    "chess": "gambit endgame bishop rook castling blitz opening pawn zugzwang sicilian tactics knight",
}
TOPIC_OF_WORD = {word: topic for topic, words in TOPICS.items() for word in words.split()}
OPENINGS = ("Today:", "Finally,", "A note on", "Asking for a friend:", "I was wrong about", "Lesson of the week:")
ENDINGS = ("and I regret nothing.", "any advice?", "who else?", "more tomorrow.", "thanks to everybody.", "it works!")
AUTHORS, POSTS, READERS = 5, 8, 3
"""Of each topic: authors, posts of each author, readers."""
TYPES = (
    *("like", "reply", "repost", "view", "click", "share", "profile_click", "dwell"),
    *("not_interested", "block_author", "mute_author", "report"),
)
BASE, LEARNED = 384, 256

TABLES = """
CREATE TABLE profiles (
    id uuid PRIMARY KEY, username text NOT NULL, user_embedding_256 text, embedding_updated_at timestamp
);
CREATE TABLE posts (
    id uuid PRIMARY KEY, user_id uuid NOT NULL REFERENCES profiles ON DELETE CASCADE, content text NOT NULL,
    parent_id uuid REFERENCES posts ON DELETE CASCADE, like_count integer NOT NULL DEFAULT 0,
    view_count integer DEFAULT 0, repost_count integer DEFAULT 0, created_at timestamptz NOT NULL DEFAULT now(),
    embedding_384 text, embedding_256 text, computed_at timestamp
);
CREATE INDEX idx_posts_needs_embedding ON posts (computed_at) WHERE computed_at IS NULL;
CREATE TABLE follows (
    follower_id uuid REFERENCES profiles ON DELETE CASCADE, following_id uuid REFERENCES profiles ON DELETE CASCADE,
    PRIMARY KEY (follower_id, following_id)
);
CREATE TABLE engagement_events (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), user_id uuid NOT NULL REFERENCES profiles ON DELETE CASCADE,
    post_id uuid NOT NULL REFERENCES posts ON DELETE CASCADE, event_type varchar(50) NOT NULL, dwell_time_ms integer,
    position_in_feed integer, predicted_score double precision, feed_algorithm varchar(50), device_type varchar(20),
    created_at timestamptz DEFAULT now(), UNIQUE (user_id, post_id, event_type)
);
ALTER TABLE engagement_events ENABLE ROW LEVEL SECURITY;
CREATE TABLE post_views (
    post_id uuid REFERENCES posts ON DELETE CASCADE, user_id uuid REFERENCES profiles ON DELETE CASCADE,
    UNIQUE (post_id, user_id)
);
CREATE FUNCTION update_view_count() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE posts SET view_count = view_count + 1 WHERE id = new.post_id;
    RETURN new;
END $$;
CREATE TRIGGER trigger_update_view_count AFTER INSERT ON post_views
    FOR EACH ROW EXECUTE FUNCTION update_view_count();
CREATE TABLE reposts (
    post_id uuid REFERENCES posts ON DELETE CASCADE, user_id uuid REFERENCES profiles ON DELETE CASCADE,
    UNIQUE (post_id, user_id)
);
CREATE FUNCTION update_repost_count() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE posts SET repost_count = repost_count + CASE tg_op WHEN 'INSERT' THEN 1 ELSE -1 END
    WHERE id = CASE tg_op WHEN 'INSERT' THEN new.post_id ELSE old.post_id END;
    RETURN NULL;
END $$;
CREATE TRIGGER trigger_update_repost_count AFTER INSERT OR DELETE ON reposts
    FOR EACH ROW EXECUTE FUNCTION update_repost_count();
"""

COLLECTION = {
    "collection": {
        "name": "posts",
        "text_language": "english",
        "attributes": [
            {"name": "parent_id", "type": "ATTRIBUTE_TYPE_KEYWORD"},
            {"name": "views", "type": "ATTRIBUTE_TYPE_INT64"},
            {"name": "reposts", "type": "ATTRIBUTE_TYPE_INT64"},
        ],
    },
    "embedding_version": {"model": "all-MiniLM-L6-v2", "dimension": BASE, "embeds_text": True},
}
BINDING = {
    "relation": "public.posts",
    "text_columns": ["content"],
    "owner_column": "user_id",
    "created_at_column": "created_at",
    "rating_count_column": "like_count",
    "attributes": {"parent_id": "parent_id", "views": "view_count", "reposts": "repost_count"},
    "vectors": [
        {"column": "embedding_384", "embedding_version": 1},
        {"column": "embedding_384", "embedding_version": 2},
    ],
}


def key(*names: object) -> UUID:
    return uuid5(NAMESPACE_URL, "/".join(map(str, names)))


def embed(text: str) -> NDArray[np.float64]:
    """What stands for the text model: (384,) float64. Words of a topic point where it does, and their own way."""
    words = re.findall(r"[a-z0-9']+", text.lower())
    directions = [0.3 * _direction(word) for word in words if word not in TOPIC_OF_WORD]
    directions += [_direction(word) + _direction(TOPIC_OF_WORD[word]) for word in words if word in TOPIC_OF_WORD]
    return np.sum(directions, axis=0)


@cache
def _direction(word: str) -> NDArray[np.float64]:
    return np.random.default_rng(list(word.encode())).standard_normal(BASE)


def tower() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What stands for the learned projection: W (256, 384) with orthonormal rows, and b (256,), both float32."""
    rng = np.random.default_rng(7)
    square, _ = np.linalg.qr(rng.standard_normal((BASE, BASE)))
    return square[:LEARNED].astype(np.float32), (rng.standard_normal(LEARNED) * 0.02).astype(np.float32)


def as_json(vector: NDArray[Any]) -> str:
    return json.dumps([round(float(x), 6) for x in vector])


def sentence(topic: str, chooser: Random) -> str:
    words = chooser.sample(TOPICS[topic].split(), 6)
    return f"{chooser.choice(OPENINGS)} {' '.join(words[:4])}, {' '.join(words[4:])} {chooser.choice(ENDINGS)}"


class Feed:
    """The application: its connection, and what it knows of topics."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.topic_of: dict[str, str] = {}
        self.vectors: dict[str, NDArray[np.float64]] = {}
        self.made = 0

    async def build(self) -> None:
        """Create the tables, and a month of posts; the last post of each author has no embedding yet."""
        await self.connection.execute(TABLES)
        chooser, (matrix, bias) = Random(1), tower()
        people, posts = [], []
        for topic in TOPICS:
            for n in range(max(AUTHORS, READERS)):
                people += [(author(topic, n), f"{topic} author {n}"), (reader(topic, n), f"{topic} reader {n}")]
            for n in range(AUTHORS):
                for m in range(POSTS):
                    at = NOW - timedelta(days=29 - 3 * m, minutes=n)
                    posts.append(self._post(post(topic, n, m), author(topic, n), topic, at, chooser, m < POSTS - 1))
        await self.connection.executemany("INSERT INTO profiles (id, username) VALUES ($1, $2)", people)
        rows = [
            (
                *row,
                row[4] and as_json(matrix @ np.array(json.loads(row[4])) + bias),
                row[4] and row[3].replace(tzinfo=None),
            )
            for row in posts
        ]
        await self.connection.executemany(
            "INSERT INTO posts (id, user_id, content, created_at, embedding_384, embedding_256, computed_at)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7)",
            rows,
        )

    def _post(
        self, post_id: UUID, owner: UUID, topic: str, at: datetime, chooser: Random, embedded: bool
    ) -> tuple[UUID, UUID, str, datetime, str | None]:
        text = sentence(topic, chooser)
        self.topic_of[str(post_id)] = topic
        if embedded:
            self.vectors[str(post_id)] = embed(text)
        return post_id, owner, text, at, as_json(embed(text)) if embedded else None

    async def person(self) -> UUID:
        """Somebody new."""
        self.made += 1
        user = key("newcomer", self.made)
        await self.connection.execute("INSERT INTO profiles (id, username) VALUES ($1, $2)", user, f"new {self.made}")
        return user

    async def write(self, topic: str, owner: UUID, **columns: Any) -> UUID:
        """A new post, which the application did not embed."""
        self.made += 1
        post_id = key("written", self.made)
        text = columns.pop("content", None) or sentence(topic, Random(self.made))
        self.topic_of[str(post_id)] = topic
        names = ["id", "user_id", "content", *columns]
        places = ", ".join(f"${n}" for n in range(1, len(names) + 1))
        await self.connection.execute(
            f"INSERT INTO posts ({', '.join(names)}) VALUES ({places})", post_id, owner, text, *columns.values()
        )
        return post_id

    async def engage(
        self, user: UUID, post_id: UUID, kind: str, days_ago: float = 0.05, **columns: Any
    ) -> feedback_pb.Event:
        """A row of the application's, and the event that is sent of it."""
        columns = {"created_at": NOW - timedelta(days=days_ago), **columns}
        names = ["user_id", "post_id", "event_type", *columns]
        places = ", ".join(f"${n}" for n in range(1, len(names) + 1))
        row = await self.connection.fetchrow(
            f"INSERT INTO engagement_events ({', '.join(names)}) VALUES ({places}) RETURNING *",
            user,
            post_id,
            kind,
            *columns.values(),
        )
        return event_of(row)

    async def all_events(self) -> list[feedback_pb.Event]:
        """The whole table, as it would be replayed."""
        return [event_of(row) for row in await self.connection.fetch("SELECT * FROM engagement_events ORDER BY id")]

    def topics(self, item_ids: Iterable[str]) -> list[str]:
        return [self.topic_of[item_id] for item_id in item_ids]


def author(topic: str, n: int) -> UUID:
    return key("author", topic, n)


def reader(topic: str, n: int) -> UUID:
    return key("reader", topic, n)


def post(topic: str, n: int, m: int) -> UUID:
    """Post `m` of author `n`; the higher, the newer."""
    return key("post", topic, n, m)


def event_of(row: Any) -> feedback_pb.Event:
    """A row of `engagement_events` as an event; sent again, it is the same one."""
    event = feedback_pb.Event(
        user_id=str(row["user_id"]),
        item_id=str(row["post_id"]),
        type=row["event_type"],
        event_id=f"{row['post_id']}/{row['event_type']}",
        algorithm=row["feed_algorithm"] or "",
        device=row["device_type"] or "",
        dwell_ms=row["dwell_time_ms"],
        position=row["position_in_feed"],
        predicted_score=row["predicted_score"],
    )
    event.occurred_at.FromDatetime(row["created_at"])
    return event
