"""Versions without vectors of their own: which vectors a model can search, the proof that they are its documents', and the way to ready.

planned ─► prove: a sample and the longest texts, re-embedded by the model's document side ─► … ─► ready       seconds, no index
"""

from __future__ import annotations

from collections.abc import Sequence

from vecmigrate.encoding.encoder import Encoder
from vecmigrate.errors import PreflightRefused, VecmigrateError
from vecmigrate.records import Chunk
from vecmigrate.reindex.provenance import Provenance, judged
from vecmigrate.reindex.verification import SAMPLE, cosines_of
from vecmigrate.sharing import holder_among, holder_for
from vecmigrate.store import Capability, Store, control_version
from vecmigrate.versions import Element, IndexVersion, ModelVersion, State

LOOKED_AT = 8
"""Times the sample from which its longest texts are taken: a model that reads less, or more, of a text differs only in those."""


def holder_of(store: Store, version: IndexVersion) -> IndexVersion:
    """The version whose vectors `version` searches, which is the one to keep up to date: itself, where it shares none."""
    return holder_among(store.versions(), version) if version.shares else version


def vectors_to_share(
    store: Store, model: ModelVersion, *, element: Element | None = None, control: ModelVersion | None = None
) -> IndexVersion | None:
    """The version whose vectors a version of `model` can search, or None where it needs vectors of its own.

    That is a complete version that is kept up, has the document vectors that `model` says are its own, and keeps them as `element` where
    one is asked for: the one that serves, else the first. Before `adopt`, that is v0 as it would be adopted under `control`. A model that says
    nothing of its documents shares with none.
    """
    if not model.documents or not store.can(Capability.SHARED_VECTORS).able:
        return None
    versions = store.versions() or ([control_version(store, control)] if control is not None else [])
    found = [v for v in versions if element in (None, v.element) and _fits(versions, model, v)]
    serving = {v.holder for v in versions if v.state is State.ACTIVE}
    return min(found, key=lambda v: (v.number not in serving, v.number), default=None)


def _fits(versions: Sequence[IndexVersion], model: ModelVersion, version: IndexVersion) -> bool:
    try:
        return holder_for(versions, model, version.name).number == version.number
    except VecmigrateError:
        return False


def prove_sharing(store: Store, holder: IndexVersion, encoder: Encoder, *, sample: int = SAMPLE, seed: int = 0) -> Provenance:
    """Re-embed stored chunks with the document side of `encoder` and compare with the vectors of `holder`. Reads only.

    The answer is of a sample; of the longest texts among many more, where these tell another story: in vectors of ours any that is unlike, in
    the application's own, which may be of older texts here and there, most of them.
    """
    drawn = store.sample(LOOKED_AT * sample, seed=seed) or next(store.scan(batch_size=LOOKED_AT * sample), ())
    some, longest = _spread(drawn, sample), sorted(drawn, key=lambda c: -len(c.text))[: max(1, sample // 4)]
    proof, of_long = (judged(holder, encoder, cosines_of(store, holder, encoder, chunks)) for chunks in (some, longest))
    return of_long if of_long.unlike and (holder.number or 2 * of_long.alike < of_long.sampled) else proof


def _spread(chunks: Sequence[Chunk], size: int) -> Sequence[Chunk]:
    """`size` of them at equal distances: stores return a sample in the order of its ids."""
    step = max(1, len(chunks) // size) if size else 1
    return chunks[::step][:size]


def require_shared(holder: IndexVersion, proof: Provenance) -> None:
    """Raise `PreflightRefused` unless the vectors of `holder` are what the model makes of its documents.

    Of the application's own, a few may be of an older text; where nothing can be compared, nothing is proved.
    """
    if proof.confirmed and (holder.number == 0 or not proof.unlike):
        return
    seen = (
        f"cosine {proof.median_cosine} (median), {proof.alike} of {proof.sampled} chunks alike" if proof.sampled else "nothing to compare"
    )
    raise PreflightRefused(
        f"{holder.name} does not hold what {proof.model} makes of its documents: {seen}",
        hint=f"vecmigrate shadow build --model {proof.model} --own-vectors",
    )


def share(store: Store, version: IndexVersion, encoder: Encoder, *, actor: str) -> IndexVersion:
    """Take a version that shares from wherever it stands to READY. Raises `PreflightRefused` as `require_shared` does."""
    holder = holder_of(store, version)
    require_shared(holder, prove_sharing(store, holder, encoder))
    if version.state in (State.PLANNED, State.FAILED):
        version = store.advance(version, State.BACKFILLING, actor=actor)
    if version.state is State.BACKFILLING:
        version = store.advance(version, State.INDEXING, actor=actor)
    if version.state is State.INDEXING:
        store.build_index(version)
        version = store.advance(version, State.CATCHING_UP, actor=actor)
    return store.advance(version, State.READY, actor=actor) if version.state is State.CATCHING_UP else version
