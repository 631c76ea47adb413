"""Exact scoring and the checks on vectors, for the store in memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vecmigrate.errors import DataError, WrongSpace
from vecmigrate.records import Chunk
from vecmigrate.store import Vectors
from vecmigrate.versions import Element, IndexVersion, Metric


def checked(version: IndexVersion, chunks: Sequence[Chunk], vectors: Vectors) -> NDArray[np.float32]:
    """A copy of the vectors as the version keeps them. Raises `WrongSpace` and `DataError` for what must not be loaded."""
    if vectors.ndim != 2 or vectors.shape[1] != version.model.dimension:
        raise WrongSpace(f"vectors of shape {vectors.shape} for {version.name}", hint=f"expected (n, {version.model.dimension})")
    if len(chunks) != len(vectors) or len({chunk.id for chunk in chunks}) != len(chunks):
        raise DataError(f"{len(vectors)} vectors for {len(chunks)} chunks", hint="one vector per chunk, each id once")
    bad = [chunk.id for chunk, vector in zip(chunks, vectors, strict=True) if not np.isfinite(vector).all() or not vector.any()]
    if bad:
        raise DataError(f"the vector of {bad[0]!r} is zero or not finite ({len(bad)} such)", hint="encode these texts again")
    rounded = vectors.astype(np.float16) if version.element is Element.FLOAT16 else vectors
    return np.array(rounded, dtype=np.float32)


def scores(queries: Vectors, matrix: NDArray[np.float32], metric: Metric) -> NDArray[np.float32]:
    """Shape (queries, rows). In float64 and then rounded, so that equal vectors tie whatever the blocking of the product."""
    a, b = queries.astype(np.float64), matrix.astype(np.float64)
    if metric is Metric.L2:
        squared = (a**2).sum(1)[:, None] - 2 * a @ b.T + (b**2).sum(1)[None, :]
        table = -np.sqrt(np.maximum(squared, 0))
    elif metric is Metric.COSINE:
        norms = np.linalg.norm(a, axis=1)[:, None] * np.linalg.norm(b, axis=1)[None, :]
        table = (a @ b.T) / np.maximum(norms, 1e-300)
    else:
        table = a @ b.T
    rounded: NDArray[np.float32] = table.astype(np.float32)
    return rounded
