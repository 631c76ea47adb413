"""Hard negatives: chunks that the control ranks high for a query although nobody found them useful, without the false ones.

    rated not relevant by users ─────────────────────────────────────────────────────────► taken first
    passed over by users ─┬─ relevant to the group, nearly the same, of the same document ─► skipped
    ranks 5 to 50 ────────┴─ about as similar to the query as the relevant chunk is ───────► skipped (perhaps relevant, unjudged)
                           ─ of the rest, a choice by seed ─► a cross-encoder's word, if asked for ─► taken

The limit relative to the positive's similarity is that of NV-Retriever (Moreira et al., 2024), "TopK-PercPos". All similarities are
cosines of stored vectors, whatever the index's metric, so that a limit means the same everywhere. docs/hard-negatives.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from vecmigrate.config import DatasetSection
from vecmigrate.dataset.drafting import Draft, Drafting, PairIds, candidates_of
from vecmigrate.dataset.filtering import choose
from vecmigrate.dataset.judged import Judged
from vecmigrate.dataset.mining_report import MOST_POSITIVES, MiningReport, Tally
from vecmigrate.dataset.screening import Screen
from vecmigrate.dataset.searching import QUERIES_PER_BATCH, Searched, Unit
from vecmigrate.records import Judgment, Query


@dataclass(frozen=True, slots=True)
class Mined:
    """The pairs by query and chunk, the report, and the ids that were looked at for each query, in rank order."""

    pairs: tuple[PairIds, ...]
    report: MiningReport
    candidates: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def mine(searched: Searched, queries: Sequence[Query], judged: Judged, *, notes: tuple[str, ...] = ()) -> Mined:
    """A pair for each query and each of its relevant chunks (at most `MOST_POSITIVES`), with up to `negatives_per_pair` negatives.

    `notes` go into the report. Memory of the queries' vectors and ids found, and of one batch of queries with their candidates'
    vectors. Raises what the store and the models raise.
    """
    tally = Tally()
    candidates: dict[str, tuple[str, ...]] = {}
    pairs: list[PairIds] = []
    for batch in _batches(searched, queries, tally):
        candidates |= {asked.query.id: asked.window for asked in batch}
        pairs += _mine_batch(searched, batch, judged, tally)
    if not searched.settings.negatives_per_pair:
        pairs = [Draft(query.text, j, []).done() for query in queries for j in _positives(judged.judgments[query.id], tally)]
    pairs.sort(key=lambda pair: (pair.query_id, pair.chunk_id))
    tally.pairs, tally.wanted = len(pairs), len(pairs) * searched.settings.negatives_per_pair
    tally.negatives = sum(len(pair.negatives) for pair in pairs)
    return Mined(tuple(pairs), tally.report(notes), candidates)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A query, its vector of length 1, and the ids in its window of ranks; `above` are those before it."""

    query: Query
    vector: NDArray[np.float32]
    above: int
    window: tuple[str, ...]


def _batches(searched: Searched, queries: Sequence[Query], tally: Tally) -> Iterator[list[_Asked]]:
    """The queries with what was found for each; nothing when no negatives are asked for."""
    if not queries or not searched.settings.negatives_per_pair:
        return
    skipped = searched.settings.negative_first_rank - 1
    vectors = searched.encoder.encode_queries([query.text for query in queries])
    ranked = searched.ranked(vectors, searched.settings.negative_last_rank)
    found = zip(queries, vectors / np.linalg.norm(vectors, axis=1, keepdims=True), ranked, strict=True)
    asked = (_Asked(query, vector, len(ids[:skipped]), ids[skipped:]) for query, vector, ids in found)
    while batch := list(islice(asked, QUERIES_PER_BATCH)):
        yield batch


def _mine_batch(searched: Searched, batch: Sequence[_Asked], judged: Judged, tally: Tally) -> list[PairIds]:
    units = searched.units(_needed(batch, judged))
    drafts: list[Draft] = []
    for asked in batch:
        drafting = _drafting(asked, units, judged, searched.settings)
        positives = _positives(judged.judgments[asked.query.id], tally)
        drafts += [drafting.draft(judgment, tally) for judgment in positives]
        tally.above += asked.above * len(positives)
    choose(searched, drafts, tally)
    tally.short += sum(len(draft.chosen) < searched.settings.negatives_per_pair for draft in drafts)
    return [draft.done() for draft in drafts]


def _drafting(asked: _Asked, units: Unit, judged: Judged, settings: DatasetSection) -> Drafting:
    screen = Screen(asked.query, asked.vector, units, judged, settings)
    rated = [j.chunk_id for j in judged.judgments[asked.query.id] if j.grade <= 0 and not screen.why_relevant(j.chunk_id)]
    passed_over = judged.passed_over.get(asked.query.id, frozenset())
    return Drafting(asked.query.text, screen, rated, candidates_of(screen, asked.window, passed_over), settings)


def _positives(judgments: Sequence[Judgment], tally: Tally) -> list[Judgment]:
    best = sorted((j for j in judgments if j.grade > 0), key=lambda j: (-j.grade, -j.weight, j.chunk_id))
    tally.beyond += max(0, len(best) - MOST_POSITIVES)
    return best[:MOST_POSITIVES]


def _needed(batch: Sequence[_Asked], judged: Judged) -> list[str]:
    """The ids whose vectors a batch takes."""
    wanted = {id for asked in batch for id in asked.window}
    for asked in batch:
        wanted |= {j.chunk_id for j in judged.judgments[asked.query.id]}
        wanted |= judged.relevant_to_group[asked.query.group]
        wanted |= judged.passed_over.get(asked.query.id, frozenset())
    return sorted(wanted)
