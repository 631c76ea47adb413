"""nDCG@10 of a model on the dev queries, searched by brute force in a small pool: what training stops by. Not an evaluation."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vecmigrate.dataset.pairs import DevSet
from vecmigrate.encoding.encoder import Encoder
from vecmigrate.errors import DataError
from vecmigrate.store import Vectors

DEPTH = 10
LARGEST_POOL = 400
"""Chunks searched: encoding them is what an evaluation costs, and only differences between two models count."""

Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class DevSearch:
    """Queries with a relevant chunk, their grades by the chunk's place in the pool, and the pool's texts."""

    queries: tuple[str, ...]
    grades: tuple[dict[int, float], ...]
    pool: tuple[str, ...]

    def measure(self, encoder: Encoder) -> Scores:
        """nDCG@10 of each query, shape (queries,), gain = grade (Järvelin and Kekäläinen 2002, as in trec_eval). Cosine similarity."""
        chunks = _unit(encoder.encode_documents(self.pool))
        similar = _unit(encoder.encode_queries(self.queries)) @ chunks.T
        order = np.argsort(-similar, axis=1, kind="stable")[:, :DEPTH]
        return np.array([ndcg(row, grades) for row, grades in zip(order.tolist(), self.grades, strict=True)])


def dev_search(dev: DevSet, *, seed: int, largest_pool: int = LARGEST_POOL) -> DevSearch:
    """The dev set made ready: queries without a relevant chunk in the pool are left out; of the pool, every judged chunk is kept and
    others up to `largest_pool` in all, the same ones for the same seed.

    Raises `DataError` when no query is left.
    """
    judged = {j.chunk_id for j in dev.judgments} & set(dev.pool)
    others = sorted(set(dev.pool) - judged)
    extra = random.Random(seed).sample(others, min(len(others), max(0, largest_pool - len(judged))))  # noqa: S311  # not for secrets
    ids = sorted([*judged, *extra])
    place = {id: number for number, id in enumerate(ids)}
    grades: dict[str, dict[int, float]] = {}
    for judgment in dev.judgments:
        if judgment.chunk_id in place and judgment.grade > 0:
            grades.setdefault(judgment.query_id, {})[place[judgment.chunk_id]] = judgment.grade
    kept = [query for query in dev.queries if query.id in grades and query.text.strip()]
    if not kept:
        raise DataError(
            "no dev query has a relevant chunk in the pool, so training could not tell when to stop",
            hint="vecmigrate dataset build with a larger dev_fraction in [dataset]",
        )
    return DevSearch(tuple(q.text for q in kept), tuple(grades[q.id] for q in kept), tuple(dev.pool[id] for id in ids))


def ndcg(ranked: Sequence[int], grades: dict[int, float]) -> float:
    """Discounted gain of the ranking over that of the best possible one, both down to rank 10."""
    ideal = _discounted(sorted(grades.values(), reverse=True)[:DEPTH])
    return _discounted([grades.get(place, 0.0) for place in ranked[:DEPTH]]) / ideal


def _discounted(gains: Sequence[float]) -> float:
    return float(sum(gain / np.log2(rank + 2) for rank, gain in enumerate(gains)))


def _unit(vectors: Vectors) -> Vectors:
    normalised: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return normalised
