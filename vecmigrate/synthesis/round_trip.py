"""The round trip: a query is kept only when searching for it finds the chunk that it was made from.

Alberti et al. (ACL 2019) ask this of made-up questions, Promptagator (Dai et al., ICLR 2023) with k = 1 of a retriever that was trained
on them before. Here the control searches, the model that is to be *improved*: with k = 1 only those would be left that it answers well
already, and nothing could be learned. The default of 20 takes out what names its chunk no better than hundreds of others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vecmigrate.encoding.encoder import Encoder
from vecmigrate.store import Capability, Store
from vecmigrate.synthesis.candidates import Candidate
from vecmigrate.versions import IndexVersion

QUERIES_PER_BATCH = 64
EXACT_UP_TO = 20_000
"""Chunks; a collection up to this size is searched by brute force, so that the result hangs on the data alone."""
SHARE = 10
"""In a small collection k is a tenth of the chunks, or nothing would ever be refused."""


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """Who searches, in how many chunks, and how deep. A depth of 0 keeps everything."""

    store: Store
    control: IndexVersion
    encoder: Encoder
    chunks: int
    k: int

    @property
    def depth(self) -> int:
        """The depth that is used: at most a tenth of the collection."""
        return min(self.k, max(1, self.chunks // SHARE)) if self.k else 0


def found_again(trip: RoundTrip, by_wording: Mapping[str, Candidate]) -> dict[str, Candidate]:
    """The queries of which a chunk is among the control's best `trip.depth`. Raises what the store and the encoder raise."""
    if not trip.depth:
        return dict(by_wording)
    kept: dict[str, Candidate] = {}
    exact = trip.chunks <= EXACT_UP_TO and trip.store.can(Capability.EXACT_SEARCH).able
    items = list(by_wording.items())
    for start in range(0, len(items), QUERIES_PER_BATCH):
        batch = items[start : start + QUERIES_PER_BATCH]
        asked = trip.encoder.encode_queries([candidate.text for _, candidate in batch])
        for (wording, candidate), hits in zip(batch, trip.store.search(trip.control, asked, trip.depth, exact=exact), strict=True):
            if not {hit.chunk_id for hit in hits}.isdisjoint(candidate.chunk_ids):
                kept[wording] = candidate
    return kept
