"""A library of videos: its own tables, and some hundred videos that people watch, bookmark and refer to."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, UUID, uuid5
from zlib import crc32

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

DIM = 1536
MODEL = "openai-ada-002"
PER_TOPIC = 40
FANS = 3
NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)

TABLES = """
CREATE SCHEMA library;
SET search_path TO library, public;
CREATE TABLE users (id uuid PRIMARY KEY, username text NOT NULL UNIQUE, display_name text);
CREATE TABLE categories (
    id serial PRIMARY KEY, name text NOT NULL UNIQUE, slug text NOT NULL UNIQUE,
    parent_id integer REFERENCES categories (id), display_order integer DEFAULT 0
);
CREATE TABLE videos (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    platform text NOT NULL CHECK (platform IN ('youtube', 'vimeo', 'dailymotion', 'other')),
    platform_id text NOT NULL, url text NOT NULL UNIQUE, title text NOT NULL, description text, thumbnail_url text,
    duration_seconds integer, published_at timestamptz, channel_name text, channel_id text,
    view_count bigint DEFAULT 0, like_count bigint DEFAULT 0, category_id integer REFERENCES categories (id),
    is_approved boolean DEFAULT false, is_featured boolean DEFAULT false,
    moderation_status text DEFAULT 'pending'
        CHECK (moderation_status IN ('pending', 'approved', 'rejected', 'flagged')),
    submitted_by uuid REFERENCES users (id), created_at timestamptz DEFAULT now(), updated_at timestamptz DEFAULT now(),
    metadata_refreshed_at timestamptz, UNIQUE (platform, platform_id)
);
CREATE TABLE tags (id serial PRIMARY KEY, name text NOT NULL UNIQUE, slug text NOT NULL UNIQUE);
CREATE TABLE video_tags (
    video_id uuid REFERENCES videos (id) ON DELETE CASCADE, tag_id integer REFERENCES tags (id) ON DELETE CASCADE,
    PRIMARY KEY (video_id, tag_id)
);
CREATE TABLE video_contexts (
    id uuid PRIMARY KEY, video_id uuid NOT NULL REFERENCES videos (id) ON DELETE CASCADE,
    context_type text NOT NULL
        CHECK (context_type IN ('summary', 'timeline', 'quote', 'reference', 'note', 'keypoint')),
    content text NOT NULL, timestamp_seconds integer, end_timestamp_seconds integer, is_approved boolean DEFAULT true
);
CREATE TABLE video_references (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    source_video_id uuid NOT NULL REFERENCES videos (id) ON DELETE CASCADE,
    target_video_id uuid NOT NULL REFERENCES videos (id) ON DELETE CASCADE,
    reference_type text NOT NULL, note text, timestamp_seconds integer,
    CHECK (source_video_id <> target_video_id), UNIQUE (source_video_id, target_video_id, reference_type)
);
CREATE TABLE collections (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), title text NOT NULL, slug text UNIQUE,
    created_by uuid NOT NULL REFERENCES users (id), is_public boolean DEFAULT true
);
CREATE TABLE collection_videos (
    collection_id uuid REFERENCES collections (id) ON DELETE CASCADE,
    video_id uuid REFERENCES videos (id) ON DELETE CASCADE, position integer NOT NULL,
    PRIMARY KEY (collection_id, video_id), UNIQUE (collection_id, position)
);
CREATE TABLE user_video_activity (
    user_id uuid REFERENCES users (id) ON DELETE CASCADE, video_id uuid REFERENCES videos (id) ON DELETE CASCADE,
    has_watched boolean DEFAULT false, last_watched_at timestamptz, watch_progress_seconds integer DEFAULT 0,
    is_bookmarked boolean DEFAULT false, bookmarked_at timestamptz, is_liked boolean DEFAULT false,
    liked_at timestamptz, updated_at timestamptz DEFAULT now(), PRIMARY KEY (user_id, video_id)
);
CREATE TABLE video_embeddings (
    video_id uuid PRIMARY KEY REFERENCES videos (id) ON DELETE CASCADE, embedding vector(1536),
    model text NOT NULL, source text NOT NULL, updated_at timestamptz DEFAULT now()
);
CREATE INDEX ON video_embeddings USING hnsw (embedding vector_cosine_ops);
-- Beside what the library began with: embeddings of the moments that viewers wrote down.
CREATE TABLE context_embeddings (
    context_id uuid PRIMARY KEY REFERENCES video_contexts (id) ON DELETE CASCADE, video_id uuid NOT NULL,
    embedding vector(1536), model text NOT NULL
);
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at = now();
    RETURN NEW;
END
$$;
CREATE TRIGGER touch_videos BEFORE UPDATE ON videos FOR EACH ROW EXECUTE FUNCTION touch();
"""
"""The application's tables: columns that nothing here reads (e.g. avatars) are left out."""

VIEWS = """
CREATE VIEW video_items AS
SELECT
    v.id, v.title, v.description, v.platform, v.channel_name, v.channel_id, v.duration_seconds, v.published_at,
    v.view_count, v.like_count, v.url, v.thumbnail_url, v.is_featured, v.submitted_by, v.created_at,
    CASE WHEN v.moderation_status = 'approved' AND v.is_approved IS NOT TRUE THEN 'pending'
        ELSE v.moderation_status END AS moderation,
    ARRAY(
        WITH RECURSIVE up AS (
            SELECT c.slug, c.parent_id, 1 AS depth FROM categories AS c WHERE c.id = v.category_id
            UNION ALL
            SELECT c.slug, c.parent_id, up.depth + 1 FROM categories AS c
            INNER JOIN up ON up.parent_id = c.id WHERE up.depth < 8
        )
        SELECT slug FROM up
    ) AS categories,
    ARRAY(
        SELECT t.name FROM video_tags AS vt INNER JOIN tags AS t ON t.id = vt.tag_id WHERE vt.video_id = v.id
    ) AS tags,
    ARRAY(
        SELECT p.slug FROM collection_videos AS pv INNER JOIN collections AS p ON p.id = pv.collection_id
        WHERE pv.video_id = v.id AND p.is_public
    ) AS learning_paths,
    (SELECT e.source FROM video_embeddings AS e WHERE e.video_id = v.id) AS embedding_source
FROM videos AS v;
CREATE VIEW video_passages AS
SELECT video_id, 0 AS passage, embedding, model, NULL::text AS content, NULL::integer AS begins, NULL::integer AS ends
FROM video_embeddings
UNION ALL
SELECT
    c.video_id, row_number() OVER (PARTITION BY c.video_id ORDER BY c.timestamp_seconds, c.id)::integer, e.embedding,
    e.model, c.content, c.timestamp_seconds, coalesce(c.end_timestamp_seconds, c.timestamp_seconds + 30)
FROM video_contexts AS c INNER JOIN context_embeddings AS e ON e.context_id = c.id
WHERE c.is_approved AND c.timestamp_seconds IS NOT NULL AND c.context_type IN ('timeline', 'quote');
"""
"""What is written for the service: a row a video, and a row for each of its embeddings."""

BINDING: dict[str, Any] = {
    "relation": "library.video_items",
    "text_columns": ["title", "description"],
    "owner_column": "submitted_by",
    "status": {"column": "moderation"},
    "tags_column": "tags",
    "created_at_column": "created_at",
    "attributes": {
        "categories": "categories",
        "platform": "platform",
        "channel": "channel_name",
        "duration_seconds": "duration_seconds",
        "published_at": "published_at",
        "is_featured": "is_featured",
        "learning_paths": "learning_paths",
        "embedding_source": "embedding_source",
    },
    "payload_columns": ["url", "thumbnail_url", "view_count", "like_count"],
    "vectors": [
        {
            "column": "embedding",
            "relation": "library.video_passages",
            "key_column": "video_id",
            "chunk_index_column": "passage",
            "model_column": "model",
            "text_column": "content",
            "start_column": "begins",
            "end_column": "ends",
        }
    ],
    "watched_tables": [
        {"table": "library.videos", "key_column": "id"},
        {"table": "library.video_tags", "key_column": "video_id"},
        {"table": "library.collection_videos", "key_column": "video_id"},
        {"table": "library.video_embeddings", "key_column": "video_id"},
        {"table": "library.video_contexts", "key_column": "video_id"},
        {"table": "library.context_embeddings", "key_column": "video_id"},
    ],
}
ATTRIBUTES = {
    "categories": "ATTRIBUTE_TYPE_KEYWORD_LIST",
    "platform": "ATTRIBUTE_TYPE_KEYWORD",
    "channel": "ATTRIBUTE_TYPE_KEYWORD",
    "duration_seconds": "ATTRIBUTE_TYPE_INT64",
    "published_at": "ATTRIBUTE_TYPE_TIMESTAMP",
    "is_featured": "ATTRIBUTE_TYPE_BOOL",
    "learning_paths": "ATTRIBUTE_TYPE_KEYWORD_LIST",
    "embedding_source": "ATTRIBUTE_TYPE_KEYWORD",
}

PARENTS = {
    "technology": "Technology",
    "science": "Science",
    "philosophy": "Philosophy",
    "history": "History",
    "mathematics": "Mathematics",
    "economics": "Economics",
}


@dataclass(frozen=True, slots=True)
class Topic:
    """A subcategory, what its videos are about, and words that mean it and that no text has."""

    slug: str
    parent: str
    subjects: tuple[str, ...]
    hints: tuple[str, ...]


TOPICS = (
    Topic("machine-learning", "technology", ("neural networks", "decision trees", "gradient descent", "language models",
        "image recognition", "reinforcement learning", "training data", "overfitting"), ("robots that think",)),
    Topic("astronomy", "science", ("distant galaxies", "neutron stars", "black holes", "the rings of saturn", "comets",
        "dark matter", "the moons of jupiter", "exploding stars"), ("stargazing", "the night sky")),
    Topic("ethics", "philosophy", ("the trolley problem", "utilitarian reasoning", "moral luck", "duty and virtue",
        "animal rights", "the social contract", "free will", "promises"), ("right and wrong",)),
    Topic("roman-history", "history", ("roman roads", "the punic wars", "gladiators", "aqueducts", "the senate",
        "legionaries", "pompeii", "emperor augustus"), ("caesar and his city",)),
    Topic("number-theory", "mathematics", ("prime numbers", "modular arithmetic", "perfect numbers",
        "fermat's last theorem", "continued fractions", "the riemann hypothesis", "cryptography", "integer partitions"),
        ("divisibility",)),
    Topic("markets", "economics", ("inflation", "supply and demand", "interest rates", "stock bubbles", "central banks",
        "game theory", "trade deficits", "unemployment"), ("why prices rise",)),
)  # fmt: skip
PATTERNS = (
    ("{s} explained calmly", "An hour with {s}, for everybody who was too shy to ask."),
    ("What {s} can teach us", "A lecture that begins with {s} and ends with questions from the audience."),
    ("A first look at {s}", "No background is needed: we draw, we count, and {s} make sense in the end."),
    ("The strange story of {s}", "How people came to think about {s}, and what they got wrong for a long time."),
    ("Five mistakes about {s}", "We tested what the comments say about {s}. Most of it does not hold."),
)
TAGS = ("beginner", "advanced", "lecture", "animation", "interview")
CHANNELS = ("Quiet Lectures", "Chalk Dust", "The Slow Hour")
PLATFORMS = ("youtube", "youtube", "vimeo", "dailymotion")
SOURCES = ("title_description", "transcript", "combined")
HIDDEN = (("pending", False), ("rejected", False), ("flagged", False), ("approved", False))
"""Of each topic one with this moderation_status and is_approved: nobody but who submitted it may see it."""


def key(name: str) -> UUID:
    """The id of something with a name."""
    return uuid5(NAMESPACE_URL, f"library/{name}")


def _direction(name: str) -> NDArray[np.float64]:
    row = np.random.default_rng(crc32(name.encode())).standard_normal(DIM)
    return row / np.linalg.norm(row)


def text_vector(text: str) -> NDArray[np.float32]:
    """(DIM,) float32, unit L2: near texts of the same subject, less near those of the same topic, as a model would."""
    made = 0.05 * _direction(text)
    lowered = text.lower()
    for topic in TOPICS:
        for subject in topic.subjects:
            if subject in lowered:
                made += _direction(topic.slug) + 0.6 * _direction(subject)
        if any(hint in lowered for hint in topic.hints) or re.search(rf"\b{topic.slug}\b", lowered):
            made += _direction(topic.slug)
    return (made / np.linalg.norm(made)).astype(np.float32)


def vector_literal(row: NDArray[np.float32]) -> str:
    """As pgvector reads it."""
    return "[" + ",".join(f"{x:.6g}" for x in row) + "]"


@dataclass(frozen=True, slots=True)
class Video:
    """What the tests know of a row."""

    number: int
    topic: Topic
    title: str
    description: str
    status: str = "approved"
    approved: bool = True

    @property
    def id(self) -> UUID:
        return key(f"video/{self.number}")

    @property
    def item_id(self) -> str:
        return str(self.id)

    @property
    def listed(self) -> bool:
        return self.status == "approved" and self.approved

    @property
    def vector(self) -> NDArray[np.float32]:
        """The video's own, near those of the same subject."""
        made = text_vector(f"{self.title}. {self.description}") + 0.4 * _direction(f"noise {self.number}")
        return (made / np.linalg.norm(made)).astype(np.float32)


@dataclass(slots=True)
class Library:
    """All videos, by topic too, and the users by name."""

    videos: list[Video] = field(default_factory=list)
    users: list[str] = field(default_factory=list)

    def of(self, topic: str) -> list[Video]:
        """Listed videos of a topic."""
        return [v for v in self.videos if v.topic.slug == topic and v.listed]

    def by_id(self) -> dict[str, Video]:
        return {v.item_id: v for v in self.videos}


def make_library() -> Library:
    """The same one each time."""
    library = Library()
    for topic in TOPICS:
        for n in range(PER_TOPIC + len(HIDDEN)):
            subject = topic.subjects[n % len(topic.subjects)]
            title, description = PATTERNS[(n // len(topic.subjects)) % len(PATTERNS)]
            number = len(library.videos)
            texts = (title.format(s=subject).capitalize(), description.format(s=subject))
            if n < PER_TOPIC:
                library.videos.append(Video(number, topic, *texts))
            else:
                status, approved = HIDDEN[n - PER_TOPIC]
                library.videos.append(Video(number, topic, *texts, status, approved))
    library.users = [f"submitter {n}" for n in range(6)]
    library.users += [f"fan {n} of {topic.slug}" for topic in TOPICS for n in range(FANS)]
    library.users += ["newcomer", "saver"]
    return library


async def fill(app: Any, library: Library) -> None:
    """Write the rows; every column has a value from the number of its video."""
    await app.executemany("INSERT INTO users VALUES ($1, $2, $2)", [(key(u), u) for u in library.users])
    await app.executemany("INSERT INTO categories (name, slug) VALUES ($1, $2)", [(n, s) for s, n in PARENTS.items()])
    await app.executemany(
        "INSERT INTO categories (name, slug, parent_id) VALUES ($1, $1, (SELECT id FROM categories WHERE slug = $2))",
        [(t.slug, t.parent) for t in TOPICS],
    )
    await app.executemany("INSERT INTO tags (name, slug) VALUES ($1, $1)", [(t,) for t in TAGS])
    await app.executemany(
        """
        INSERT INTO videos (id, platform, platform_id, url, title, description, duration_seconds, published_at,
            channel_name, channel_id, view_count, like_count, category_id, is_approved, is_featured, moderation_status,
            submitted_by, created_at)
        VALUES ($1, $2, $3, 'https://videos.example/' || $3, $4, $5, $6, $7, $8, lower($8), $9, $10,
            (SELECT id FROM categories WHERE slug = $11), $12, $13, $14, $15, $7)
        """,
        [_video_row(v) for v in library.videos],
    )
    await app.executemany(
        "INSERT INTO video_tags SELECT $1, id FROM tags WHERE slug = ANY($2::text[])",
        [(v.id, [TAGS[v.number % 5], TAGS[(v.number // 5) % 5]]) for v in library.videos],
    )
    await app.executemany(
        "INSERT INTO video_embeddings (video_id, embedding, model, source) VALUES ($1, $2::text::vector, $3, $4)",
        [(v.id, vector_literal(v.vector), MODEL, SOURCES[v.number % 3]) for v in library.videos],
    )


def _video_row(v: Video) -> tuple[Any, ...]:
    n = v.number
    return (
        v.id, PLATFORMS[n % 4], f"v{n}", v.title, v.description, 180 + (n * 137) % 3600,
        NOW - dt.timedelta(days=10 + (n * 7) % 1000), CHANNELS[n % 3], (n * 7919) % 100_000, (n * 31) % 900,
        v.topic.slug, v.approved, n % 25 == 0, v.status, key(f"submitter {n % 6}"),
    )  # fmt: skip
