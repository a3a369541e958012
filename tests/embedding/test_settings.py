"""Settings of the HTTP embedder."""

from __future__ import annotations

import pytest

from retrieval.bootstrap import http_embedders
from retrieval.config import Settings, SettingsError, load_settings, to_environment

GIVEN = {
    "RETRIEVAL_EMBEDDING_URL": "http://127.0.0.1:1/v1",
    "RETRIEVAL_EMBEDDING_API_KEY": "sk-secret",
    "RETRIEVAL_EMBEDDING_MODELS": "small:1536, nomic:v1.5:768",
    "RETRIEVAL_EMBEDDING_BATCH": "7",
    "RETRIEVAL_EMBEDDING_TIMEOUT_S": "2.5",
}


async def test_what_is_set_is_used() -> None:
    settings = load_settings(GIVEN)
    assert load_settings(to_environment(settings)) == settings
    assert "sk-secret" not in repr(settings)
    made = http_embedders(settings)
    assert [(e.model, e.dimension, e.batch) for e in made] == [("small", 1536, 28), ("nomic:v1.5", 768, 28)]
    for embedder in made:
        await embedder.close()
    assert http_embedders(Settings()) == []


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("MODELS", ""),
        ("MODELS", "small"),
        ("MODELS", "small:"),
        ("MODELS", ":5"),
        ("MODELS", "small:0"),
        ("URL", ""),
        ("BATCH", "0"),
        ("RPM", "-1"),
        ("TIMEOUT_S", "0"),
        ("LEASE_S", "0.5"),
    ],
)
def test_what_cannot_be_is_refused(variable: str, value: str) -> None:
    with pytest.raises(SettingsError, match="RETRIEVAL_EMBEDDING_"):
        load_settings(GIVEN | {f"RETRIEVAL_EMBEDDING_{variable}": value})
