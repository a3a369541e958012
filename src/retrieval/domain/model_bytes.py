"""A co-engagement model as bytes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from retrieval.domain.array_archive import pack, unpack
from retrieval.domain.blend import Blend
from retrieval.domain.co_engagement import CoEngagement, Graph

FORMAT = 1
_GRAPHS = ("co_visited", "recent", "sequence", "linear")
_ARRAYS = ("popularity", "factors", "gram")
_PARTS = [f"{name}.{part}" for name in _GRAPHS for part in Graph._fields]
_WITHOUT_BLEND = {"format", "numbers", "trained_at", "names", "name_lengths", *_ARRAYS, *_PARTS}


def to_bytes(model: CoEngagement) -> bytes:
    """The model as bytes; its version is told by where they are kept."""
    encoded = [item_id.encode() for item_id in model.item_ids]
    arrays = {
        "format": np.array(FORMAT),
        "numbers": np.array([model.confidence, model.unit]),
        "trained_at": np.array(model.trained_at),
        "names": np.frombuffer(b"".join(encoded), np.uint8),
        "name_lengths": np.array([len(name) for name in encoded], np.int32),
        **{name: getattr(model, name) for name in _ARRAYS},
    }
    for name in _GRAPHS:
        arrays |= {f"{name}.{part}": array for part, array in getattr(model, name)._asdict().items()}
    if model.blend is not None:
        arrays |= {f"blend.{part}": array for part, array in model.blend._asdict().items()}
    return pack(arrays)


def from_bytes(data: bytes, version: str) -> CoEngagement:
    """The model of `to_bytes`. Raises: ValueError where the bytes are not a model that this release can read."""
    try:
        arrays = unpack(data)
        if int(arrays["format"]) != FORMAT:
            raise ValueError(f"a co-engagement model of format {int(arrays['format'])}, not {FORMAT}")
        names = arrays["names"].tobytes()
        ends = arrays["name_lengths"].astype(np.int64).cumsum().tolist()
        item_ids = [names[start:end].decode() for start, end in zip([0, *ends], ends, strict=False)]
        graphs = {g: Graph(*(arrays[f"{g}.{part}"] for part in Graph._fields)) for g in _GRAPHS}
        confidence, unit = arrays["numbers"].tolist()
        model = CoEngagement(
            item_ids=item_ids,
            confidence=confidence,
            unit=unit,
            trained_at=int(arrays["trained_at"]),
            version=version,
            numbers={item_id: number for number, item_id in enumerate(item_ids)},
            popularity=arrays["popularity"],
            factors=arrays["factors"],
            gram=arrays["gram"],
            co_visited=graphs["co_visited"],
            recent=graphs["recent"],
            sequence=graphs["sequence"],
            linear=graphs["linear"],
        )
        if set(arrays) != _WITHOUT_BLEND:
            model = replace(model, blend=Blend(*(arrays[f"blend.{part}"] for part in Blend._fields)))
    except (LookupError, TypeError) as error:
        raise ValueError("not a co-engagement model") from error
    return model
