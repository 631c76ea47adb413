"""Vectors in pgvector's binary form, and the rows of COPY BINARY: packed by numpy, big-endian, no object per component."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vecmigrate.errors import DataError, UsageError, WrongSpace
from vecmigrate.records import Chunk
from vecmigrate.store import Vectors
from vecmigrate.versions import Element, IndexVersion, Metric

SIGNATURE = b"PGCOPY\n\xff\r\n\0" + b"\0" * 8
TRAILER = b"\xff\xff"

_COMPONENTS = {Element.FLOAT32: ">f4", Element.FLOAT16: ">f2"}


def checked(version: IndexVersion, chunks: Sequence[Chunk], vectors: Vectors) -> NDArray[np.generic]:
    """The vectors as the version stores them. Raises `WrongSpace` and `DataError` for what must not be loaded."""
    dimension = version.model.dimension
    if vectors.ndim != 2 or vectors.shape[1] != dimension:
        raise WrongSpace(
            f"vectors of shape {vectors.shape} for {version.name}", hint=f"expected (n, {dimension}): is it this version's encoder?"
        )
    if len(chunks) != len(vectors) or len({chunk.id for chunk in chunks}) != len(chunks):
        raise DataError(f"{len(vectors)} vectors for {len(chunks)} chunks of {version.name}", hint="one vector per chunk, each id once")
    with np.errstate(over="ignore"):
        stored = np.ascontiguousarray(vectors, dtype=_COMPONENTS[version.element])
    usable = np.isfinite(stored).all(axis=1) & stored.any(axis=1)
    if not usable.all():
        bad = np.flatnonzero(~usable)
        raise DataError(
            f"{len(bad)} of {len(chunks)} vectors for {version.name} are zero or not finite, the first is of chunk {chunks[bad[0]].id!r}",
            hint="encode these texts again; with element float16 components beyond 65504 become infinite",
        )
    return stored


def checked_queries(version: IndexVersion, queries: Vectors, k: int) -> NDArray[np.generic]:
    """The query vectors in the version's components. Raises `WrongSpace`, `DataError` and `UsageError`."""
    dimension = version.model.dimension
    if queries.ndim != 2 or queries.shape[1] != dimension:
        raise WrongSpace(
            f"queries of shape {queries.shape} for {version.name}", hint=f"expected (n, {dimension}): is it this version's encoder?"
        )
    if k < 1:
        raise UsageError(f"k is {k}", hint="ask for at least one hit")
    stored = np.ascontiguousarray(queries, dtype=_COMPONENTS[version.element])
    sound = np.isfinite(stored).all(axis=1)
    if version.metric is Metric.COSINE:
        sound &= stored.any(axis=1)
    if not sound.all():
        raise DataError(f"query vector {int(np.flatnonzero(~sound)[0])} is zero or not finite", hint="encode the query again")
    return stored


def binary_vectors(stored: NDArray[np.generic]) -> list[bytes]:
    """Each row in pgvector's binary form: dimension, an unused field, components."""
    image = _image(stored)
    return [row.tobytes() for row in image]


def read_vector(data: bytes, element: Element) -> NDArray[np.float32]:
    """The inverse for one vector."""
    return np.frombuffer(data, dtype=_COMPONENTS[element], offset=4).astype(np.float32)


def copy_rows(keys: Sequence[bytes], width: int, chunks: Sequence[Chunk], stored: NDArray[np.generic]) -> bytes:
    """A whole COPY BINARY stream of (key fields, text hash, vector); `width` is the number of key columns."""
    vectors = _image(stored)
    size = vectors.shape[1]
    tails = np.empty((len(chunks), 4 + 32 + 4 + size), dtype=np.uint8)
    tails[:, :4] = np.frombuffer((32).to_bytes(4, "big"), dtype=np.uint8)
    hashes = b"".join([bytes.fromhex(chunk.text_hash) for chunk in chunks])
    tails[:, 4:36] = np.frombuffer(hashes, dtype=np.uint8).reshape(-1, 32)
    tails[:, 36:40] = np.frombuffer(size.to_bytes(4, "big"), dtype=np.uint8)
    tails[:, 40:] = vectors
    count = (width + 2).to_bytes(2, "big")
    flat, step = tails.tobytes(), tails.shape[1]
    rows = [b"".join((count, key, flat[i * step : (i + 1) * step])) for i, key in enumerate(keys)]
    return b"".join([SIGNATURE, *rows, TRAILER])


def _image(stored: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Shape (n, 4 + bytes of a row): the binary form of every vector."""
    rows, dimension = stored.shape
    data = stored.view(np.uint8).reshape(rows, -1)
    image = np.zeros((rows, 4 + data.shape[1]), dtype=np.uint8)
    image[:, :2] = np.frombuffer(dimension.to_bytes(2, "big"), dtype=np.uint8)
    image[:, 4:] = data
    return image
