"""A shop of fragrances with tables of its own: vectors in three lengths, relationships, strategies and events."""

from __future__ import annotations

import json
from random import Random
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, UUID, uuid5

import numpy as np

from retrieval.v1 import common_pb2 as common_pb
from retrieval.v1 import feedback_service_pb2 as feedback_pb

if TYPE_CHECKING:
    from numpy.typing import NDArray

FAMILIES = {
    "citrus": "bergamot lemon grapefruit yuzu mandarin petitgrain neroli verbena",
    "woody": "cedar sandalwood vetiver oud guaiac cypress birch patchouli",
    "floral": "rose jasmine iris tuberose peony violet magnolia freesia",
    "gourmand": "vanilla caramel tonka cocoa praline honey almond coffee",
    "fresh": "mint seaweed rain cucumber linen ozone melon algae",
    "spicy": "cardamom pepper saffron cinnamon clove nutmeg ginger anise",
    "amber": "labdanum benzoin myrrh incense opoponax styrax copal ambrette",
    "leather": "suede tobacco smoke castoreum tar hay whisky saddle",
}
HOUSES = ("Atelier Vogt", "Maison Lune", "Nordlicht", "Casa Olmo", "Quiet Hours")
EACH = 50
"""Fragrances of each family."""
FULL, MIDDLE, SHORT = 2048, 512, 128
STRATEGIES: dict[str, dict[str, float]] = {
    "collaborative_filtering": {"co_engagement": 1.0, "trending": 0.1, "popular": 0.1},
    "content_based": {"interests": 1.0, "similar": 1.0, "related": 0.5},
    "hybrid_recommendations": {"co_engagement": 1.0, "interests": 0.3, "related": 0.3, "trending": 0.3, "popular": 0.3},
    "trending_algorithm": {"trending": 1.0, "popular": 0.1},
}
"""The application's four algorithms, as weights of the service's sources."""
KINDS = {
    "similar": common_pb.RELATIONSHIP_KIND_SIMILAR,
    "complement": common_pb.RELATIONSHIP_KIND_COMPLEMENT,
    "substitute": common_pb.RELATIONSHIP_KIND_SUBSTITUTE,
}

TABLES = """
CREATE TABLE users (id uuid PRIMARY KEY);
CREATE TABLE fragrances (
    id uuid PRIMARY KEY, name text NOT NULL, brand text NOT NULL, notes text[] NOT NULL, rating_value real,
    rating_count integer NOT NULL DEFAULT 0, embedding vector(2048)
);
CREATE TABLE fragrance_embeddings_multi (
    fragrance_id uuid PRIMARY KEY REFERENCES fragrances (id) ON DELETE CASCADE, embedding_2048 vector(2048),
    embedding_512 vector(512), embedding_128 vector(128), version integer DEFAULT 1,
    created_at timestamptz DEFAULT now()
);
CREATE TABLE fragrance_relationships (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), source_fragrance_id uuid REFERENCES fragrances ON DELETE CASCADE,
    target_fragrance_id uuid REFERENCES fragrances ON DELETE CASCADE, relationship_type varchar(50) NOT NULL,
    weight float NOT NULL, confidence float NOT NULL, created_at timestamptz DEFAULT now()
);
CREATE TABLE user_interaction_events (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), user_id uuid REFERENCES users, event_type varchar(50) NOT NULL,
    fragrance_id uuid REFERENCES fragrances, context jsonb, timestamp timestamptz DEFAULT now(),
    processed boolean DEFAULT false
);
CREATE INDEX user_interaction_events_unprocessed_idx ON user_interaction_events (processed, timestamp)
    WHERE NOT processed;
CREATE TABLE algorithm_performance (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), algorithm_name varchar(50) NOT NULL,
    context_hash varchar(64) NOT NULL, alpha integer DEFAULT 1, beta integer DEFAULT 1
);
"""
FROM_FRAGRANCES = """
INSERT INTO fragrance_embeddings_multi (fragrance_id, embedding_2048, embedding_512, embedding_128)
SELECT id, embedding, l2_normalize(subvector(embedding, 1, 512)), l2_normalize(subvector(embedding, 1, 128))
FROM fragrances
"""

ITEM = {
    "relation": "public.fragrances",
    "text_columns": ["name"],
    "tags_column": "notes",
    "attributes": {"brand": "brand"},
    "rating_value_column": "rating_value",
    "rating_count_column": "rating_count",
}
MULTI = {"relation": "public.fragrance_embeddings_multi", "key_column": "fragrance_id"}


def collection(name: str, **version: Any) -> dict[str, Any]:
    return {
        "collection": {"name": name, "attributes": [{"name": "brand", "type": "ATTRIBUTE_TYPE_KEYWORD"}]},
        "embedding_version": version,
    }


def key(*names: object) -> UUID:
    return uuid5(NAMESPACE_URL, "/".join(map(str, names)))


def fragrance(family: str, n: int) -> UUID:
    return key("fragrance", family, n)


def matryoshka_vectors(seed: int) -> dict[str, NDArray[np.float32]]:
    """Vectors by fragrance, (2048,) float32 of unit length, of a model named by `seed`.

    As models that are trained for prefixes have it, leading components carry more (their deviation falls with the
    square root of their place), and a family shares a part of every prefix.
    """
    rng = np.random.default_rng(seed)
    scale = 1.0 / np.sqrt(1.0 + np.arange(FULL) / 32.0)
    found = {}
    for family in FAMILIES:
        centre = rng.standard_normal(FULL)
        for n in range(EACH):
            row = (centre + rng.standard_normal(FULL)) * scale
            found[str(fragrance(family, n))] = (row / np.linalg.norm(row)).astype(np.float32)
    return found


def as_vector(row: NDArray[Any]) -> str:
    """pgvector's text."""
    return "[" + ",".join(f"{x:.7g}" for x in row) + "]"


class Shop:
    """The application: its connection, and the vectors of its model."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.vectors = matryoshka_vectors(1)
        self.family_of = {str(fragrance(family, n)): family for family in FAMILIES for n in range(EACH)}
        self.made = 0

    async def build(self) -> None:
        """Create and fill the tables. Every fifth fragrance is rated well and often."""
        await self.connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        await self.connection.execute(TABLES)
        chooser, rows = Random(1), []
        for family, words in FAMILIES.items():
            for n in range(EACH):
                notes = chooser.sample(words.split(), 3)
                rating, count = (4.0 + n / 100, 100 + n) if n % 5 == 0 else (3.0 + n / 30, chooser.randrange(100))
                item_id = fragrance(family, n)
                name = f"{notes[0].title()} & {notes[1]} No. {n}"
                rows.append((item_id, name, HOUSES[n % 5], notes, rating, count, as_vector(self.vectors[str(item_id)])))
        await self.connection.executemany(
            "INSERT INTO fragrances VALUES ($1, $2, $3, $4, $5, $6, ($7::text)::vector)", rows
        )
        await self.connection.execute(FROM_FRAGRANCES)

    async def person(self) -> UUID:
        """Somebody new."""
        self.made += 1
        user = key("user", self.made)
        await self.connection.execute("INSERT INTO users VALUES ($1)", user)
        return user

    async def relate(self, source: UUID, target: UUID, kind: str, weight: float, confidence: float) -> None:
        await self.connection.execute(
            "INSERT INTO fragrance_relationships"
            " (source_fragrance_id, target_fragrance_id, relationship_type, weight, confidence)"
            " VALUES ($1, $2, $3, $4, $5)",
            *(source, target, kind, weight, confidence),
        )

    async def relationships(self) -> list[common_pb.Relationship]:
        """The table as the service takes it."""
        rows = await self.connection.fetch("SELECT * FROM fragrance_relationships")
        return [
            common_pb.Relationship(
                item_id=str(row["source_fragrance_id"]),
                related_item_id=str(row["target_fragrance_id"]),
                kind=KINDS[row["relationship_type"]],
                weight=row["weight"],
                confidence=row["confidence"],
            )
            for row in rows
        ]

    async def happened(self, user: UUID, kind: str, *item_ids: UUID, context: str = "{}") -> None:
        """Note interactions that are not processed yet."""
        await self.connection.executemany(
            "INSERT INTO user_interaction_events (user_id, event_type, fragrance_id, context) VALUES ($1, $2, $3, $4)",
            [(user, kind, item_id, context) for item_id in item_ids],
        )

    async def unprocessed(self) -> list[Any]:
        return list(
            await self.connection.fetch(
                "SELECT * FROM user_interaction_events WHERE NOT processed ORDER BY timestamp LIMIT 1000"
            )
        )

    async def mark_processed(self, rows: list[Any]) -> None:
        await self.connection.execute(
            "UPDATE user_interaction_events SET processed = true WHERE id = ANY($1)", [row["id"] for row in rows]
        )


def event_of(row: Any) -> feedback_pb.Event:
    """A row of `user_interaction_events` as an event; sent again, it is the same one."""
    context = json.loads(row["context"])
    event = feedback_pb.Event(
        user_id=str(row["user_id"]), item_id=str(row["fragrance_id"]), type=row["event_type"], event_id=str(row["id"])
    )
    if row["event_type"] == "rating":
        event.value = context["rating"]
    event.context.update(context)
    event.occurred_at.FromDatetime(row["timestamp"])
    return event
