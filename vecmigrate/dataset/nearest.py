"""The nearest chunks of many queries by brute force, over vectors that come in blocks: one pass, in memory of a block and a tile.

    blocks of vectors ─► scores of a tile of queries × a block ─► those above what each query holds already ─► its k best

Nothing grows with the number of chunks: what is kept is the `k` best ids of each query.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from vecmigrate.store import Vectors
from vecmigrate.versions import Metric

BLOCK = 8192
"""Chunks read at a time."""
TILE = 512
"""Queries scored at a time: a table of 512 × 8,192 scores takes 16 MiB."""

Block = tuple[Sequence[str], Vectors]
"""Ids and their vectors, shape (ids, dimension)."""


def nearest(queries: Vectors, blocks: Iterable[Block], k: int, *, metric: Metric = Metric.COSINE) -> list[tuple[str, ...]]:
    """The ids of the `k` best chunks for each row of `queries`, best first.

    Vectors that are not finite are passed over, and zero ones under the cosine. Of equal scores the one read first comes first.
    """
    lengths = np.linalg.norm(queries, axis=1, keepdims=True)
    asked = queries / np.maximum(lengths, np.finfo(np.float32).tiny) if metric is Metric.COSINE else queries
    tiles = [_Tile(asked[start : start + TILE], k) for start in range(0, len(asked), TILE)]
    for ids, vectors in blocks:
        kept, usable = unit(vectors) if metric is Metric.COSINE else _finite(vectors)
        names = np.array(ids, dtype=object)[usable]
        lift = (kept**2).sum(axis=1) / 2 if metric is Metric.L2 else None
        for tile in tiles:
            tile.see(names, kept, lift)
    return [found for tile in tiles for found in tile.found()]


def unit(vectors: Vectors) -> tuple[Vectors, NDArray[np.bool_]]:
    """The vectors that have a direction, brought to length 1, and which of the rows they are."""
    with np.errstate(over="ignore", invalid="ignore"):
        norms = np.linalg.norm(vectors, axis=1)
    usable = np.isfinite(norms) & (norms > 0)
    scaled: Vectors = vectors[usable] / norms[usable, None]
    return scaled, usable


def _finite(vectors: Vectors) -> tuple[Vectors, NDArray[np.bool_]]:
    usable = np.asarray(np.isfinite(vectors).all(axis=1), dtype=np.bool_)
    return vectors[usable], usable


class _Tile:
    """Some queries with the best that they have met so far."""

    def __init__(self, queries: Vectors, k: int) -> None:
        self._queries = queries
        self._k = k
        self._scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
        self._ids = np.full((len(queries), k), None, dtype=object)

    def see(self, ids: NDArray[np.object_], vectors: Vectors, lift: NDArray[np.float32] | None) -> None:
        """Score a block. Half the squared length, `lift`, makes the inner product rank as the distance does."""
        if not len(ids):
            return
        table = self._queries @ vectors.T
        if lift is not None:
            table -= lift
        rows, columns = np.nonzero(table >= self._floor(table)[:, None])
        self._merge(rows, table[rows, columns], ids[columns])

    def _floor(self, table: NDArray[np.float32]) -> NDArray[np.float32]:
        """What a score must reach to be among a query's `k` best: its worst so far, and while it has fewer, the block's own k-th."""
        floor = self._scores[:, -1]
        if table.shape[1] > self._k and np.isneginf(floor).any():
            cut = table.shape[1] - self._k
            floor = np.maximum(floor, np.partition(table, cut, axis=1)[:, cut])
        return floor

    def _merge(self, rows: NDArray[np.int64], scores: NDArray[np.float32], ids: NDArray[np.object_]) -> None:
        count, k = self._scores.shape
        owners = np.concatenate([np.repeat(np.arange(count), k), rows])
        scores = np.concatenate([self._scores.ravel(), scores])
        ids = np.concatenate([self._ids.ravel(), ids])
        order = np.lexsort((-scores, owners))  # stable: what was met first stays first among equals
        starts = np.searchsorted(owners[order], np.arange(count))
        best = order[(starts[:, None] + np.arange(k)).ravel()].reshape(count, k)
        self._scores, self._ids = scores[best], ids[best]

    def found(self) -> Iterator[tuple[str, ...]]:
        """The ids of each query, best first; fewer than `k` where there are fewer chunks."""
        for row in self._ids:
            yield tuple(id for id in row if id is not None)
