"""A perfume shop: its tables, its data, and what its own code does beside the service."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

import numpy as np
from google.protobuf import json_format

from retrieval.v1 import feedback_service_pb2 as feedback_pb
from tests.acceptance.attached_app import AttachedApp, Topics, as_list

if TYPE_CHECKING:
    from collections.abc import Iterator

MODEL = "voyage-3-large"
DIM = 2048
FAMILIES = {
    "citrus": ("bergamot", "lemon", "grapefruit", "mandarin", "neroli", "petitgrain"),
    "woody": ("cedar", "sandalwood", "vetiver", "patchouli", "oakmoss", "guaiac"),
    "floral": ("rose", "jasmine", "tuberose", "peony", "iris", "violet"),
    "gourmand": ("vanilla", "caramel", "tonka", "praline", "cocoa", "almond"),
    "aquatic": ("seaweed", "ozone", "driftwood", "saltwater", "calone", "algae"),
}
BRANDS = ("Maison Aurel", "Halden", "Ostrea", "North & Vale", "Fiori", "Lumen Works", "Ardent", "Quiet Hours")
FIRST = ("Midnight", "Silent", "Golden", "Second", "Paper", "Winter", "Open", "Velvet", "Distant", "Early")
SECOND = ("Garden", "Letter", "Harbour", "Ritual", "Memory", "Window", "Season", "Promise", "Mirror", "Journey")
EACH = 60
WITHOUT_VECTOR = 5
USERS = [uuid5(UUID(int=2), f"user {n}") for n in range(10)]
TOPICS = Topics(FAMILIES, DIM)

TABLES = """
CREATE TABLE {schema}.fragrances (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name text NOT NULL,
    brand text NOT NULL,
    description text,
    notes text[],
    scent_family text,
    price numeric,
    average_rating numeric,
    rating_count integer NOT NULL DEFAULT 0,
    embedding vector(2048),
    embedding_model varchar(50) DEFAULT 'voyage-3-large',
    embedding_generated_at timestamp,
    embedding_version integer DEFAULT 1
);
CREATE TABLE {schema}.user_collections (
    user_id uuid NOT NULL,
    fragrance_id uuid NOT NULL REFERENCES {schema}.fragrances (id) ON DELETE CASCADE,
    rating integer,
    usage_frequency text,
    PRIMARY KEY (user_id, fragrance_id)
);
CREATE TABLE {schema}.user_interactions (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL,
    fragrance_id uuid NOT NULL REFERENCES {schema}.fragrances (id) ON DELETE CASCADE,
    interaction_type varchar(50) NOT NULL,
    interaction_value double precision,
    interaction_context jsonb,
    created_at timestamp NOT NULL DEFAULT now()
);
CREATE TABLE {schema}.user_preferences (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid UNIQUE,
    user_embedding vector(2048),
    embedding_model varchar(50) DEFAULT 'voyage-3-large',
    last_updated timestamp DEFAULT now(),
    interaction_count integer DEFAULT 0
);
"""

COLLECTION = {
    "attributes": [
        {"name": "scent_family", "type": "ATTRIBUTE_TYPE_KEYWORD"},
        {"name": "brand", "type": "ATTRIBUTE_TYPE_KEYWORD"},
        {"name": "price", "type": "ATTRIBUTE_TYPE_DOUBLE"},
    ],
    "rating_scale_max": 5,
    "popular_thresholds": {"min_rating_value": 4.0, "min_rating_count": "100"},
    # As much as in the shop: what a customer did counts for about three months.
    "event_types": [
        {"type": "purchase_intent", "weight": 1.5, "half_life": "3888000s"},
        {"type": "rating", "half_life": "7776000s"},
    ],
    "text_language": "english",
}
BINDING: dict[str, Any] = {
    "relation": "{schema}.fragrances",
    "text_columns": ["name", "brand", "description", "notes"],
    "attributes": {"scent_family": "scent_family", "brand": "brand", "price": "price"},
    "rating_value_column": "average_rating",
    "rating_count_column": "rating_count",
    "payload_columns": ["name", "brand", "description"],
    "vectors": [{"column": "embedding", "model_column": "embedding_model"}],
}

ADD = """
INSERT INTO {schema}.fragrances (
    id, name, brand, description, notes, scent_family, price, average_rating, rating_count, embedding,
    embedding_generated_at
)
SELECT $1, $2, $3, $4, $5, $6, $7::integer, $8::double precision, $9, $10::real[]::vector,
    CASE WHEN $10::real[] IS NOT NULL THEN now() END
"""

TASTE = """
INSERT INTO {schema}.user_preferences (user_id, user_embedding, interaction_count)
SELECT c.user_id, sum(f.embedding * array_fill(w.weight::real, ARRAY[2048])::vector), count(*)
FROM {schema}.user_collections AS c
INNER JOIN {schema}.fragrances AS f ON f.id = c.fragrance_id AND f.embedding IS NOT NULL
CROSS JOIN LATERAL (
    SELECT coalesce(c.rating, 3) / 5.0 * greatest(count(*), 1) / 10.0
        * CASE c.usage_frequency WHEN 'daily' THEN 1.0 WHEN 'weekly' THEN 0.8 WHEN 'special' THEN 0.3 ELSE 0.5 END
    FROM {schema}.user_interactions AS i
    WHERE i.user_id = c.user_id AND i.fragrance_id = c.fragrance_id AND i.created_at > now() - interval '90 days'
) AS w (weight)
WHERE c.user_id = $1
GROUP BY c.user_id
RETURNING user_embedding::real[] AS taste
"""
"""The shop's own idea of a customer's taste: what they own, by how they rate it, wear it and come back to it."""


def fragrance_id(family: str, number: int) -> UUID:
    return uuid5(UUID(int=2), f"{family} {number}")


def favourite(user: UUID) -> str:
    """The family that a customer likes."""
    return list(FAMILIES)[USERS.index(user) % len(FAMILIES)]


def disliked(user: UUID) -> str:
    return list(FAMILIES)[(USERS.index(user) + 2) % len(FAMILIES)]


def fragrances() -> Iterator[tuple[Any, ...]]:
    """Rows for ADD."""
    for family, notes in FAMILIES.items():
        for n in range(EACH):
            chosen = [notes[(n + step) % len(notes)] for step in range(3)]
            name = f"{FIRST[n % 10]} {SECOND[(n // 10 + n) % 10]}"
            brand = BRANDS[n % len(BRANDS)]
            description = f"Opens with {chosen[0]}, dries down to {chosen[1]}."
            vector = None
            if n < EACH - WITHOUT_VECTOR:
                vector = as_list(TOPICS.vector(f"{name} {brand} {description} {' '.join(chosen)} {family} {n}"))
            rating, count = (4.5, 100 + n) if n % 4 == 0 else (3.2, n)
            row_id = fragrance_id(family, n)
            yield row_id, name, brand, description, chosen, family, 40 + 3 * n, rating, count, vector


def owned(user: UUID) -> Iterator[tuple[UUID, UUID, int, str]]:
    """A customer's shelf: six that are liked, two that are not."""
    usages = itertools.cycle(("daily", "weekly", "occasional", "special"))
    start = USERS.index(user)
    for n in range(start, start + 6):
        yield user, fragrance_id(favourite(user), n), 4 + n % 2, next(usages)
    for n in range(start, start + 2):
        yield user, fragrance_id(disliked(user), n), 1, "special"


def interactions(user: UUID) -> Iterator[tuple[UUID, UUID, str, float | None, str, datetime]]:
    """What a customer did within 90 days: looked at, searched for, liked, nearly bought."""
    start, now = USERS.index(user), datetime.now(UTC).replace(tzinfo=None)
    steps = ("view", "favorite", "search", "purchase_intent")
    for n, kind in itertools.product(range(start, start + 4), steps):
        at = now - timedelta(days=5 * n + 1, minutes=steps.index(kind))
        yield user, fragrance_id(favourite(user), n), kind, 30.0, '{"page": "family", "query": "something warm"}', at


async def fill(app: AttachedApp) -> None:
    await app.run(TABLES)
    await app.run_many(ADD, fragrances())
    await app.run_many(
        "INSERT INTO {schema}.user_collections VALUES ($1, $2, $3, $4)",
        [row for user in USERS for row in owned(user)],
    )
    await app.run_many(
        "INSERT INTO {schema}.user_interactions (user_id, fragrance_id, interaction_type, interaction_value, "
        "interaction_context, created_at) VALUES ($1, $2, $3, $4, $5, $6)",
        [row for user in USERS for row in interactions(user)],
    )


def event(user: object, item: object, kind: str, at: datetime, **more: Any) -> feedback_pb.Event:
    made = feedback_pb.Event(user_id=str(user), item_id=str(item), type=kind, **more)
    made.occurred_at.FromDatetime(at)
    return made


async def send_interactions(app: AttachedApp, name: str) -> int:
    """Hand over what the shop's tables say that customers did; returns how much of it was new."""
    events = []
    for row in await app.fetch("SELECT * FROM {schema}.user_interactions"):
        made = event(
            row["user_id"],
            row["fragrance_id"],
            row["interaction_type"],
            row["created_at"],
            event_id=str(row["id"]),
            value=row["interaction_value"],
        )
        json_format.Parse(row["interaction_context"], made.context)
        events.append(made)
    yesterday = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
    for row in await app.fetch("SELECT * FROM {schema}.user_collections"):
        events.append(event(row["user_id"], row["fragrance_id"], "rating", yesterday, value=row["rating"]))
    reply = await app.client.record_events(name, events)
    return reply.recorded_count


async def taste_of(app: AttachedApp, user: UUID) -> np.ndarray:
    """Work out user_preferences.user_embedding, as the shop does; (2048,) float32."""
    (row,) = await app.fetch(TASTE, user)
    return np.array(row["taste"], np.float32)
