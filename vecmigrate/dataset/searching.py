"""Where negatives are looked for: in the live store, by its own search or by brute force over its vectors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vecmigrate.config import DatasetSection
from vecmigrate.dataset import storage
from vecmigrate.dataset.cross_encoder import PairScorer
from vecmigrate.dataset.nearest import BLOCK, Block, nearest, unit
from vecmigrate.encoding.encoder import Encoder
from vecmigrate.store import Capability, Store, Vectors
from vecmigrate.versions import IndexVersion

EXACT_UP_TO = 20_000
"""Chunks; a collection up to this size is searched by the store's own brute force, so that the result hangs on the data alone."""
QUERIES_PER_BATCH = 64

Unit = dict[str, NDArray[np.float32]]
"""Vectors of length 1 by chunk id."""


class Searched(Protocol):
    """A place where negatives are looked for, with the encoder of its space."""

    @property
    def encoder(self) -> Encoder:
        """Encodes the queries."""
        ...

    @property
    def settings(self) -> DatasetSection:
        """The thresholds."""
        ...

    @property
    def scorer(self) -> PairScorer | None:
        """The cross-encoder that has the last word, if any."""
        ...

    def ranked(self, asked: Vectors, k: int) -> Iterator[tuple[str, ...]]:
        """The ids of the `k` best chunks for each row of `asked`, best first."""
        ...

    def units(self, ids: Sequence[str]) -> Unit:
        """The vectors of these ids at length 1; what has no usable vector is absent."""
        ...

    def texts(self, ids: Sequence[str]) -> Mapping[str, str]:
        """The texts of these ids; absent ones are absent."""
        ...


@dataclass(frozen=True, slots=True)
class Mining:
    """The live store under the control. `exact` searches by the store's brute force; with `chunks`, a dataset's chunk file, the vectors of
    the chunks in it are read from the store in blocks and searched here.
    """

    store: Store
    control: IndexVersion
    encoder: Encoder
    settings: DatasetSection
    exact: bool = False
    chunks: Path | None = None
    scorer: PairScorer | None = None

    def ranked(self, asked: Vectors, k: int) -> Iterator[tuple[str, ...]]:
        """See `Searched.ranked`."""
        if self.chunks is not None:
            yield from nearest(asked, self._blocks(self.chunks), k, metric=self.control.metric)
            return
        for start in range(0, len(asked), QUERIES_PER_BATCH):
            found = self.store.search(self.control, asked[start : start + QUERIES_PER_BATCH], k, exact=self.exact)
            yield from (tuple(hit.chunk_id for hit in hits) for hits in found)

    def units(self, ids: Sequence[str]) -> Unit:
        """See `Searched.units`."""
        names, vectors = self._vectors(ids)
        scaled, usable = unit(vectors)
        return dict(zip(names[usable], scaled, strict=True))

    def texts(self, ids: Sequence[str]) -> Mapping[str, str]:
        """See `Searched.texts`."""
        return {id: chunk.text for id, chunk in self.store.fetch(ids).items()}

    def line(self) -> str:
        """How the store is searched, for the report."""
        if self.chunks is not None:
            return "searched by brute force, the vectors read in blocks"
        return "searched by brute force in the store" if self.exact else "searched by the store's index, which may miss some"

    def _blocks(self, chunks: Path) -> Iterator[Block]:
        rows = storage.read_table(chunks, ["id"])
        while ids := [row["id"] for row in islice(rows, BLOCK)]:
            names, vectors = self._vectors(ids)
            yield names.tolist(), vectors

    def _vectors(self, ids: Sequence[str]) -> tuple[NDArray[np.object_], Vectors]:
        """Ids and vectors without those of another dimension, which a column that declares none may hold."""
        size = self.control.model.dimension
        found = {id: vector for id, vector in self.store.vectors(self.control, ids).items() if vector.shape == (size,)}
        table = np.stack(list(found.values())) if found else np.zeros((0, size), dtype=np.float32)
        return np.array(list(found), dtype=object), table


def how_to_search(store: Store, control: IndexVersion, settings: DatasetSection, rows: int) -> tuple[bool, bool]:
    """Whether to search by the store's brute force, or by our own in blocks; neither is by its index.

    Small collections by the store's own brute force. Larger ones by the index where there is one: 10,000 queries take it seconds to
    minutes, while a server without an index would read the whole table for each of them.
    """
    if settings.negative_search == "index":
        return False, False
    if rows <= EXACT_UP_TO and store.can(Capability.EXACT_SEARCH).able:
        return True, False
    return False, settings.negative_search == "exact" or control.ann.kind == "none"
