"""Verify a version of a store that is being written to: rows that lag are not rows that are missing."""

from __future__ import annotations

from dataclasses import replace

from vecmigrate.encoding.encoder import EncoderSource
from vecmigrate.reindex.backfill import sync
from vecmigrate.reindex.sharing import holder_of
from vecmigrate.reindex.verification import Verification, verify
from vecmigrate.store import Differences, Store
from vecmigrate.versions import SEARCHABLE, IndexVersion

WATCHED = 10_000
"""Ids that are followed from one look to the next; with more behind than that, the version does not keep up."""


def verify_following(store: Store, version: IndexVersion, encoders: EncoderSource, *, sample: int = 64, actor: str = "") -> Verification:
    """Sync and verify. Where rows are still behind, because writers went on, sync once more: only those that are behind both times
    count as problems. v0, which the application maintains, is verified as it is. Of a version that shares, what is synced is the version
    that has the vectors, by that one's own model.
    """
    encoder, holder = encoders.encoder_for(version), holder_of(store, version)
    if not holder.number or holder.state not in SEARCHABLE:
        return verify(store, version, encoder, sample=sample)
    keeper = encoders.encoder_for(holder)
    sync(store, holder, keeper, actor=actor)
    found = verify(store, version, encoder, sample=sample)
    if found.differences.clean:
        return found
    before = store.differences(holder, sample=WATCHED)
    sync(store, holder, keeper, actor=actor)
    return replace(found, differences=_both_times(before, store.differences(holder, sample=WATCHED)))


def _both_times(before: Differences, after: Differences) -> Differences:
    if max(after.n_missing, after.n_stale, after.n_extra) > WATCHED:
        return after
    missing, stale, extra = (_in_both(getattr(before, kind), getattr(after, kind)) for kind in ("missing", "stale", "extra"))
    return Differences(after.expected, after.present, len(missing), len(stale), len(extra), missing, stale, extra)


def _in_both(before: tuple[str, ...], after: tuple[str, ...]) -> tuple[str, ...]:
    earlier = set(before)
    return tuple(id for id in after if id in earlier)
