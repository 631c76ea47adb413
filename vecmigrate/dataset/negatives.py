"""Hard negatives: chunks that the control ranks high for a query although nobody found them useful, without the false ones.

    control's ranks 5 to 50 ── relevant to the query's group, or nearly the same as such a chunk ─► skipped
                            ── about as similar to the query as the relevant chunk is           ─► skipped (perhaps relevant, unjudged)
                            ── of the rest: a random choice, the same for the same seed

The limit relative to the positive's similarity is that of NV-Retriever (Moreira et al., 2024), "TopK-PercPos". All similarities are
cosines of stored vectors, whatever the index's metric, so that the limit means the same everywhere.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

import numpy as np
from numpy.typing import NDArray

from vecmigrate.config import DatasetSection
from vecmigrate.encoding.encoder import Encoder
from vecmigrate.records import Hit, Judgment, Query
from vecmigrate.store import Store
from vecmigrate.versions import IndexVersion

FIRST_RANK = 5
"""What the control ranks above is too often relevant and merely unjudged."""
DEPTH = 50
NEAR_DUPLICATE = 0.95
MOST_POSITIVES = 10
"""Per query: one that everybody asks must not be most of the training."""
QUERIES_PER_BATCH = 64


@dataclass(frozen=True, slots=True)
class Mining:
    """What is searched, and how. `exact` searches by brute force, where the collection is small enough for it."""

    store: Store
    control: IndexVersion
    encoder: Encoder
    settings: DatasetSection
    exact: bool = False


@dataclass(frozen=True, slots=True)
class Judged:
    """What is known of the chunks: judgments by query id, the queries' groups, and the text hashes of every chunk whose text is
    also that of a judged one.
    """

    judgments: Mapping[str, Sequence[Judgment]]
    relevant_to_group: Mapping[str, frozenset[str]]
    hashes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class PairIds:
    """A training pair by ids."""

    query_id: str
    chunk_id: str
    negatives: tuple[str, ...]
    weight: float


@dataclass(frozen=True, slots=True)
class MiningReport:
    """What was mined. `candidates` and, by reason, `skipped` are counted per pair; `explicit` negatives were rated so by users.

    `short` counts the pairs with fewer negatives than asked for, `beyond` the relevant chunks that have no pair because their query
    has so many. The similarities are means over the pairs, cosine to the query.
    """

    pairs: int
    wanted: int
    negatives: int
    explicit: int
    short: int
    candidates: int
    skipped: Mapping[str, int] = field(default_factory=dict)
    beyond: int = 0
    positive_similarity: float = 0.0
    negative_similarity: float = 0.0

    def lines(self) -> list[str]:
        """For printing."""
        out = [f"mined {self.negatives:,} of {self.wanted:,} hard negatives for {self.pairs:,} pairs ({self.explicit:,} by users' ratings)"]
        if self.candidates:
            out.append(f"  similarity to the query: relevant {self.positive_similarity:.3f}, negatives {self.negative_similarity:.3f}")
        out += [f"  {count:,} of {self.candidates:,} candidates skipped: {why}" for why, count in self.skipped.items()]
        if self.short:
            out.append(f"  {self.short:,} pairs have fewer than asked for: the other pairs of their batch are their negatives")
        if self.beyond:
            out.append(f"  {self.beyond:,} relevant chunks beyond a query's {MOST_POSITIVES} best have no pair")
        return out


@dataclass(slots=True)
class _Tally:
    skipped: Counter[str] = field(default_factory=Counter)
    candidates: int = 0
    explicit: int = 0
    short: int = 0
    beyond: int = 0
    positive: list[float] = field(default_factory=list)
    negative: list[float] = field(default_factory=list)


Unit = dict[str, NDArray[np.float32]]


def mine(mining: Mining, queries: Sequence[Query], judged: Judged) -> tuple[tuple[PairIds, ...], MiningReport]:
    """A pair for each query and each of its relevant chunks (at most `MOST_POSITIVES`), with up to `negatives_per_pair` negatives.

    Memory of one batch of queries with their candidates' vectors. Raises what the store and the encoder raise.
    """
    tally = _Tally()
    pairs: list[PairIds] = []
    for start in range(0, len(queries), QUERIES_PER_BATCH):
        pairs += _mine_batch(mining, queries[start : start + QUERIES_PER_BATCH], judged, tally)
    pairs.sort(key=lambda pair: (pair.query_id, pair.chunk_id))
    return tuple(pairs), _report(pairs, mining.settings.negatives_per_pair, tally)


def _report(pairs: Sequence[PairIds], per_pair: int, tally: _Tally) -> MiningReport:
    return MiningReport(
        pairs=len(pairs),
        wanted=len(pairs) * per_pair,
        negatives=sum(len(pair.negatives) for pair in pairs),
        explicit=tally.explicit,
        short=tally.short,
        candidates=tally.candidates,
        skipped=dict(+tally.skipped),
        beyond=tally.beyond,
        positive_similarity=float(np.mean(tally.positive)) if tally.positive else 0.0,
        negative_similarity=float(np.mean(tally.negative)) if tally.negative else 0.0,
    )


def _mine_batch(mining: Mining, queries: Sequence[Query], judged: Judged, tally: _Tally) -> Iterator[PairIds]:
    if not mining.settings.negatives_per_pair:
        for query in queries:
            yield from (PairIds(j.query_id, j.chunk_id, (), j.weight) for j in _positives(judged.judgments[query.id], tally))
        return
    asked = mining.encoder.encode_queries([query.text for query in queries])
    hits = mining.store.search(mining.control, asked, DEPTH, exact=mining.exact)
    units = _unit_vectors(mining, queries, hits, judged)
    for query, vector, found in zip(queries, asked, hits, strict=True):
        candidates = _Candidates(query, vector / np.linalg.norm(vector), units, judged)
        yield from candidates.pairs(found[FIRST_RANK - 1 :], mining.settings, tally)


def _positives(judgments: Sequence[Judgment], tally: _Tally) -> list[Judgment]:
    best = sorted((j for j in judgments if j.grade > 0), key=lambda j: (-j.grade, -j.weight, j.chunk_id))
    tally.beyond += max(0, len(best) - MOST_POSITIVES)
    return best[:MOST_POSITIVES]


def _unit_vectors(mining: Mining, queries: Sequence[Query], hits: Sequence[tuple[Hit, ...]], judged: Judged) -> Unit:
    wanted = {hit.chunk_id for found in hits for hit in found}
    wanted |= {j.chunk_id for query in queries for j in judged.judgments[query.id]}
    wanted |= {id for query in queries for id in judged.relevant_to_group[query.group]}
    vectors = mining.store.vectors(mining.control, sorted(wanted))
    shape = (mining.control.model.dimension,)
    norms = {id: float(np.linalg.norm(vector)) if vector.shape == shape else 0.0 for id, vector in vectors.items()}
    return {id: vector / norms[id] for id, vector in vectors.items() if np.isfinite(norms[id]) and norms[id] > 0}


class _Candidates:
    """Tells which chunks may serve one query as negatives."""

    def __init__(self, query: Query, vector: NDArray[np.float32], units: Unit, judged: Judged) -> None:
        self._judgments = judged.judgments[query.id]
        self._vector = vector
        self._units = units
        self._relevant = judged.relevant_to_group[query.group]
        self._hashes = judged.hashes
        self._relevant_hashes = {judged.hashes[id] for id in self._relevant if id in judged.hashes}
        near = [units[id] for id in sorted(self._relevant) if id in units]
        self._near = np.stack(near) if near else np.zeros((0, len(vector)), dtype=np.float32)

    def pairs(self, hits: Sequence[Hit], settings: DatasetSection, tally: _Tally) -> Iterator[PairIds]:
        """The query's pairs, with negatives out of `hits`."""
        rated = [j.chunk_id for j in self._judgments if j.grade <= 0 and not self._why_not(j.chunk_id)]
        for judgment in _positives(self._judgments, tally):
            yield self._pair(judgment, rated, self._usable(hits, tally), settings, tally)

    def _usable(self, hits: Sequence[Hit], tally: _Tally) -> list[tuple[str, float]]:
        """Ids with their cosine to the query."""
        usable = []
        for hit in hits:
            why = self._why_not(hit.chunk_id) or ("" if hit.chunk_id in self._units else "no vector")
            if why:
                tally.skipped[why] += 1
            else:
                usable.append((hit.chunk_id, float(self._vector @ self._units[hit.chunk_id])))
        tally.candidates += len(hits)
        return usable

    def _why_not(self, id: str) -> str:
        if id in self._relevant:
            return "relevant to the query or to another wording of it"
        same = self._hashes.get(id) in self._relevant_hashes
        near = id in self._units and len(self._near) and float(np.max(self._near @ self._units[id])) >= NEAR_DUPLICATE
        return "nearly the same as a relevant chunk" if same or near else ""

    def _pair(
        self, judgment: Judgment, rated: Sequence[str], usable: Sequence[tuple[str, float]], settings: DatasetSection, tally: _Tally
    ) -> PairIds:
        wanted = settings.negatives_per_pair
        random = Random(hashlib.sha256(f"{settings.seed}\0{judgment.query_id}\0{judgment.chunk_id}".encode()).digest())  # noqa: S311
        chosen = random.sample(sorted(rated), min(wanted, len(rated)))
        tally.explicit += len(chosen)
        mined = self._below(judgment.chunk_id, usable, settings.negative_max_relative_score, tally)
        mined = [(id, similarity) for id, similarity in mined if id not in chosen]
        for id, similarity in random.sample(mined, min(wanted - len(chosen), len(mined))):
            chosen.append(id)
            tally.negative.append(similarity)
        tally.short += len(chosen) < wanted
        return PairIds(judgment.query_id, judgment.chunk_id, tuple(chosen), judgment.weight)

    def _below(self, positive: str, usable: Sequence[tuple[str, float]], share: float, tally: _Tally) -> list[tuple[str, float]]:
        """The candidates clearly less similar to the query than the relevant chunk is."""
        if positive not in self._units:
            tally.skipped["their relevant chunk has no vector to compare with"] += len(usable)
            return []
        similarity = float(self._vector @ self._units[positive])
        tally.positive.append(similarity)
        kept = [item for item in usable if similarity > 0 and item[1] <= share * similarity]
        tally.skipped[f"more than {share:g} times as similar to the query as its relevant chunk"] += len(usable) - len(kept)
        return kept
