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
Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class DevSearch:
    """Queries with a relevant chunk, their grades by the chunk's place in the pool, and the pool's texts. Queries of one group are
    wordings of one thing.
    """

    queries: tuple[str, ...]
    grades: tuple[dict[int, float], ...]
    pool: tuple[str, ...]
    groups: tuple[str, ...] = ()
    slices: tuple[tuple[str, ...], ...] = ()

    def measure(self, encoder: Encoder) -> Scores:
        """nDCG@10 of each query, shape (queries,), gain = grade (Järvelin and Kekäläinen 2002, as in trec_eval). Cosine similarity."""
        return self.score(self.rank(encoder))

    def rank(self, encoder: Encoder) -> Places:
        """The places in the pool of each query's first ten, shape (queries, 10), best first."""
        return self.rank_vectors(encoder.encode_queries(self.queries), encoder.encode_documents(self.pool))

    def rank_vectors(self, queries: Vectors, chunks: Vectors) -> Places:
        """As `rank`, of vectors of shape (queries, dimension) and (pool, dimension)."""
        places: Places = np.argsort(-(_unit(queries) @ _unit(chunks).T), axis=1, kind="stable")[:, :DEPTH]
        return places

    def score(self, ranked: Places, judged_as: Places | None = None) -> Scores:
        """nDCG@10 of each ranking; by the judgments of another query where `judged_as` names one."""
        owners = range(len(self.grades)) if judged_as is None else judged_as.tolist()
        return np.array([ndcg(row, self.grades[owner]) for row, owner in zip(ranked.tolist(), owners, strict=True)])


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
    return DevSearch(
        queries=tuple(q.text for q in kept),
        grades=tuple(grades[q.id] for q in kept),
        pool=tuple(dev.pool[id] for id in ids),
        groups=tuple(q.group or q.id for q in kept),
        slices=tuple(q.slices for q in kept),
    )


def ndcg(ranked: Sequence[int], grades: dict[int, float]) -> float:
    """Discounted gain of the ranking over that of the best possible one, both down to rank 10."""
    ideal = _discounted(sorted(grades.values(), reverse=True)[:DEPTH])
    return _discounted([grades.get(place, 0.0) for place in ranked[:DEPTH]]) / ideal


def _discounted(gains: Sequence[float]) -> float:
    return float(sum(gain / np.log2(rank + 2) for rank, gain in enumerate(gains)))


def _unit(vectors: Vectors) -> Vectors:
    normalised: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return normalised
