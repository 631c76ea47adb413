"""What an adapter implements: one collection in one vector database, its index versions and its serving pointer.

    Source      what the application has: inspect, scan, sample, fetch          reads only
    Versions    vectors beside it: create, pending, load, build_index, search   never touches the application's data
    Pointer     which version serves: pointer, activate, history, operation     atomic
    Store       all three together: what the rest of vecmigrate works with

An adapter raises only errors of `vecmigrate.errors`; a driver's own exception never leaves it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from vecmigrate.filters import Filter
from vecmigrate.records import Chunk, Hit
from vecmigrate.versions import (
    AnnParameters,
    AuditEvent,
    Element,
    IndexVersion,
    Metric,
    ModelVersion,
    Pointer,
    State,
)

Vectors = NDArray[np.float32]
"""Shape (n, dimension), C-contiguous float32."""


class Capability(StrEnum):
    """What a store can or cannot do. "Cannot" is an answer with a reason, never an exception half-way."""

    FILTERED_SEARCH = "filtered_search"
    """Metadata filters inside the search."""
    EXACT_SEARCH = "exact_search"
    """Search by brute force on the server, to measure the ANN index against."""
    HALF_PRECISION = "half_precision"
    """Vectors of 16-bit floats."""
    TRANSACTIONAL_FLIP = "transactional_flip"
    """Pointer, states and audit change in one transaction."""
    CONCURRENT_PROCESSES = "concurrent_processes"
    """Readers and writers of other processes may go on while we work."""
    FREES_DISK = "frees_disk"
    """What a dropped version held goes back to the disk. Where not, the reason says what gives it back."""
    CHANGE_CAPTURE = "change_capture"
    """Every client's writes reach the versions by themselves. Where not, the reason says which do, and what a sync can and can't see."""
    MAKE_VERSIONS = "make_versions"
    """May make versions and move the pointer: the role or the directory allows it."""
    SHARED_VECTORS = "shared_vectors"
    """A version may search another version's vectors with queries of its own model. Where not, such a model gets vectors of its own."""
    READ_ROWS = "read_rows"
    """Can read a query log from a table or SQL query: the store is a `RowSource` too."""


@dataclass(frozen=True, slots=True)
class Probe:
    """The answer to "can you?". `reason` says why not, and what is needed."""

    able: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was found in a collection, by reading alone.

    `dimensions` counts the stored vectors by dimension; `details` are further lines for people (label, value);
    `warnings` name what will be in the way. `filter_fields` are the metadata fields seen, with their type.
    """

    adapter: str
    location: str
    server: str
    collection: str
    rows: int
    rows_without_text: int
    rows_without_vector: int
    dimensions: Mapping[int, int]
    metric: Metric
    element: Element
    ann: AnnParameters
    key: str
    text: str
    filter_fields: Mapping[str, str] = field(default_factory=dict)
    details: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Differences:
    """A version against its source, by key set and text hash. Rows without text are not expected in a version.

    `missing`, `stale` and `extra` hold at most `sample` ids each; the counts are complete.
    """

    expected: int
    present: int
    n_missing: int
    n_stale: int
    n_extra: int
    missing: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """Nothing missing, stale or extra."""
        return not (self.n_missing or self.n_stale or self.n_extra)


@dataclass(frozen=True, slots=True)
class Health:
    """The state of a version's vectors and index, as the server sees them.

    `bad_vectors` counts zero, NaN or wrongly sized ones; `index_valid` and `index_used` are None where a store has no such notion.
    """

    bad_vectors: int
    index_valid: bool | None = None
    index_used: bool | None = None
    detail: str = ""


class Source(Protocol):
    """The application's collection, read only. Chunks whose text is NULL, empty or white space are passed over by
    `scan`, `sample` and `pending`; `inspect` counts them.
    """

    @property
    def name(self) -> str:
        """The adapter's name, as in the entry point."""
        ...

    @property
    def collection(self) -> str:
        """The collection's name in vecmigrate, `docs`."""
        ...

    def can(self, capability: Capability) -> Probe:
        """Whether the store has the capability, and if not, why."""
        ...

    def inspect(self) -> Inspection:
        """Look at the collection. Writes nothing; needs read access alone."""
        ...

    def count(self) -> int:
        """How many chunks `scan` would yield."""
        ...

    def scan(self, *, batch_size: int = 1000) -> Iterator[Sequence[Chunk]]:
        """All chunks with text, from one consistent snapshot where the store has such, each once, in memory of one batch."""
        ...

    def sample(self, size: int, *, seed: int = 0) -> Sequence[Chunk]:
        """Up to `size` chunks with text *and* a vector in the control, the same ones for the same seed and data."""
        ...

    def fetch(self, ids: Sequence[str]) -> dict[str, Chunk]:
        """The chunks of these ids; ids that aren't there are absent from the answer. Any number of ids."""
        ...


class Versions(Protocol):
    """Index versions beside the application's data.

    `search`, `vectors`, `differences` and `health` of v0 work before `adopt` too, with read access alone: `control_version`
    makes the handle. That is how `inspect` proves the model, and how a dataset is built without writing anything.
    """

    def versions(self) -> Sequence[IndexVersion]:
        """Every registered version by number, retired and cancelled ones too. Empty before `adopt`. Reads only."""
        ...

    def adopt(self, model: ModelVersion, *, actor: str = "") -> IndexVersion:
        """Register the application's own vectors as v0, active, at epoch 1. Idempotent. `actor` is for the audit, here and below.

        Raises `Conflict` when v0 is registered under another fingerprint; `WrongSpace` when the dimension differs.
        """
        ...

    def create_version(
        self,
        model: ModelVersion,
        *,
        ann: AnnParameters | None = None,
        element: Element | None = None,
        shares: str = "",
        actor: str = "",
    ) -> IndexVersion:
        """Register the next number and make its storage, empty, state PLANNED. Metric and defaults are the control's.

        With `shares`, `v0` or `docs@v0`, no storage is made: the version searches that one's vectors, and its location, metric, element and
        index are that one's; `ann` and `element` are not given then. `vecmigrate.sharing` says what is refused, and how. Such a version is
        written to by nobody: `load` and `remove` raise `PreflightRefused`, and what is done to the other version is seen in it at once.
        """
        ...

    def advance(self, version: IndexVersion, to: State, *, actor: str, note: str = "") -> IndexVersion:
        """Compare-and-set of the state, from `version.state`, with its audit event.

        Raises `Conflict` when the stored state is another, or the transition table lacks the step. Never to or from ACTIVE:
        that is `activate`'s. Raises `PreflightRefused` for a version that is to go, or to fail, while another one shares its vectors.
        """
        ...

    def pending(self, version: IndexVersion, *, batch_size: int = 2048) -> Iterator[Sequence[Chunk]]:
        """The chunks that are missing from the version or whose text has changed since: what a build or a sync has to do.

        What was loaded before is never yielded again, which is what makes a killed build resume. Chunks carry what `load`
        of this store needs. Rows that change while it runs may be left for the next call.
        """
        ...

    def reusable(self, version: IndexVersion, chunks: Sequence[Chunk]) -> dict[str, NDArray[np.float32]]:
        """Of these chunks, the vectors that the version holds for exactly their texts: only what is copied beside a vector has changed,
        so nothing need be encoded. A store that copies nothing has none.
        """
        ...

    def load(self, version: IndexVersion, chunks: Sequence[Chunk], vectors: Vectors) -> Sequence[str]:
        """Write the vectors with their chunks' text hashes; idempotent: an id that is there is replaced. All or nothing per call
        where the store has transactions. Raises `WrongSpace` for another dimension, `DataError` for NaN, infinite or zero vectors.

        Returns the ids whose row in the source became another while they were encoded and written, where the store looks: somebody
        else may have brought in the newer text before, so the caller brings these in again. Others are `pending` as before.
        """
        ...

    def remove(self, version: IndexVersion, ids: Sequence[str]) -> Sequence[str]:
        """Delete these ids from the version; ids that aren't there are ignored. Refused (`PreflightRefused`) for v0.

        Returns the ids that the source has again meanwhile, as `load` does.
        """
        ...

    def build_index(self, version: IndexVersion) -> None:
        """Make the ANN index and check that it is valid. Idempotent; an invalid left-over is rebuilt."""
        ...

    def differences(self, version: IndexVersion, *, sample: int = 20) -> Differences:
        """Compare the version with its source by key and text hash. Bounded memory; reads only."""
        ...

    def health(self, version: IndexVersion) -> Health:
        """Count unusable vectors and check the index. Reads only."""
        ...

    def vectors(self, version: IndexVersion, ids: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """The stored vectors of these ids, each of shape (dimension,). Absent ids are absent."""
        ...

    def search(
        self,
        version: IndexVersion,
        queries: Vectors,
        k: int,
        *,
        where: Filter | None = None,
        exact: bool = False,
    ) -> list[tuple[Hit, ...]]:
        """The `k` best chunks for each row of `queries`, pinned to this version, best first, ties by id.

        Returns fewer than `k` only when fewer pass the filter. Raises `VersionRetired` when the version has gone, or when its number
        is that of another model's version by now; `WrongSpace` when the dimension is another.
        """
        ...

    def drop(self, version: IndexVersion, *, actor: str = "") -> None:
        """Free the storage of a version that is RETIRED or CANCELLED. Idempotent. Never v0's, nor what it shares with another."""
        ...


class Pointing(Protocol):
    """Which version serves."""

    def pointer(self) -> Pointer | None:
        """The serving pointer; None before `adopt`. Cheap: readers call it for every query."""
        ...

    def activate(self, version: int, *, expect_epoch: int, actor: str, reason: str = "") -> Pointer:
        """Make a READY or STANDBY version the active one and the active one STANDBY, atomically, epoch + 1, audited.

        Activating the version that is active already, at `expect_epoch` or one that was reached by this same change, does
        nothing and returns the pointer. Raises `StalePlan` when the epoch is another, `Conflict` when the state forbids it.
        """
        ...

    def record(self, kind: str, version: IndexVersion, *, actor: str, detail: Mapping[str, Any]) -> None:
        """Add to the audit what no other call writes down, such as rows that a sync removed. `detail` is plain data."""
        ...

    def history(self) -> Sequence[AuditEvent]:
        """Everything that happened to the collection, oldest first."""
        ...

    def operation(self, what: str, *, actor: str) -> AbstractContextManager[None]:
        """Hold the collection for one operator; a dead holder is never in the way. Raises `Conflict` naming the holder."""
        ...


def control_version(store: Store, model: ModelVersion) -> IndexVersion:
    """v0 as registered, or before `adopt` a handle to the application's own vectors under `model`. Writes nothing."""
    registered = [v for v in store.versions() if v.number == 0]
    if registered:
        return registered[0]
    found = store.inspect()
    return IndexVersion(store.collection, 0, model, found.metric, State.ACTIVE, element=found.element, ann=found.ann)


@runtime_checkable
class Store(Source, Versions, Pointing, Protocol):
    """One collection of one vector database, with its versions and pointer."""

    def close(self) -> None:
        """Give connections and locks back. Idempotent."""
        ...


@runtime_checkable
class RowSource(Protocol):
    """A store that can also read a query log."""

    def read_rows(self, relation: str, *, batch_size: int = 1000) -> Iterator[Mapping[str, Any]]:
        """The rows of a table (`public.search_log`) or of a SELECT, as mappings by column name. Read-only transaction."""
        ...


class Adapter(Protocol):
    """What an entry point of group `vecmigrate.adapters` names."""

    name: str

    def open(self, settings: Mapping[str, Any], *, collection: str) -> Store:
        """Connect. `settings` is the `[store]` table of vecmigrate.toml without `adapter` and `collection`.

        Raises `UsageError` for settings it can't read, `StoreUnavailable`, `AccessDenied`, `NotFound`, `PreflightRefused`.
        """
        ...
