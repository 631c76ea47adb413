"""New hard negatives for a frozen dataset from an encoder that has been tuned meanwhile, without the store.

What misled the control misleads the tuned model less; what misleads *it* is found by searching with it (ANCE, Xiong et al., 2021). Only
training queries and their judgments are read: what is known of dev and test queries plays no part in what is searched or chosen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from vecmigrate.config import DatasetSection
from vecmigrate.dataset.cross_encoder import PairScorer, load_cross_encoder
from vecmigrate.dataset.devpool import Lottery
from vecmigrate.dataset.frozen import Dataset
from vecmigrate.dataset.judged import Judged, what_is_known
from vecmigrate.dataset.mining_report import MiningReport
from vecmigrate.dataset.nearest import BLOCK, Block, nearest, unit
from vecmigrate.dataset.negatives import mine
from vecmigrate.dataset.pairs import TrainingPair
from vecmigrate.dataset.searching import Unit
from vecmigrate.dataset.splitting import Split
from vecmigrate.encoding.encoder import Encoder
from vecmigrate.store import Vectors


def remine(dataset: Dataset, encoder: Encoder, settings: DatasetSection, *, seed: int) -> tuple[tuple[TrainingPair, ...], MiningReport]:
    """The dataset's training pairs with negatives that `encoder` finds hard, by the rules of `settings`; `seed` in place of its own.

    At most `remine_chunks` chunks are encoded and searched: all of them where there are no more, else the judged ones, the control's
    candidates for the training queries, and a random rest. Memory grows with that number. Raises `DataError` for a damaged dataset,
    and what the models raise.
    """
    settings = settings.model_copy(update={"seed": seed})
    pairs = dataset.training_pairs()
    queries = dataset.queries(Split.TRAIN)
    known = what_is_known(queries, dataset.judgments(Split.TRAIN), dataset.outlines, dataset.passed_over())
    if not settings.negatives_per_pair:
        return tuple(replace(pair, negatives=()) for pair in pairs), mine(_nothing(encoder, settings), queries, known).report
    wanted, note = _chosen(dataset, known, settings)
    searched = _encoded(dataset, encoder, settings, wanted)
    mined = mine(searched, queries, known, notes=(note,))
    negatives = {(pair.query_id, pair.chunk_id): pair.negatives for pair in mined.pairs}
    texts = searched.written
    return tuple(
        replace(pair, negatives=tuple(texts[id] for id in negatives.get((pair.query_id, pair.chunk_id), ()))) for pair in pairs
    ), mined.report


def _chosen(dataset: Dataset, known: Judged, settings: DatasetSection) -> tuple[list[str], str]:
    """The ids that are searched, sorted, and what the report says of them."""
    limit, total = settings.remine_chunks, dataset.counts["chunks"]
    if total <= limit:
        return sorted(row["id"] for row in dataset.outlines()), f"searched all {total:,} chunks with the tuned model"
    needed = {j.chunk_id for judgments in known.judgments.values() for j in judgments}
    needed |= {id for ids in known.passed_over.values() for id in ids}
    candidates = [id for rank in zip_longest(*dataset.candidates().values()) for id in rank if id is not None]
    lottery = Lottery(limit, settings.seed)
    for row in dataset.outlines():
        lottery.offer(row["id"])
    chosen = list(dict.fromkeys([*sorted(needed), *candidates, *lottery.winners]))[: max(limit, len(needed))]
    note = f"searched {len(chosen):,} of {total:,} chunks with the tuned model: judged ones, the control's candidates, and a random rest"
    return sorted(chosen), note


@dataclass(frozen=True, slots=True)
class _EncodedChunks:
    """Some frozen chunks under an encoder: their ids, texts, and vectors of length 1, row by row."""

    encoder: Encoder
    settings: DatasetSection
    scorer: PairScorer | None
    ids: tuple[str, ...]
    written: Mapping[str, str]
    vectors: Vectors
    places: Mapping[str, int]

    def ranked(self, asked: Vectors, k: int) -> Iterator[tuple[str, ...]]:
        """See `Searched.ranked`. By cosine, whatever the store's metric."""
        yield from nearest(asked, self._blocks(), k)

    def units(self, ids: Sequence[str]) -> Unit:
        """See `Searched.units`."""
        return {id: self.vectors[self.places[id]] for id in ids if id in self.places}

    def texts(self, ids: Sequence[str]) -> Mapping[str, str]:
        """See `Searched.texts`."""
        return {id: self.written[id] for id in ids if id in self.written}

    def _blocks(self) -> Iterator[Block]:
        for start in range(0, len(self.ids), BLOCK):
            yield self.ids[start : start + BLOCK], self.vectors[start : start + BLOCK]


def _encoded(dataset: Dataset, encoder: Encoder, settings: DatasetSection, wanted: Iterable[str]) -> _EncodedChunks:
    texts = dataset.text(wanted)
    ids = tuple(sorted(texts))
    vectors: NDArray[np.float32] = np.zeros((len(ids), encoder.model.dimension), dtype=np.float32)
    usable = np.zeros(len(ids), dtype=bool)
    for start in range(0, len(ids), BLOCK):
        block = slice(start, start + BLOCK)
        scaled, usable[block] = unit(encoder.encode_documents([texts[id] for id in ids[block]]))
        vectors[block][usable[block]] = scaled
    places = {id: place for place, id in enumerate(ids) if usable[place]}
    scorer = load_cross_encoder(settings.negative_filter) if settings.negative_filter else None
    return _EncodedChunks(encoder, settings, scorer, ids, texts, vectors, places)


def _nothing(encoder: Encoder, settings: DatasetSection) -> _EncodedChunks:
    return _EncodedChunks(encoder, settings, None, (), {}, np.zeros((0, encoder.model.dimension), dtype=np.float32), {})
