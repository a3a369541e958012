"""A network for voice notes and podcasts: its tables, its data, and what its own code does beside the service."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

from retrieval.v1 import feedback_service_pb2 as feedback_pb
from tests.acceptance.attached_app import AttachedApp, Topics, as_list

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MODEL = "text-embedding-3-small"
DIM = 1536
SUBJECTS = {
    "startups": ("founders", "investors", "pitch", "runway", "customers", "pivot"),
    "cooking": ("sourdough", "dumplings", "broth", "oven", "garlic", "kitchen"),
    "cycling": ("bicycle", "gravel", "climb", "pedals", "helmet", "puncture"),
    "astronomy": ("galaxies", "telescope", "comet", "orbit", "nebula", "eclipse"),
    "jazz": ("saxophone", "improvisation", "trumpet", "swing", "quartet", "bebop"),
}
TOPICS = Topics(SUBJECTS, DIM)
EACH = 30
FEW = 12
CHUNKS = 6
USERS = [uuid5(UUID(int=3), f"user {n}") for n in range(10)]
CIRCLES = [uuid5(UUID(int=3), f"circle {n}") for n in range(3)]
MEMBERS = {CIRCLES[0]: USERS[0:4], CIRCLES[1]: USERS[3:7], CIRCLES[2]: USERS[7:10]}
START = datetime(2026, 1, 5, 8, tzinfo=UTC)

TABLES = """
CREATE TABLE {schema}.users (id uuid PRIMARY KEY, shadowbanned boolean NOT NULL DEFAULT false);
CREATE TABLE {schema}.audio_items (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    owner_id uuid NOT NULL,
    visibility text NOT NULL DEFAULT 'private',
    title text,
    description text,
    kind text NOT NULL,
    duration_sec integer,
    s3_key text,
    tags text[] NOT NULL DEFAULT '{}',
    share_to_circle_ids uuid[] NOT NULL DEFAULT '{}',
    parent_audio_id uuid REFERENCES {schema}.audio_items (id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE {schema}.transcripts (
    audio_id uuid PRIMARY KEY REFERENCES {schema}.audio_items (id) ON DELETE CASCADE,
    text text NOT NULL,
    lang text NOT NULL DEFAULT 'en',
    words jsonb
);
CREATE TABLE {schema}.summaries (
    audio_id uuid PRIMARY KEY REFERENCES {schema}.audio_items (id) ON DELETE CASCADE,
    preview_sentence text,
    tldr text,
    chapters jsonb,
    keywords text[],
    mood text
);
CREATE TABLE {schema}.clips (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    audio_id uuid NOT NULL REFERENCES {schema}.audio_items (id) ON DELETE CASCADE,
    start_sec numeric NOT NULL,
    end_sec numeric NOT NULL,
    title text,
    quote text
);
CREATE TABLE {schema}.embeddings (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    audio_id uuid NOT NULL REFERENCES {schema}.audio_items (id) ON DELETE CASCADE,
    chunk_index integer NOT NULL,
    vector vector(1536) NOT NULL,
    text_chunk text NOT NULL,
    UNIQUE (audio_id, chunk_index)
);
CREATE TABLE {schema}.circle_members (circle_id uuid, user_id uuid, role text, PRIMARY KEY (circle_id, user_id));
CREATE TABLE {schema}.user_follows (follower_id uuid, followee_id uuid, PRIMARY KEY (follower_id, followee_id));
"""

VIEWS = """
CREATE VIEW {schema}.audio_documents AS
SELECT
    a.*, t.lang, t.text AS transcript, s.preview_sentence, s.tldr, s.keywords, s.mood,
    CASE WHEN u.shadowbanned THEN 'flagged' ELSE 'approved' END AS moderation
FROM {schema}.audio_items AS a
LEFT JOIN {schema}.users AS u ON u.id = a.owner_id
LEFT JOIN {schema}.transcripts AS t ON t.audio_id = a.id
LEFT JOIN {schema}.summaries AS s ON s.audio_id = a.id;
CREATE VIEW {schema}.german_documents AS SELECT * FROM {schema}.audio_documents WHERE lang = 'de';
CREATE VIEW {schema}.audio_chunks AS
SELECT e.audio_id, e.chunk_index, e.vector, e.text_chunk, c.start_sec, c.end_sec
FROM {schema}.embeddings AS e
LEFT JOIN LATERAL (
    SELECT c.start_sec, c.end_sec
    FROM {schema}.clips AS c
    WHERE c.audio_id = e.audio_id AND strpos(e.text_chunk, c.quote) > 0
    ORDER BY c.start_sec
    LIMIT 1
) AS c ON true
"""
"""The only thing that is added: a document for each audio, and for each of its chunks the clip that was cut from it."""

COLLECTION: dict[str, Any] = {
    "attributes": [
        {"name": "kind", "type": "ATTRIBUTE_TYPE_KEYWORD"},
        {"name": "lang", "type": "ATTRIBUTE_TYPE_KEYWORD"},
        {"name": "mood", "type": "ATTRIBUTE_TYPE_KEYWORD"},
        {"name": "keywords", "type": "ATTRIBUTE_TYPE_KEYWORD_LIST"},
        {"name": "duration_sec", "type": "ATTRIBUTE_TYPE_INT64"},
        {"name": "parent_audio_id", "type": "ATTRIBUTE_TYPE_KEYWORD"},
        {"name": "circles", "type": "ATTRIBUTE_TYPE_KEYWORD_LIST"},
    ],
    "visibility_mode": "VISIBILITY_MODE_PRIVATE_BY_DEFAULT",
    "event_types": [{"type": "share", "weight": 3}, {"type": "preview_finished", "weight": 0.5}],
}
BINDING: dict[str, Any] = {
    "relation": "{schema}.audio_documents",
    "text_columns": ["title", "description", "tldr", "transcript"],
    "owner_column": "owner_id",
    "visibility": {
        "column": "visibility",
        "values": {
            "public": "VISIBILITY_PUBLIC",
            "circles": "VISIBILITY_GROUPS",
            "private": "VISIBILITY_PRIVATE",
        },
    },
    "audience_column": "share_to_circle_ids",
    "status": {"column": "moderation"},
    "tags_column": "tags",
    "created_at_column": "created_at",
    "attributes": {"circles": "share_to_circle_ids"}
    | {name: name for name in ("kind", "lang", "mood", "keywords", "duration_sec", "parent_audio_id")},
    "payload_columns": ["preview_sentence", "s3_key"],
    "vectors": [
        {
            "relation": "{schema}.audio_chunks",
            "key_column": "audio_id",
            "chunk_index_column": "chunk_index",
            "column": "vector",
            "text_column": "text_chunk",
            "start_column": "start_sec",
            "end_column": "end_sec",
        }
    ],
    "watched_tables": [
        {"table": "{schema}.audio_items", "key_column": "id"},
        *(
            {"table": f"{{schema}}.{table}", "key_column": "audio_id"}
            for table in ("transcripts", "summaries", "clips", "embeddings")
        ),
    ],
}

ADD_ITEM = """
INSERT INTO {schema}.audio_items (
    id, owner_id, visibility, share_to_circle_ids, title, kind, duration_sec, tags, created_at
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
"""
ADD_CHUNK = """
INSERT INTO {schema}.embeddings (audio_id, chunk_index, vector, text_chunk) VALUES ($1, $2, $3::real[]::vector, $4)
"""


def audio_id(subject: str, number: int) -> UUID:
    return uuid5(UUID(int=3), f"{subject} {number}")


def visibility(number: int) -> tuple[str, list[UUID]]:
    """Of ten in a row, six are public, three are shared with a circle, one is private."""
    match number % 10:
        case 1 | 5 | 8:
            return "circles", [CIRCLES[number % 3]]
        case 3:
            return "private", []
    return "public", []


def owner(subject: str, number: int) -> UUID:
    return USERS[(number + list(SUBJECTS).index(subject)) % len(USERS)]


def sentence(subject: str, number: int, chunk: int) -> str:
    """What is said in a part of an audio."""
    words = SUBJECTS[subject]
    first, second = words[(number + chunk) % 6], words[(number + 2 * chunk + 1) % 6]
    return f"In part {chunk} of note {number} we talk about the {first} and why the {second} matters."


async def add_audio(app: AttachedApp, subject: str, numbers: Sequence[int]) -> None:
    """Voice notes on a subject with what is made of them: transcript, summary, chunks, a clip of the third chunk."""
    items: list[tuple[Any, ...]] = []
    for n in numbers:
        shown, circles = visibility(n)
        kind, length = ("micro", 90) if n % 3 else ("podcast_episode", 1800)
        made = START + timedelta(hours=7 * n)
        tags = [subject, "daily" if n % 2 else "long"]
        items.append((audio_id(subject, n), owner(subject, n), shown, circles, f"Note {n}", kind, length, tags, made))
    await app.run_many(ADD_ITEM, items)
    ids = [(audio_id(subject, n), n) for n in numbers]
    await app.run_many(
        "INSERT INTO {schema}.transcripts (audio_id, text) VALUES ($1, $2)",
        [(i, " ".join(sentence(subject, n, c) for c in range(CHUNKS))) for i, n in ids],
    )
    await app.run_many(
        "INSERT INTO {schema}.summaries VALUES ($1, $2, $3, NULL, $4, $5)",
        [(i, f"Note {n} in a sentence", f"On {subject}.", [subject], "calm" if n % 2 else "lively") for i, n in ids],
    )
    await app.run_many(ADD_CHUNK, chunks(subject, numbers))
    await app.run_many(
        "INSERT INTO {schema}.clips (audio_id, start_sec, end_sec, quote) VALUES ($1, $2, $3, $4)",
        [(i, 10.5, 24.25, f"part 2 of note {n}") for i, n in ids],
    )


def chunks(subject: str, numbers: Sequence[int]) -> Iterator[tuple[UUID, int, list[float], str]]:
    for n in numbers:
        for c in range(CHUNKS):
            text = sentence(subject, n, c)
            yield audio_id(subject, n), c, as_list(TOPICS.vector(text)), text


async def fill(app: AttachedApp, each: int) -> None:
    await app.run(TABLES)
    await app.run(VIEWS)
    for subject in SUBJECTS:
        await add_audio(app, subject, range(each))
    await app.run_many(
        "INSERT INTO {schema}.circle_members VALUES ($1, $2, 'member')",
        [(circle, user) for circle, users in MEMBERS.items() for user in users],
    )


async def circles_of(app: AttachedApp, user: UUID) -> list[str]:
    """What the application hands over as the viewer's groups."""
    rows = await app.fetch("SELECT circle_id FROM {schema}.circle_members WHERE user_id = $1", user)
    return [str(r["circle_id"]) for r in rows]


def event(user: object, item: object, kind: str, hours_ago: float = 1.0) -> feedback_pb.Event:
    """A row of feed_events, likes or saves, as it is handed over."""
    made = feedback_pb.Event(user_id=str(user), item_id=str(item), type=kind)
    made.occurred_at.FromDatetime(datetime.now(UTC) - timedelta(hours=hours_ago))
    return made
