"""A store in memory that keeps the whole contract: the double for tests of everything that works with a store.

Several handles (`MemoryStore.handle`) see one collection, as several operators would. Nothing survives the process.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from random import Random
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from vecmigrate.errors import Conflict, NotFound, PreflightRefused, StalePlan, UsageError, VersionRetired, WrongSpace
from vecmigrate.filters import Filter, matches
from vecmigrate.records import Chunk, Hit, text_hash
from vecmigrate.sharing import holder_for, refuse_while_shared, refuse_writing
from vecmigrate.store import Capability, Differences, Health, Inspection, Probe, Vectors
from vecmigrate.testing.brute_force import checked, scores
from vecmigrate.versions import (
    GONE,
    AnnParameters,
    AuditEvent,
    Element,
    IndexVersion,
    Metric,
    ModelVersion,
    Pointer,
    State,
    may_become,
)

_PROBES: Mapping[Capability, Probe] = {
    Capability.CHANGE_CAPTURE: Probe(False, "rows that are written after a sync are found by the next one, by their key and text"),
    Capability.CONCURRENT_PROCESSES: Probe(False, "the memory store lives in one process; use pgvector or a Chroma server"),
    Capability.READ_ROWS: Probe(False, "the memory store has no tables; read the query log from a file"),
}


@dataclass(frozen=True, slots=True)
class SourceRow:
    """One row of an application's collection, as a test writes it down. `text` and `vector` may be missing."""

    id: str
    text: str | None
    vector: NDArray[np.float32] | None
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class _Stored:
    vector: NDArray[np.float32]
    text_hash: str


@dataclass(slots=True)
class _Contents:
    """What all handles of one collection share. Every access holds `lock`."""

    collection: str
    metric: Metric
    dimension: int
    rows: dict[str, SourceRow] = field(default_factory=dict)
    versions: dict[int, IndexVersion] = field(default_factory=dict)
    stored: dict[int, dict[str, _Stored]] = field(default_factory=dict)
    pointer: Pointer | None = None
    events: list[AuditEvent] = field(default_factory=list)
    holder: str = ""
    lock: threading.RLock = field(default_factory=threading.RLock)


class MemoryStore:
    """One collection with its versions and pointer. `rows` are the application's, with vectors of `dimension`."""

    name = "memory"

    def __init__(
        self, rows: Iterable[SourceRow] = (), *, metric: Metric = Metric.COSINE, dimension: int = 64, collection: str = "docs"
    ) -> None:
        self._data = _Contents(collection, metric, dimension)
        for row in rows:
            self._put(row)

    def handle(self) -> Self:
        """Another handle on the same collection."""
        other = object.__new__(type(self))
        other._data = self._data
        return other

    # The application's side.

    def put(self, chunk: Chunk, vector: NDArray[np.float32] | None) -> None:
        """Insert or replace a row as the application would. Raises `WrongSpace` for a vector of another shape."""
        self._put(SourceRow(chunk.id, chunk.text, vector, chunk.metadata))

    def delete(self, id: str) -> None:
        """Delete a row as the application would; one that isn't there is ignored."""
        with self._data.lock:
            self._data.rows.pop(id, None)

    def _put(self, row: SourceRow) -> None:
        if row.vector is not None and row.vector.shape != (self._data.dimension,):
            raise WrongSpace(f"row {row.id!r} has shape {row.vector.shape}", hint=f"expected ({self._data.dimension},)")
        kept = None if row.vector is None else np.array(row.vector, dtype=np.float32)
        with self._data.lock:
            self._data.rows[row.id] = replace(row, vector=kept, metadata=dict(row.metadata))

    # Source.

    @property
    def collection(self) -> str:
        """The collection's name."""
        return self._data.collection

    def can(self, capability: Capability) -> Probe:
        """Everything but what needs another process or a table."""
        return _PROBES.get(capability, Probe(True))

    def inspect(self) -> Inspection:
        """Count what is there."""
        data = self._data
        with data.lock:
            rows = list(data.rows.values())
        with_vector = sum(row.vector is not None for row in rows)
        return Inspection(
            adapter=self.name,
            location="memory",
            server="this process",
            collection=data.collection,
            rows=len(rows),
            rows_without_text=sum(_blank(row) for row in rows),
            rows_without_vector=len(rows) - with_vector,
            dimensions={data.dimension: with_vector} if with_vector else {},
            metric=data.metric,
            element=Element.FLOAT32,
            ann=AnnParameters(kind="none"),
            key="id",
            text="text",
            filter_fields={key: type(value).__name__ for row in rows for key, value in row.metadata.items()},
        )

    def count(self) -> int:
        """Rows with text."""
        return len(self._chunks())

    def scan(self, *, batch_size: int = 1000) -> Iterator[Sequence[Chunk]]:
        """All rows with text as they were at the first step, in batches."""
        yield from _batches(self._chunks(), batch_size)

    def sample(self, size: int, *, seed: int = 0) -> Sequence[Chunk]:
        """Rows with text and vector, drawn by `seed` from the sorted ids."""
        with self._data.lock:
            eligible = sorted(row.id for row in self._data.rows.values() if row.vector is not None and not _blank(row))
            chosen = Random(seed).sample(eligible, min(size, len(eligible)))  # noqa: S311 - a seeded draw, no secret
            return [_chunk(self._data.rows[i]) for i in sorted(chosen)]

    def fetch(self, ids: Sequence[str]) -> dict[str, Chunk]:
        """The rows of these ids that are there."""
        with self._data.lock:
            return {i: _chunk(self._data.rows[i]) for i in ids if i in self._data.rows}

    def _chunks(self) -> list[Chunk]:
        with self._data.lock:
            return [_chunk(row) for row in self._data.rows.values() if not _blank(row)]

    # Versions.

    def versions(self) -> Sequence[IndexVersion]:
        """Every registered version, by number."""
        with self._data.lock:
            return [replace(version, rows=self._rows_of(number)) for number, version in sorted(self._data.versions.items())]

    def adopt(self, model: ModelVersion, *, actor: str = "") -> IndexVersion:
        """Register the rows' own vectors as v0. Raises `Conflict` and `WrongSpace` as the contract says."""
        data = self._data
        with data.lock:
            if model.dimension != data.dimension:
                raise WrongSpace(f"{model.name} has {model.dimension} dimensions, not {data.dimension}", hint="name its own model")
            if 0 not in data.versions:
                data.versions[0] = self._new(0, model, State.ACTIVE, AnnParameters(kind="none"), Element.FLOAT32)
                data.pointer = Pointer(data.collection, 0, None, 1)
                self._note("adopt", actor, 0, 1, {"model": model.name})
            elif data.versions[0].model.fingerprint != model.fingerprint:
                raise Conflict(f"{data.collection}@v0 is registered as {data.versions[0].model.name}", hint="vecmigrate status shows it")
            return data.versions[0]

    def create_version(
        self,
        model: ModelVersion,
        *,
        ann: AnnParameters | None = None,
        element: Element | None = None,
        shares: str = "",
        actor: str = "",
    ) -> IndexVersion:
        """Register the next number, empty and PLANNED. Raises `PreflightRefused` before `adopt`."""
        data = self._data
        with data.lock:
            if not data.versions:
                raise PreflightRefused(f"{data.collection} has no control yet", hint="adopt its own model first")
            number = max(data.versions) + 1
            if shares:
                holder = holder_for(self.versions(), model, shares)
                made = self._new(number, model, State.PLANNED, holder.ann, holder.element)
                version = replace(made, shares=holder.name, location=holder.location)
            else:
                version = self._new(number, model, State.PLANNED, ann or data.versions[0].ann, element or Element.FLOAT32)
                data.stored[number] = {}
            data.versions[number] = version
            self._note("create", actor, number, None, {"model": model.name} | ({"shares": version.shares} if shares else {}))
            return version

    def advance(self, version: IndexVersion, to: State, *, actor: str, note: str = "") -> IndexVersion:
        """Compare-and-set of the state. Raises `Conflict`."""
        with self._data.lock:
            now = self._registered(version.number)
            if now.state is not version.state or State.ACTIVE in (now.state, to) or not may_become(now.state, to):
                raise Conflict(f"{now.name} is {now.state} and cannot go from {version.state} to {to}", hint="read versions() again")
            refuse_while_shared(self.versions(), now, to)
            self._data.versions[now.number] = replace(now, state=to, note=note or now.note)
            self._note("state", actor, now.number, None, {"from": str(now.state), "to": str(to), "note": note})
            return self._data.versions[now.number]

    def pending(self, version: IndexVersion, *, batch_size: int = 2048) -> Iterator[Sequence[Chunk]]:
        """The rows whose text hash is not in the version."""
        with self._data.lock:
            stored = self._contents(version)
            todo = [chunk for chunk in self._chunks() if chunk.id not in stored or stored[chunk.id].text_hash != chunk.text_hash]
        yield from _batches(todo, batch_size)

    def reusable(self, version: IndexVersion, chunks: Sequence[Chunk]) -> dict[str, NDArray[np.float32]]:
        """Nothing is copied beside a vector, so there is nothing to refresh."""
        return {}

    def load(self, version: IndexVersion, chunks: Sequence[Chunk], vectors: Vectors) -> Sequence[str]:
        """Write vectors and hashes, all or nothing."""
        _refuse_control(version, "written")
        refuse_writing(version, "written")
        kept = checked(version, chunks, vectors)
        with self._data.lock:
            stored = self._contents(version)
            stored.update({chunk.id: _Stored(kept[i], chunk.text_hash) for i, chunk in enumerate(chunks)})
            now = {chunk.id: chunk.text_hash for chunk in self._chunks()}
        return [chunk.id for chunk in chunks if now.get(chunk.id) != chunk.text_hash]

    def remove(self, version: IndexVersion, ids: Sequence[str]) -> Sequence[str]:
        """Delete ids from a version that is ours."""
        _refuse_control(version, "deleted from")
        refuse_writing(version, "deleted from")
        with self._data.lock:
            stored = self._contents(version)
            for i in ids:
                stored.pop(i, None)
            there = {chunk.id for chunk in self._chunks()}
        return [i for i in ids if i in there]

    def build_index(self, version: IndexVersion) -> None:
        """There is no ANN index to make; only checks that the version is there."""
        with self._data.lock:
            self._contents(version)

    def differences(self, version: IndexVersion, *, sample: int = 20) -> Differences:
        """Compare by id and text hash."""
        with self._data.lock:
            present = {i: stored.text_hash for i, stored in self._contents(version).items()}
            expected = {chunk.id: chunk.text_hash for chunk in self._chunks()}
        if version.holder == 0:  # a vector without a text is the application's affair
            present = {i: hashed for i, hashed in present.items() if i in expected}
        missing = sorted(expected.keys() - present.keys())
        extra = sorted(present.keys() - expected.keys())
        stale = sorted(i for i in expected.keys() & present.keys() if expected[i] != present[i])
        some = (tuple(ids[:sample]) for ids in (missing, stale, extra))
        return Differences(len(expected), len(present), len(missing), len(stale), len(extra), *some)

    def health(self, version: IndexVersion) -> Health:
        """Count zero and non-finite vectors."""
        with self._data.lock:
            vectors = [stored.vector for stored in self._contents(version).values()]
        return Health(bad_vectors=sum(not np.isfinite(v).all() or not v.any() for v in vectors))

    def vectors(self, version: IndexVersion, ids: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Copies of the stored vectors."""
        with self._data.lock:
            stored = self._contents(version)
            return {i: stored[i].vector.copy() for i in ids if i in stored}

    def search(
        self, version: IndexVersion, queries: Vectors, k: int, *, where: Filter | None = None, exact: bool = False
    ) -> list[tuple[Hit, ...]]:
        """Brute force, `exact` or not."""
        del exact
        if queries.ndim != 2 or queries.shape[1] != version.model.dimension:
            raise WrongSpace(f"queries of shape {queries.shape} for {version.name}", hint=f"expected (n, {version.model.dimension})")
        if k < 1:
            raise UsageError(f"k is {k}", hint="ask for at least one hit")
        with self._data.lock:
            found = {i: stored.vector for i, stored in self._contents(version).items() if self._passes(i, where)}
        ids = sorted(i for i, vector in found.items() if vector.any() or version.metric is not Metric.COSINE)
        if not ids:
            return [()] * len(queries)
        table = scores(queries, np.stack([found[i] for i in ids]), version.metric)
        best = np.argsort(-table, axis=1, kind="stable")[:, :k]
        return [tuple(Hit(ids[j], float(table[row, j])) for j in places) for row, places in enumerate(best)]

    def drop(self, version: IndexVersion, *, actor: str = "") -> None:
        """Forget a gone version's vectors. Raises `Conflict` while it is not RETIRED or CANCELLED."""
        _refuse_control(version, "dropped")
        with self._data.lock:
            now = self._registered(version.number)
            if now.state not in GONE:
                raise Conflict(f"{now.name} is {now.state}", hint=f"vecmigrate retire {now.label} comes first")
            dropped = any(e.kind == "drop" and e.version == now.number for e in self._data.events)
            if self._data.stored.pop(now.number, None) is not None or (now.shares and not dropped):
                self._note("drop", actor, now.number, None, {})

    # Pointing.

    def pointer(self) -> Pointer | None:
        """The serving pointer."""
        return self._data.pointer

    def activate(self, version: int, *, expect_epoch: int, actor: str, reason: str = "") -> Pointer:
        """Flip. Raises `NotFound`, `StalePlan` and `Conflict`."""
        data = self._data
        with data.lock:
            target, now = self._registered(version), data.pointer
            if now is None:
                raise NotFound(f"{data.collection} has no pointer", hint="adopt its own model first")
            if now.active == version and now.epoch in (expect_epoch, expect_epoch + 1):
                return now
            if now.epoch != expect_epoch:
                raise StalePlan(f"{data.collection} is at epoch {now.epoch}, not {expect_epoch}", hint="plan again")
            if not may_become(target.state, State.ACTIVE):
                raise Conflict(f"{target.name} is {target.state}", hint="only a ready or standby version can be activated")
            data.versions[now.active] = replace(data.versions[now.active], state=State.STANDBY)
            data.versions[version] = replace(target, state=State.ACTIVE)
            data.pointer = Pointer(data.collection, version, now.active, now.epoch + 1)
            self._note("activate", actor, version, data.pointer.epoch, {"previous": now.active, "reason": reason})
            return data.pointer

    def record(self, kind: str, version: IndexVersion, *, actor: str, detail: Mapping[str, Any]) -> None:
        """Add an event."""
        with self._data.lock:
            self._note(kind, actor, self._registered(version.number).number, None, dict(detail))

    def history(self) -> Sequence[AuditEvent]:
        """All events, oldest first."""
        with self._data.lock:
            return tuple(self._data.events)

    @contextmanager
    def operation(self, what: str, *, actor: str) -> Iterator[None]:
        """Hold the collection. Raises `Conflict` naming who holds it."""
        data = self._data
        with data.lock:
            if data.holder:
                raise Conflict(f"{data.collection} is held by {data.holder}", hint="wait until it is done")
            data.holder = f"{actor} ({what})"
        try:
            yield
        finally:
            data.holder = ""

    def close(self) -> None:
        """Nothing to give back."""

    # Inside.

    def _new(self, number: int, model: ModelVersion, state: State, ann: AnnParameters, element: Element) -> IndexVersion:
        return IndexVersion(
            self._data.collection, number, model, self._data.metric, state, element, ann, location="memory", created_at=datetime.now(UTC)
        )

    def _registered(self, number: int) -> IndexVersion:
        if number not in self._data.versions:
            raise NotFound(f"{self._data.collection}@v{number} is not registered", hint="vecmigrate status lists the versions")
        return self._data.versions[number]

    def _contents(self, version: IndexVersion) -> dict[str, _Stored]:
        if version.number:
            now = self._registered(version.number)
            if now.state in GONE or (now.holder and now.holder not in self._data.stored):
                raise VersionRetired(f"{now.name} is {now.state}", hint="read the pointer again")
            if now.model.fingerprint != version.model.fingerprint:
                raise VersionRetired(f"{now.name} is another model's now", hint="read the pointer again")
        if version.holder:
            return self._data.stored[version.holder]
        rows = self._data.rows.values()
        return {row.id: _Stored(row.vector, text_hash(row.text or "")) for row in rows if row.vector is not None}

    def _rows_of(self, number: int) -> int | None:
        version = self._data.versions[number]
        gone = number and (version.state in GONE or (version.holder and version.holder not in self._data.stored))
        return None if gone else len(self._contents(version))

    def _passes(self, id: str, where: Filter | None) -> bool:
        return where is None or (id in self._data.rows and matches(where, self._data.rows[id].metadata))

    def _note(self, kind: str, actor: str, version: int, epoch: int | None, detail: Mapping[str, Any]) -> None:
        self._data.events.append(AuditEvent(datetime.now(UTC), actor, kind, version, epoch, detail))


def _blank(row: SourceRow) -> bool:
    return not (row.text or "").strip()


def _chunk(row: SourceRow) -> Chunk:
    return Chunk(row.id, row.text or "", dict(row.metadata))


def _batches(chunks: Sequence[Chunk], size: int) -> Iterator[Sequence[Chunk]]:
    for start in range(0, len(chunks), size):
        yield chunks[start : start + size]


def _refuse_control(version: IndexVersion, what: str) -> None:
    if version.number == 0:
        raise PreflightRefused(f"{version.name} is the application's own and is never {what}", hint="name a version of ours")
