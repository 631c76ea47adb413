"""Prove that a version holds what its source holds, made by the model that it names. Reads only.

key sets and text hashes      every row of both sides, on the server where it can
vectors                       none zero, NaN or of another size
a sample re-embedded          the same text gives the same vector
the index                     valid, and used by searches
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from vecmigrate.encoding.encoder import Encoder
from vecmigrate.records import Chunk
from vecmigrate.store import Differences, Health, Store
from vecmigrate.versions import SEARCHABLE, Element, IndexVersion

SAMPLE = 64
MIN_COSINE = {Element.FLOAT32: 0.9999, Element.FLOAT16: 0.999}
"""The least cosine between a stored vector and its text re-embedded that counts as the same model; halves lose bits."""
MOST_STALE = 10_000
"""Stale rows beyond which no sample is re-embedded: which rows still hold their vector's text can't be told any more."""
TOLERATED = 0.1
"""Share of a sample of v0 that may be of another text or model: an application leaves rows behind whose text was edited later."""
BF16_MIN_COSINE = 0.999
"""bf16 encoders round differently from batch to batch."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found. `cosines` are those of the sample, lowest first."""

    version: IndexVersion
    differences: Differences
    health: Health
    sampled: int
    lowest_cosine: float | None
    not_by_this_model: tuple[str, ...]
    unproved: bool = False

    @property
    def problems(self) -> tuple[str, ...]:
        """One sentence each; empty means verified."""
        d, h = self.differences, self.health
        unfinished = self.version.number > 0 and self.version.state not in SEARCHABLE
        found = [
            (d.n_missing, f"{d.n_missing} rows of the source are missing{_like(d.missing)}"),
            (d.n_stale, f"{d.n_stale} rows have changed in the source since{_like(d.stale)}"),
            (d.n_extra, f"{d.n_extra} rows are gone from the source{_like(d.extra)}"),
            (unfinished, f"{self.version.name} is {self.version.state}: it is not built to the end"),
            (self.unproved and not unfinished, "no vector could be re-embedded and compared, so nothing shows which model made them"),
            (h.bad_vectors, f"{h.bad_vectors} vectors are zero, NaN or of another size"),
            (h.index_valid is False and not unfinished, f"the index is not valid{_because(h.detail)}"),
            (h.index_used is False and not unfinished, f"searches don't use the index{_because(h.detail)}"),
            (
                len(self.not_by_this_model),
                f"{len(self.not_by_this_model)} of {self.sampled} sampled vectors were not made by model "
                f"{self.version.model.fingerprint[:12]} (lowest cosine {self.lowest_cosine}){_like(self.not_by_this_model)}",
            ),
        ]
        return tuple(text for bad, text in found if bad)

    @property
    def ok(self) -> bool:
        """No problem was found."""
        return not self.problems

    @property
    def only_behind(self) -> bool:
        """Rows are missing, stale or extra, in vectors of ours, and nothing else is wrong: a sync mends it."""
        if not self.version.holder or self.version.state not in SEARCHABLE or self.differences.clean:
            return False
        caught_up = replace(self.differences, n_missing=0, n_stale=0, n_extra=0)
        return replace(self, differences=caught_up).ok

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready mapping."""
        return {
            "version": self.version.name,
            "ok": self.ok,
            "problems": list(self.problems),
            "differences": asdict(self.differences),
            "health": asdict(self.health),
            "sampled": self.sampled,
            "lowest_cosine": self.lowest_cosine,
        }


def verify(store: Store, version: IndexVersion, encoder: Encoder | None, *, sample: int = SAMPLE, seed: int = 0) -> Verification:
    """Compare `version` with its source. Without an encoder nothing is re-embedded, and `sampled` is 0."""
    differences = store.differences(version)
    health = store.health(version)
    provable = encoder is not None and sample > 0 and differences.n_stale <= MOST_STALE
    cosines = cosines_of_sample(store, version, encoder, sample, seed) if encoder is not None and provable else {}
    least = least_cosine(version)
    foreign = tuple(sorted(i for i, c in cosines.items() if not c >= least))
    lowest = round(min(cosines.values()), 5) if cosines else None
    unproved = provable and not cosines and not differences.n_stale and bool(differences.present) and version.number > 0
    return Verification(version, differences, health, len(cosines), lowest, foreign, unproved)


def as_it_serves(found: Verification) -> Verification:
    """The application's own vectors without what they serve with all the same: their index, unusable ones, a few that are of an older text."""
    few = len(found.not_by_this_model) <= TOLERATED * found.sampled
    return replace(
        found,
        health=replace(found.health, bad_vectors=0, index_valid=None, index_used=None),
        not_by_this_model=() if few else found.not_by_this_model,
    )


def nothing_lost(found: Verification) -> Verification:
    """As `as_it_serves`, for a move between versions that both search the application's own vectors: what these lack is lacking already."""
    present = replace(found.differences, n_missing=0, n_stale=0, n_extra=0, missing=(), stale=(), extra=())
    return replace(as_it_serves(found), differences=present)


def least_cosine(version: IndexVersion) -> float:
    """The cosine from which a stored vector counts as made by the version's model."""
    return min(MIN_COSINE[version.element], BF16_MIN_COSINE if version.model.precision != "float32" else 1.0)


def cosines_of_sample(store: Store, version: IndexVersion, encoder: Encoder, size: int, seed: int) -> dict[str, float]:
    """Chunk id → cosine between its stored vector and its text re-embedded, for chunks that are in the version and not stale."""
    chunks = store.sample(size, seed=seed) or (next(store.scan(batch_size=size), ()) if version.holder else ())
    return cosines_of(store, version, encoder, chunks)


def cosines_of(store: Store, version: IndexVersion, encoder: Encoder, chunks: Sequence[Chunk]) -> dict[str, float]:
    """As `cosines_of_sample`, of these chunks."""
    found = store.vectors(version, [c.id for c in chunks])
    stale = set(store.differences(version, sample=MOST_STALE).stale) if found else set()
    chunks = [c for c in chunks if c.id in found and c.id not in stale]
    fresh = encoder.encode_documents([c.text for c in chunks])
    return {chunk.id: _cosine(found[chunk.id], vector) for chunk, vector in zip(chunks, fresh, strict=True)}


def _cosine(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> float:
    if a.shape != b.shape:
        return 0.0
    norms = float(np.linalg.norm(a)) * float(np.linalg.norm(b))
    return float(a @ b) / norms if norms else 0.0


def _because(detail: str) -> str:
    return f": {detail}" if detail else ""


def _like(ids: tuple[str, ...]) -> str:
    return f", such as {', '.join(repr(i) for i in ids[:3])}" if ids else ""
