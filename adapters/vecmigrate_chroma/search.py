"""Search in one Chroma collection: by its index, or exactly by numpy; and whether the index still finds what is in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecmigrate.errors import StoreError
from vecmigrate.filters import Filter
from vecmigrate.records import Hit
from vecmigrate.store import Health, Vectors
from vecmigrate.versions import Metric
from vecmigrate_chroma.driver import Driver
from vecmigrate_chroma.rows import Rows, slices
from vecmigrate_chroma.where import translate

QUERIES_PER_REQUEST = 64
SCORES_AT_ONCE = 2_000_000
"""Scores that an exact search holds at once: 16 MB."""
SELF_QUERIES = 200
WIDTHS = (10, 200, 1000)
"""A search among 300 equal vectors is caught there: 12 % of the others are missed at 200 hits, 0.7 % at 500 (measured)."""
LOST_SHARE = 0.05
"""An index in order loses a vector now and then, and 3 % where a sixth of the rows are equal; one that two processes wrote to lost 10 to
24 % (all measured)."""


_UNREADABLE = "Error getting embedding"


class Search:
    """Searches pinned to the rows they are given."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def indexed(self, rows: Rows, metric: Metric, queries: Vectors, k: int, where: Filter | None) -> list[tuple[Hit, ...]]:
        """By HNSW. Asks for more than `k`, so that ties at the end are cut by id and the search is not narrower than `k`.

        A query that finds fewer than `k` although more pass (an HNSW graph may have unreachable rows) is answered exactly.
        """
        found: list[tuple[Hit, ...]] = []
        for start in range(0, len(queries), QUERIES_PER_REQUEST):
            part = queries[start : start + QUERIES_PER_REQUEST]
            found += [hits[:k] for hits in self._ask(rows, metric, part, k + max(k, 16), where)]
        short = [place for place, hits in enumerate(found) if len(hits) < k]
        passing = rows.ids(where) if short else []
        if short and min(len(found[place]) for place in short) < len(passing):
            for place, hits in zip(short, self.exact_among(rows, metric, queries[short], k, passing), strict=True):
                found[place] = hits
        return found

    def _ask(self, rows: Rows, metric: Metric, queries: NDArray[np.float32], n: int, where: Filter | None) -> list[tuple[Hit, ...]]:
        condition = translate(where)
        answer = self._driver.call(
            f"searching {rows.name!r}",
            lambda: rows.handle.query(query_embeddings=queries, n_results=n, where=condition, include=["distances"]),
        )
        return [
            tuple(
                sorted((Hit(id, score_of(d, metric)) for id, d in zip(ids, distances, strict=True)), key=lambda h: (-h.score, h.chunk_id))
            )
            for ids, distances in zip(answer["ids"], answer["distances"], strict=True)
        ]

    def exact(self, rows: Rows, metric: Metric, queries: Vectors, k: int, where: Filter | None) -> list[tuple[Hit, ...]]:
        """By brute force over all vectors that pass; ties by id."""
        return self.exact_among(rows, metric, queries, k, rows.ids(where))

    def exact_among(self, rows: Rows, metric: Metric, queries: Vectors, k: int, among: Sequence[str]) -> list[tuple[Hit, ...]]:
        """By brute force over the vectors of these ids, read in batches; ties by id. Memory: one batch and `SCORES_AT_ONCE` scores."""
        ids = sorted(among)
        best = np.empty((len(queries), 0), dtype=np.float32)
        places = np.empty((len(queries), 0), dtype=np.int64)
        order = {id: place for place, id in enumerate(ids)}
        for part in slices(ids, max(1, min(self._driver.batch_size, SCORES_AT_ONCE // max(1, len(queries))))):
            vectors = rows.vectors(part)
            present = [id for id in part if id in vectors]
            if not present:
                continue
            block = scores(queries, np.stack([vectors[id] for id in present]), metric)
            where_they_are = np.broadcast_to(np.array([order[id] for id in present]), block.shape)
            best, places = _merged(np.hstack([best, block]), np.hstack([places, where_they_are]), k)
        return [tuple(Hit(ids[p], float(s)) for p, s in zip(of_one, its, strict=True)) for of_one, its in zip(places, best, strict=True)]

    def health(self, rows: Rows, metric: Metric, dimension: int) -> Health:
        """Every vector looked at; a spread sample asked for by itself, because counts alone don't show a damaged index."""
        ids = sorted(rows.ids())
        bad = 0
        try:
            for part in slices(ids, self._driver.batch_size):
                bad += sum(v.shape != (dimension,) or not np.isfinite(v).all() or not v.any() for v in rows.vectors(part).values())
        except StoreError as error:
            if _UNREADABLE not in error.message:
                raise
            return Health(bad_vectors=bad, index_valid=False, detail=f"vectors cannot be read back: {error.message}")
        asked = spread(ids)
        lost = self.lost(rows, metric, asked)
        detail = f"{len(asked) - len(lost)} of {len(asked)} sampled vectors are found by themselves"
        if lost:
            detail += f"; not found: {', '.join(repr(id) for id in lost[:3])}"
        return Health(bad_vectors=bad, index_valid=len(lost) <= LOST_SHARE * len(asked), index_used=None, detail=detail)

    def lost(self, rows: Rows, metric: Metric, ids: Sequence[str]) -> list[str]:
        """Which of these ids a query by their own vector does not find, a wider one neither."""
        left = list(ids)
        for n in WIDTHS:
            left = self._not_found(rows, metric, left, n)
        return left

    def _not_found(self, rows: Rows, metric: Metric, ids: Sequence[str], n: int) -> list[str]:
        missed: list[str] = []
        vectors = rows.vectors(ids)
        for part in slices([id for id in ids if id in vectors], QUERIES_PER_REQUEST):
            queries = np.stack([vectors[id] for id in part])
            for id, query, hits in zip(part, queries, self._ask(rows, metric, queries, n, None), strict=True):
                own = float(scores(query[None], query[None], metric)[0, 0])
                crowded = len(hits) == n and hits[-1].score >= own - 1e-4 * max(1.0, abs(own))
                if not crowded and id not in {hit.chunk_id for hit in hits}:
                    missed.append(id)
        return missed


def spread(ids: Sequence[str]) -> Sequence[str]:
    """At most `SELF_QUERIES` of these ids, evenly."""
    return ids[:: max(1, len(ids) // SELF_QUERIES)][:SELF_QUERIES]


def distance_of(score: float, metric: Metric) -> float:
    """The distance as Chroma gives it, of a score."""
    return score * score if metric is Metric.L2 else 1.0 - score


def score_of(distance: float, metric: Metric) -> float:
    """Chroma's distance as a score: 1 − cosine, 1 − inner product, and the *squared* Euclidean distance."""
    return -float(np.sqrt(max(distance, 0.0))) if metric is Metric.L2 else 1.0 - float(distance)


def scores(queries: NDArray[Any], matrix: NDArray[Any], metric: Metric) -> NDArray[np.float32]:
    """Shape (queries, rows). In float64 and then rounded, so that equal vectors tie."""
    a, b = queries.astype(np.float64), matrix.astype(np.float64)
    if metric is Metric.L2:
        table = -np.sqrt(np.maximum((a**2).sum(1)[:, None] - 2 * a @ b.T + (b**2).sum(1)[None, :], 0))
    elif metric is Metric.COSINE:
        table = a @ b.T / np.maximum(np.linalg.norm(a, axis=1)[:, None] * np.linalg.norm(b, axis=1)[None, :], 1e-300)
    else:
        table = a @ b.T
    rounded: NDArray[np.float32] = table.astype(np.float32)
    return rounded


def _merged(best: NDArray[np.float32], places: NDArray[np.int64], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The `k` best columns of each row. Columns come in the order of ids, and a stable sort keeps ties in it."""
    keep = np.argsort(-best, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(best, keep, axis=1), np.take_along_axis(places, keep, axis=1)
