"""Build an index version from wherever it stands, and bring a finished one up to date.

    state on entry          what is done
    planned, failed         backfill, then as below
    backfilling             load what is pending, then as below
    indexing                build the ANN index, then as below
    catching_up             load what changed meanwhile, remove what is gone, then ready
    ready                   the same, staying ready

A version that shares another's vectors has nothing to load or to index: it is proved, and ready (`vecmigrate.reindex.sharing`).
Killed anywhere, the same call goes on: progress is what is in the store, never a file of ours.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from vecmigrate.encoding.encoder import Encoder
from vecmigrate.errors import PreflightRefused, VecmigrateError
from vecmigrate.records import Chunk
from vecmigrate.reindex.bringing import bring_in
from vecmigrate.reindex.pipeline import WINDOW, fill
from vecmigrate.reindex.sharing import share
from vecmigrate.store import Differences, Store
from vecmigrate.versions import GONE, SEARCHABLE, IndexVersion, State

MASS_DELETION = 0.2
"""A sync that would remove more than this share of a version asks first: a role that sees no rows looks like a deleted corpus."""
REMOVAL_BATCH = 5000
SETTLED = WINDOW
"""A pass that loads no more than this has caught up: on a store that is written to there is always a last row."""
MAX_PASSES = 20
"""Passes over what writers changed meanwhile, before a build says that it can't keep up."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a backfill is. `rate` is chunks per second in this run; `eta` is seconds, None before there is a rate."""

    done: int
    total: int
    rate: float
    eta: float | None


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What one call did. `truncated` counts loaded chunks whose end the model does not read; `seconds` is wall time."""

    version: IndexVersion
    loaded: int
    removed: int
    truncated: int
    seconds: float


class _Meter:
    """Counts what is loaded and tells the caller."""

    def __init__(self, total: int, done_before: int, tell: Callable[[Progress], None] | None) -> None:
        self.total = total
        self.before = done_before
        self.loaded = 0
        self.removed = 0
        self.truncated = 0
        self._tell = tell
        self._start = time.monotonic()

    def __call__(self, chunks: Sequence[Chunk], truncated: int) -> None:
        self.loaded += len(chunks)
        self.truncated += truncated
        self.tell()

    def tell(self) -> None:
        if self._tell is not None:
            self._tell(self.progress())

    def progress(self) -> Progress:
        rate = self.loaded / max(self.seconds, 1e-9)
        done = self.before + self.loaded
        left = max(0, self.total - done)
        return Progress(done, max(self.total, done), rate, left / rate if self.loaded else None)

    def report(self, version: IndexVersion) -> BuildReport:
        return BuildReport(version, self.loaded, self.removed, self.truncated, self.seconds)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._start


def build(
    store: Store,
    version: IndexVersion,
    encoder: Encoder,
    *,
    actor: str,
    progress: Callable[[Progress], None] | None = None,
) -> BuildReport:
    """Take `version` to READY. Hold `store.operation` around it.

    Raises `PreflightRefused` when the encoder is not the version's, when the version is gone, or when it shares vectors that are not those
    of its model's documents; on an error of the store or the
    encoder the version is FAILED with the reason, and a further `build` resumes it.
    """
    _check(version, encoder)
    found = store.differences(version, sample=0)
    meter = _Meter(found.expected, found.present - found.n_stale - found.n_extra, progress)
    meter.tell()
    try:
        version = share(store, version, encoder, actor=actor) if version.shares else _fill_up(store, version, encoder, meter, actor)
    except VecmigrateError as error:
        _mark_failed(store, version.number, error, actor)
        raise
    return meter.report(version)


def sync(store: Store, version: IndexVersion, encoder: Encoder, *, allow_mass_deletion: bool = False, actor: str = "") -> BuildReport:
    """Load what is new or changed in the source into a built version, and remove what is gone. Its state stays as it is; what was
    removed is audited.

    Raises `PreflightRefused` for v0, which the application maintains, for a version that shares another's vectors, which is the one to sync,
    for an unfinished version, and where more than a fifth of
    the version would be removed.
    """
    _check(version, encoder)
    _refuse_sharing(version)
    if version.state not in SEARCHABLE:
        raise PreflightRefused(
            f"{version.name} is {version.state}: there is nothing to sync yet", hint=f"vecmigrate shadow build --model {version.model.name}"
        )
    found = store.differences(version, sample=0)
    meter = _Meter(found.expected, found.present - found.n_stale - found.n_extra, None)
    _catch_up(store, version, encoder, meter, allow_mass_deletion=allow_mass_deletion)
    if meter.removed:
        store.record("sync", version, actor=actor, detail={"loaded": meter.loaded, "removed": meter.removed})
    return meter.report(version)


def _check(version: IndexVersion, encoder: Encoder) -> None:
    if version.number == 0:
        raise PreflightRefused(
            f"{version.name} is the application's own index, which it maintains itself", hint="vecmigrate verify v0 checks it"
        )
    if version.state in GONE:
        raise PreflightRefused(f"{version.name} is {version.state}", hint="vecmigrate shadow build makes a new version")
    if encoder.model.fingerprint != version.model.fingerprint:
        raise PreflightRefused(
            f"{version.name} was begun with model {version.model.fingerprint[:12]}, not {encoder.model.fingerprint[:12]}",
            hint="build a new version for another model",
        )


def _refuse_sharing(version: IndexVersion) -> None:
    if version.shares:
        hint = f"vecmigrate shadow sync v{version.holder}" if version.holder else "the application maintains these: vecmigrate verify v0"
        raise PreflightRefused(f"{version.name} shares the vectors of {version.shares}: it has none to be brought up to date", hint=hint)


def _fill_up(store: Store, version: IndexVersion, encoder: Encoder, meter: _Meter, actor: str) -> IndexVersion:
    version = _advance_to_ready(store, version, encoder, meter, actor)
    _catch_up(store, version, encoder, meter, allow_mass_deletion=version.state is not State.READY)
    return store.advance(version, State.READY, actor=actor) if version.state is State.CATCHING_UP else version


def _advance_to_ready(store: Store, version: IndexVersion, encoder: Encoder, meter: _Meter, actor: str) -> IndexVersion:
    """From wherever it stands to CATCHING_UP (or READY, where it was that already)."""
    if version.state in (State.PLANNED, State.FAILED):
        version = store.advance(version, State.BACKFILLING, actor=actor)
    if version.state is State.BACKFILLING:
        meter.removed += fill(store, version, encoder, meter).removed
        version = store.advance(version, State.INDEXING, actor=actor)
    if version.state is State.INDEXING:
        store.build_index(version)
        version = store.advance(version, State.CATCHING_UP, actor=actor)
    return version


def _catch_up(store: Store, version: IndexVersion, encoder: Encoder, meter: _Meter, *, allow_mass_deletion: bool) -> None:
    for _ in range(MAX_PASSES):
        brought = fill(store, version, encoder, meter)
        meter.removed += brought.removed
        if brought.loaded <= SETTLED:
            meter.removed += _remove_extra(store, version, encoder, allow_mass_deletion)
            return
    raise PreflightRefused(
        f"{version.name} can't catch up: rows change faster than they are encoded ({meter.loaded} loaded in {MAX_PASSES} passes)",
        hint="run vecmigrate shadow sync when there are fewer writers",
    )


def refuse_mass_deletion(version: IndexVersion, found: Differences) -> None:
    """Raise `PreflightRefused` when bringing `version` up to date would remove more than a fifth of it."""
    if found.n_extra > MASS_DELETION * max(found.present, 1):
        raise PreflightRefused(
            f"{found.n_extra} of {found.present} rows of {version.name} are gone from the source; refusing to remove that many unasked",
            hint=f"check that this role sees all rows (row security?), then vecmigrate shadow sync {version.label} --allow-mass-deletion",
        )


def _remove_extra(store: Store, version: IndexVersion, encoder: Encoder, allow_mass_deletion: bool) -> int:
    found = store.differences(version, sample=REMOVAL_BATCH)
    if not allow_mass_deletion:
        refuse_mass_deletion(version, found)
    removed = 0
    while found.extra:
        back = {i for i, chunk in store.fetch(found.extra).items() if chunk.text.strip()}
        gone = [i for i in found.extra if i not in back]
        if not gone:  # all of them were written anew meanwhile
            break
        bring_in(store, version, encoder, store.remove(version, gone))
        removed += len(gone)
        found = store.differences(version, sample=REMOVAL_BATCH)
    return removed


def _mark_failed(store: Store, number: int, error: VecmigrateError, actor: str) -> None:
    """Note the reason where the store can still be reached; the error itself is what the user sees."""
    with suppress(VecmigrateError):
        current = next(v for v in store.versions() if v.number == number)
        if current.state in (State.PLANNED, State.BACKFILLING, State.INDEXING, State.CATCHING_UP):
            store.advance(current, State.FAILED, actor=actor, note=error.message)
