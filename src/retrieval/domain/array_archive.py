"""Named arrays as bytes: NumPy's own archive, without pickles, behind a hash of it, so that any damage is found."""

from __future__ import annotations

import hashlib
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

_HASH_BYTES = hashlib.sha256().digest_size


def pack(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """The arrays as bytes."""
    file = BytesIO()
    np.savez(file, allow_pickle=False, **dict(arrays))
    body = file.getvalue()
    return hashlib.sha256(body).digest() + body


def unpack(data: bytes) -> dict[str, NDArray[Any]]:
    """The arrays of `pack`. Raises: ValueError where the bytes are others."""
    body = data[_HASH_BYTES:]
    if hashlib.sha256(body).digest() != data[:_HASH_BYTES]:
        raise ValueError("not an archive of arrays, or a damaged one")
    with np.load(BytesIO(body), allow_pickle=False) as arrays:
        return dict(arrays)
