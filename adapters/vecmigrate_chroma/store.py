"""The store itself: the contract of `vecmigrate.store`, put together from its parts."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecmigrate.errors import Conflict, NotFound, PreflightRefused, StoreError, UsageError, WrongSpace
from vecmigrate.filters import Filter, matches
from vecmigrate.live import Live
from vecmigrate.publication import Client, Encode, Published
from vecmigrate.records import Chunk, Hit
from vecmigrate.sharing import refuse_writing
from vecmigrate.store import Capability, Differences, Health, Inspection, Probe, Vectors
from vecmigrate.versions import GONE, AnnParameters, AuditEvent, Element, IndexVersion, ModelVersion, Pointer, State
from vecmigrate_chroma.clients import likely_client
from vecmigrate_chroma.collection import VersionedCollection
from vecmigrate_chroma.contents import Contents, refuse_unusable
from vecmigrate_chroma.directory import Directory
from vecmigrate_chroma.disk import kept_disk
from vecmigrate_chroma.driver import Driver
from vecmigrate_chroma.inside import Inside
from vecmigrate_chroma.inspecting import Shape, inspect
from vecmigrate_chroma.lease import ServerLease
from vecmigrate_chroma.ledger import Ledger
from vecmigrate_chroma.naming import FIRST_EPOCH, PREFIX
from vecmigrate_chroma.probing import damage
from vecmigrate_chroma.publishing import Publishing
from vecmigrate_chroma.rows import Source
from vecmigrate_chroma.search import LOST_SHARE, Search, spread
from vecmigrate_chroma.settings import ChromaSettings
from vecmigrate_chroma.version_rows import VersionRows

_LOG = logging.getLogger("vecmigrate")
_UNFINISHED = frozenset({State.PLANNED, State.BACKFILLING, State.INDEXING, State.CATCHING_UP, State.FAILED})

UNSEEN = (
    "Chroma reports no changes. What is written through vecmigrate's collection is in every version when the call returns. What other "
    "clients write is found by the next sync, by id, text and metadata: rows that are new, changed or gone, but not when or by whom, nor a "
    "vector that they replaced under the same text"
)
"""What capture is and isn't here, for the plan."""


class ChromaStore:
    """One Chroma collection with its versions and pointer. Safe among threads."""

    name = "chroma"

    def __init__(self, driver: Driver, guard: Directory | ServerLease, settings: ChromaSettings, collection: str) -> None:
        self._driver = driver
        self._guard = guard
        self._settings = settings
        self._collection = collection
        self._source = Source(driver, settings.source, settings.text_key, collection=collection)
        self._ledger = Ledger(driver, collection, settings.source)
        self._contents = Contents(driver, self._source)
        self._search = Search(driver)
        self._publishing = Publishing(driver, self._source, collection)
        self._rows = VersionRows(driver, self._ledger, self._source, self._publishing, collection)
        self._closing = threading.Lock()
        self._closed = False

    # Source.

    @property
    def collection(self) -> str:
        """The collection's name in vecmigrate."""
        return self._collection

    def can(self, capability: Capability) -> Probe:
        """What Chroma can. A persistent directory is one process's."""
        if capability is Capability.HALF_PRECISION:
            return Probe(False, "Chroma keeps 32-bit floats only")
        if capability is Capability.CHANGE_CAPTURE:
            return Probe(False, UNSEEN)
        if capability is Capability.FREES_DISK:
            return Probe(False, kept_disk(None if self._driver.server else Path(self._driver.place)))
        if capability is Capability.TRANSACTIONAL_FLIP:
            return Probe(False, "creating the next epoch's collection is the flip: one step, exactly one winner, but no transaction")
        if capability is Capability.MAKE_VERSIONS and not self._driver.server and not os.access(self._driver.place, os.W_OK):
            return Probe(False, f"{self._driver.place} is not writable for this user")
        if capability is Capability.READ_ROWS:
            return Probe(False, "Chroma has no tables; read the query log from a file")
        if capability is Capability.CONCURRENT_PROCESSES and not self._driver.server:
            serve = f"chroma run --path {self._driver.place} --port 8000"
            return Probe(False, f"a persistent directory is one process's; for several run a server ({serve}) and give its url")
        return Probe(True)

    def inspect(self) -> Inspection:
        """Read configuration and every row's document and metadata once."""
        return inspect(self._driver, self._source, self._collection)

    def count(self) -> int:
        """How many rows have a text. Reads them all: Chroma has no such count."""
        return sum(len(batch) for batch in self.scan())

    def scan(self, *, batch_size: int = 1000) -> Iterator[Sequence[Chunk]]:
        """The rows whose ids were there at the start and that are still there when their batch is read. No snapshot: Chroma has none."""
        rows = self._source.open()
        yield from self._source.scan(rows, rows.ids(), batch_size)

    def sample(self, size: int, *, seed: int = 0) -> Sequence[Chunk]:
        """Rows with text; each has a vector, as all do in Chroma."""
        return self._source.sample(size, seed)

    def fetch(self, ids: Sequence[str]) -> dict[str, Chunk]:
        """The rows of these ids."""
        return {chunk.id: chunk for chunk in self._source.chunks(self._source.open(), ids)} if ids else {}

    # Versions.

    def versions(self) -> Sequence[IndexVersion]:
        """Every registered version; `rows` is left None: counting is a request of its own for each."""
        return self._ledger.versions()

    def adopt(self, model: ModelVersion, *, actor: str = "") -> IndexVersion:
        """Write epoch 1 with v0's record; the application's collection is not touched."""
        shape = Shape.of(self._publishing.control())
        if shape.dimension is not None and shape.dimension != model.dimension:
            raise WrongSpace(
                f"collection {self._source.name!r} has vectors of {shape.dimension} dimensions, {model.name} makes {model.dimension}",
                hint="name the model that made them in [control]",
            )
        if not self._ledger.epochs():
            self._refuse_two_followers()
            self._guard.write()
            record = _record(model, shape, shape.ann, f"{self._driver.place} collection {self._source.name!r}")
            self._ledger.adopt(record, actor=actor)
        control = self._ledger.version(0)
        if control.model.fingerprint != model.fingerprint:
            raise Conflict(
                f"{control.name} is registered as {control.model.name}", hint="vecmigrate status shows it; name that model in [control]"
            )
        return control

    def _refuse_two_followers(self) -> None:
        """A source has one pointer: what is written or published through one collection would be another's without its knowing."""
        for name in self._driver.names(PREFIX):
            if not name.endswith(FIRST_EPOCH):
                continue
            found = self._driver.find(name)
            other = name.removeprefix(PREFIX).removesuffix(FIRST_EPOCH)
            if found is not None and other != self._collection and (found.metadata or {}).get("source") == self._source.name:
                raise Conflict(
                    f"collection {self._source.name!r} is followed already, as {other!r}: it can have one pointer only",
                    hint=f'collection = "{other}" in [store]; or delete the collections that begin with {PREFIX}{other}. first',
                )

    def create_version(
        self,
        model: ModelVersion,
        *,
        ann: AnnParameters | None = None,
        element: Element | None = None,
        shares: str = "",
        actor: str = "",
    ) -> IndexVersion:
        """Take the next number and create its collection. Raises `PreflightRefused` before `adopt` or without room on the disk,
        `UsageError` for what Chroma can't keep.
        """
        if element is not None and element is not Element.FLOAT32:
            raise UsageError(f"Chroma keeps no {element} vectors, 16-bit or other", hint="leave the element at float32")
        if ann is not None and ann.kind != "hnsw":
            raise UsageError(f"Chroma has no index of kind {ann.kind!r}", hint="its index is hnsw; exact search works beside it")
        if not self._ledger.epochs():
            raise PreflightRefused(f"{self._collection} has no control yet", hint="adopt its own model first")
        if shares:
            return self._create_sharing(model, shares, actor)
        rows = self._source.open()
        self._guard.write()
        self._guard.refuse_without_room(rows.count(), model.dimension)
        shape, control = Shape.of(rows), self._ledger.version(0)
        record = {**_record(model, shape, ann or control.ann, ""), "metric": str(control.metric)}
        version = self._ledger.register(record, actor=actor)
        self._rows.storage(version)
        return version

    def _create_sharing(self, model: ModelVersion, shares: str, actor: str) -> IndexVersion:
        self._guard.write()
        version = self._ledger.register_sharing(model, shares, actor=actor)
        self._rows.mark(version)
        return version

    def advance(self, version: IndexVersion, to: State, *, actor: str, note: str = "") -> IndexVersion:
        """Compare-and-set of the state."""
        self._guard.write()
        return self._ledger.advance(version, to, actor=actor, note=note)

    def pending(self, version: IndexVersion, *, batch_size: int = 2048) -> Iterator[Sequence[Chunk]]:
        """What the version lacks, or has with another text or other metadata: filters answer from the copy, so both must be right."""
        if version.holder:
            yield from self._contents.pending(self._rows.readable(version), batch_size)

    def reusable(self, version: IndexVersion, chunks: Sequence[Chunk]) -> dict[str, NDArray[np.float32]]:
        """Vectors of rows whose metadata alone has changed, which filters answer from."""
        with self._rows.going(version):
            rows = self._rows.readable(version)
            return self._contents.reusable(rows, chunks) if rows is not None and chunks else {}

    def load(self, version: IndexVersion, chunks: Sequence[Chunk], vectors: Vectors) -> Sequence[str]:
        """Upsert in parts of the server's batch size. Each part is whole or absent after a crash; running it again completes it."""
        _refuse_control(version, "written")
        refuse_writing(version, "written")
        refuse_unusable(version, chunks, vectors)
        self._guard.write()
        with self._rows.going(version):
            return self._contents.load(self._rows.storage(version), chunks, vectors) if chunks else ()

    def remove(self, version: IndexVersion, ids: Sequence[str]) -> Sequence[str]:
        """Delete rows of a version of ours."""
        _refuse_control(version, "deleted from")
        refuse_writing(version, "deleted from")
        self._guard.write()
        with self._rows.going(version):
            rows = self._rows.readable(version)
            return self._contents.remove(rows, ids) if ids and rows is not None else ()

    def build_index(self, version: IndexVersion) -> None:
        """Chroma indexes while it loads; this checks that a sample is found. Raises `StoreError` for an index that lost vectors:
        Chroma can't rebuild it in place.
        """
        if version.shares:
            self._guard.write()
            self._rows.mark(version)  # a kill may have come before it was made
        rows = self._rows.readable(version)
        if rows is None:
            return
        asked = spread(sorted(rows.ids()))
        lost = self._search.lost(rows, version.metric, asked)
        if len(lost) > LOST_SHARE * len(asked):
            anew = "build anew" + (" with --own-vectors" if version.shares else "")
            raise StoreError(
                f"the index of {version.shares or version.name} is damaged: {len(lost)} of {len(asked)} sampled vectors are not found by themselves",
                hint=f"vecmigrate shadow drop {version.label}, then {anew}; two processes writing to one directory do this",
            )

    def differences(self, version: IndexVersion, *, sample: int = 20) -> Differences:
        """Compare with the source by id and hashes; another metadata counts as stale, since filters answer from the copy."""
        if version.holder == 0:
            self._rows.readable(version)  # raises for one that has gone
            return self._control_differences()
        return self._contents.differences(self._rows.readable(version), sample)

    def health(self, version: IndexVersion) -> Health:
        """Look at every vector, and ask for a sample of them by themselves."""
        rows = self._rows.readable(version)
        return self._search.health(rows, version.metric, version.model.dimension) if rows is not None else Health(0, None, None, "empty")

    def vectors(self, version: IndexVersion, ids: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """The stored vectors."""
        rows = self._rows.readable(version)
        return rows.vectors(ids) if rows is not None and ids else {}

    def search(
        self, version: IndexVersion, queries: Vectors, k: int, *, where: Filter | None = None, exact: bool = False
    ) -> list[tuple[Hit, ...]]:
        """Pinned to the version's own collection. Filters answer from the metadata that was copied with the vectors."""
        if queries.ndim != 2 or queries.shape[1] != version.model.dimension:
            raise WrongSpace(f"queries of shape {queries.shape} for {version.name}", hint=f"expected (n, {version.model.dimension})")
        if k < 1:
            raise UsageError(f"k is {k}", hint="ask for at least one hit")
        if not len(queries):
            return []
        ask = self._search.exact if exact else self._search.indexed

        def answers() -> list[tuple[Hit, ...]]:
            rows = self._rows.searchable(version)
            return ask(rows, version.metric, queries, k, where) if rows is not None else [()] * len(queries)

        try:
            found = answers()
        except NotFound:
            self._rows.forget(version)
            found = answers()
        return found if where is None or version.holder == 0 else self._as_filtered_now(found, where)

    def drop(self, version: IndexVersion, *, actor: str = "") -> None:
        """Delete a gone version's collection. Chroma gives its disk to later rows, not back: `chroma vacuum` does that."""
        _refuse_control(version, "dropped")
        self._guard.write()
        now = self._ledger.version(version.number)
        if now.state not in GONE:
            raise Conflict(f"{now.name} is {now.state}", hint=f"vecmigrate retire {now.label} comes first")
        if not now.shares:
            self._rows.forget(now)
        self._driver.delete(self._rows.name(now))
        self._ledger.note_drop(now, actor=actor)

    # Pointing.

    def pointer(self) -> Pointer | None:
        """The highest epoch: one request that finds nothing, once the epochs so far are known."""
        return self._ledger.pointer()

    def activate(self, version: int, *, expect_epoch: int, actor: str, reason: str = "") -> Pointer:
        """Create the next epoch collection: exactly one caller can, and that is the flip, its states and its audit event at once."""
        self._guard.write()
        shown = self.published()
        if shown is not None and shown != version:
            raise PreflightRefused(
                f"v{shown} is published under the name {self._source.name!r}: clients by name would stay on it",
                hint="vecmigrate publish --undo first",
            )
        return self._ledger.activate(version, expect_epoch=expect_epoch, actor=actor, reason=reason)

    def record(self, kind: str, version: IndexVersion, *, actor: str, detail: Mapping[str, Any]) -> None:
        """Add an event."""
        self._guard.write()
        self._ledger.record(kind, version, actor=actor, detail=detail)

    def history(self) -> Sequence[AuditEvent]:
        """Epochs and steps, oldest first, by the server's clock."""
        return self._ledger.history()

    @contextmanager
    def operation(self, what: str, *, actor: str) -> Iterator[None]:
        """Hold the collection: by the directory's file lock, or by a turn on the server.

        In a directory, unfinished versions whose index file a kill has cut off are emptied first, so that a build goes on instead of
        crashing.
        """
        with self._guard.operation(what, actor=actor):
            if not self._driver.server:
                self._empty_what_is_cut_off(actor)
            yield

    # Publishing.

    def published(self) -> int | None:
        """Read from the metadata of the collection that has the application's name, or was to have it."""
        return self._publishing.version()

    def client(self) -> Client:
        """By name and metadata."""
        return likely_client(self._publishing.control(), self._source.name)

    def publish(self, version: IndexVersion, encode: Encode, *, actor: str) -> Published:
        """Two renames, see `vecmigrate_chroma.publishing`."""
        if version.shares:
            raise PreflightRefused(
                f"{version.name} shares the vectors of {version.shares}: what sets it apart is how queries are encoded, which no collection shows",
                hint="let the application follow the pointer: docs/integrations.md",
            )
        self._guard.write()
        with self._rows.opened(version) as stored:
            done = self._publishing.publish(version, stored, encode)
        last = [event.kind for event in self._ledger.history() if event.kind in ("publish", "unpublish")][-1:]
        if last != ["publish"]:  # a run that was killed before this noted nothing
            self._ledger.record("publish", version, actor=actor, detail={"rows": done.rows, "name": self._source.name})
        return done

    def unpublish(self, encode: Encode, *, actor: str, allow_mass_deletion: bool = False) -> Published:
        """The renames back, after what was written meanwhile was brought in."""
        self._guard.write()
        done = self._publishing.unpublish(encode, allow_mass_deletion=allow_mass_deletion)
        if done.changed:
            detail = {"rows": done.rows, "brought": done.brought, "removed": done.removed, "overruled": list(done.overruled)}
            self._ledger.record("unpublish", self._ledger.version(0), actor=actor, detail=detail)
        return done

    # The application's side.

    def stand_in(self, live: Live) -> VersionedCollection:
        """A `VersionedCollection` in place of the application's `chromadb.Collection`."""
        inside = Inside(self._driver, self._source, self._search, live, self._rows.opened, self.versions, self._begin_writing)
        return VersionedCollection(inside)

    def _begin_writing(self) -> None:
        if self._closed:
            raise PreflightRefused(f"{self._collection} was closed: nothing more is written through it", hint="open it again")
        self._guard.write()

    def close(self) -> None:
        """Give lock and client back."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
        self._rows.close()
        self._driver.close()
        self._guard.release()

    # Inside.

    def _as_filtered_now(self, found: list[tuple[Hit, ...]], where: Filter) -> list[tuple[Hit, ...]]:
        """Without the hits whose source row passes the filter no more: a copy that lags must not show one tenant another's rows."""
        now = self.fetch(sorted({hit.chunk_id for hits in found for hit in hits}))
        return [tuple(h for h in hits if h.chunk_id in now and matches(where, now[h.chunk_id].metadata)) for hits in found]

    def _empty_what_is_cut_off(self, actor: str) -> None:
        """Only of unfinished versions that this process has not read from: what it has read from, it could read."""
        for version in self.versions():
            name = self._rows.name(version)
            if version.state not in _UNFINISHED or self._rows.is_open(version) or self._driver.find(name) is None:
                continue
            found = damage(self._driver.place, self._settings.tenant, self._settings.database, name, self._driver.batch_size)
            if found:
                self._driver.delete(name)
                self._ledger.record("repair", version, actor=actor, detail={"emptied": found})
                _LOG.warning("%s: Chroma's index file was cut off by a kill (%s); its rows are encoded again", version.name, found)

    def _control_differences(self) -> Differences:
        """None while the application's rows are v0's rows; while another is published, what was written under its name since."""
        count = self.count()
        if self.published() is None:
            return Differences(expected=count, present=count, n_missing=0, n_stale=0, n_extra=0)
        differing, extra = self._publishing.behind()
        present = count - len(differing) + len(extra)
        return Differences(count, present, len(differing), 0, len(extra), tuple(differing[:20]), (), tuple(extra[:20]))


def _record(model: ModelVersion, shape: Shape, ann: AnnParameters, location: str) -> Mapping[str, Any]:
    return {
        "model": model.to_dict(),
        "metric": str(shape.metric),
        "ann": {"kind": ann.kind, "m": ann.m, "ef_construction": ann.ef_construction},
        "location": location,
    }


def _refuse_control(version: IndexVersion, what: str) -> None:
    if version.number == 0:
        raise PreflightRefused(f"{version.name} is the application's own and is never {what}", hint="name a version of ours")
