"""Bring given rows of the source into a version, as often as they change meanwhile.

    read the source ─► encode ─► write into the version ─► look at the source again ─► the same? done : once more

Whoever writes last has looked last, so several may do this for one row at once, in any order, and the version ends with what the source
holds. A version is written to by a build, a sync and any number of applications at the same time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vecmigrate.encoding.encoder import Encoder
from vecmigrate.errors import Conflict
from vecmigrate.records import Chunk
from vecmigrate.store import Store, Vectors
from vecmigrate.versions import IndexVersion

MOST_ROUNDS = 100
"""Times that a row may change under us before it is an error: each round takes as long as encoding it."""


@dataclass(frozen=True, slots=True)
class Brought:
    """How many rows were written into a version, and how many removed from it."""

    loaded: int = 0
    removed: int = 0

    def __add__(self, other: Brought) -> Brought:
        return Brought(self.loaded + other.loaded, self.removed + other.removed)


def bring_in(store: Store, version: IndexVersion, encoder: Encoder, ids: Sequence[str]) -> Brought:
    """Make the version's rows of these ids what the source's are: written, replaced or removed.

    Raises what the store or the encoder raises, and `Conflict` for rows that never stand still; those are found by the next sync.
    """
    done, left = Brought(), list(dict.fromkeys(ids))
    for _ in range(MOST_ROUNDS):
        if not left:
            return done
        found = store.fetch(left)
        chunks = [chunk for chunk in found.values() if chunk.text.strip()]
        there = {chunk.id for chunk in chunks}
        gone = [id for id in left if id not in there]
        again = list(store.remove(version, gone))
        if chunks:
            again += store.load(version, chunks, vectors_for(store, version, encoder, chunks))
        done += Brought(len(chunks), len(gone))
        left = list(dict.fromkeys(again))
    raise Conflict(
        f"{len(left)} rows of {version.name} change faster than they are encoded, such as {left[0]!r}", hint="vecmigrate shadow sync"
    )


def vectors_for(store: Store, version: IndexVersion, encoder: Encoder, chunks: Sequence[Chunk]) -> Vectors:
    """Vectors of these chunks, shape (len(chunks), dimension): encoded, where the version does not hold them already."""
    ready = store.reusable(version, chunks)
    if not ready:
        return encoder.encode_documents([chunk.text for chunk in chunks])
    fresh = [chunk for chunk in chunks if chunk.id not in ready]
    encoded = (
        dict(zip((chunk.id for chunk in fresh), encoder.encode_documents([chunk.text for chunk in fresh]), strict=True)) if fresh else {}
    )
    return np.stack([ready[chunk.id] if chunk.id in ready else encoded[chunk.id] for chunk in chunks]).astype(np.float32, copy=False)
