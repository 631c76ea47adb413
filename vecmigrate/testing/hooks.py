"""What an adapter supplies to the conformance suite, and the small corpus and steps that its rules share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from vecmigrate.store import Store
from vecmigrate.testing.encoders import HashingEncoder
from vecmigrate.testing.memory import SourceRow
from vecmigrate.versions import IndexVersion, Metric, ModelVersion, State

DIMENSION = 16
CONTROL = HashingEncoder(DIMENSION, "control")
CANDIDATE = HashingEncoder(DIMENSION, "candidate")
WIDER = HashingEncoder(24, "wider")

TEXTS = {
    "list.sort": "sort a list in place",
    "sorted": "return a sorted list from any iterable",
    "os.walk": "walk a directory tree and list its files",
    "json.loads": "parse a JSON document from text",
    "re.sub": "replace what a pattern matches in text",
    "time.sleep": "suspend the calling thread for some seconds",
    "shutil.rmtree": "delete a directory tree",
}


def row(id: str, text: str | None, vector: Sequence[float] | None = None, **metadata: str | int | float | bool) -> SourceRow:
    """A row; without `vector`, it gets the one that `CONTROL` gives its text (of a blank text, that of its id)."""
    kept = np.array(vector, dtype=np.float32) if vector is not None else CONTROL.encode_documents([text or id])[0]
    return SourceRow(id, text, kept, metadata)


def corpus() -> list[SourceRow]:
    """`TEXTS` as rows."""
    return [row(id, text) for id, text in TEXTS.items()]


def rows_of(texts: Mapping[str, str | None]) -> list[SourceRow]:
    """Id → text as rows with the control's vectors."""
    return [row(id, text) for id, text in texts.items()]


def random_rows(n: int, dimension: int) -> list[SourceRow]:
    """`n` rows `id00000` … with random vectors, the same ones each time, and their number as metadata field `number`."""
    vectors = np.random.default_rng(7).normal(size=(n, dimension)).astype(np.float32)
    return [SourceRow(f"id{i:05}", f"text number {i}", vectors[i], {"number": i}) for i in range(n)]


def plane(**vectors: tuple[float, float]) -> list[SourceRow]:
    """Rows in two dimensions, each named and worded by its keyword."""
    return [row(name, f"text of {name}", vector) for name, vector in vectors.items()]


def model_of(dimension: int, salt: str = "control") -> ModelVersion:
    """The model version of a hashing encoder."""
    return HashingEncoder(dimension, salt).model


def fill(store: Store, version: IndexVersion, encoder: HashingEncoder, *, batch_size: int = 3) -> list[str]:
    """Load everything that is pending; the ids in the order they came."""
    done: list[str] = []
    for chunks in store.pending(version, batch_size=batch_size):
        store.load(version, chunks, encoder.encode_documents([chunk.text for chunk in chunks]))
        done += [chunk.id for chunk in chunks]
    return done


def begin(store: Store, encoder: HashingEncoder = CANDIDATE) -> IndexVersion:
    """A new version in BACKFILLING."""
    return store.advance(store.create_version(encoder.model), State.BACKFILLING, actor="builder")


def finish(store: Store, version: IndexVersion) -> IndexVersion:
    """From BACKFILLING to READY, with the index built."""
    version = store.advance(version, State.INDEXING, actor="builder")
    store.build_index(version)
    version = store.advance(version, State.CATCHING_UP, actor="builder")
    return store.advance(version, State.READY, actor="builder")


def build(store: Store, encoder: HashingEncoder = CANDIDATE) -> IndexVersion:
    """A complete version, READY."""
    version = begin(store, encoder)
    fill(store, version, encoder)
    return finish(store, version)


def stored(store: Store, version: IndexVersion) -> IndexVersion:
    """The version as the store has it now."""
    return next(v for v in store.versions() if v.number == version.number)


def ids_found(
    store: Store, version: IndexVersion, vector: Sequence[float] | NDArray[np.float32], k: int, *, exact: bool = False
) -> list[str]:
    """The ids that one query finds, best first."""
    queries = np.array([vector], dtype=np.float32)
    return [hit.chunk_id for hit in store.search(version, queries, k, exact=exact)[0]]


class Hooks(ABC):
    """What an adapter supplies. A subclass may use fixtures (autouse, on itself) for what these need."""

    rows_may_lack_vectors: ClassVar[bool] = True
    """Whether the application's rows can be without a vector. Chroma's can't."""

    @abstractmethod
    def make_collection(self, rows: Sequence[SourceRow], *, metric: Metric, dimension: int) -> Store:
        """A fresh collection that holds `rows` as an application would have put them, opened, nothing adopted.

        The metadata fields of all rows are text, integer, float or boolean, one type per field; some rows lack some fields.
        """

    @abstractmethod
    def another_handle(self, store: Store) -> Store:
        """A second handle on the same collection, as another operator would open it."""

    @abstractmethod
    def put(self, store: Store, row: SourceRow) -> None:
        """Insert or replace a row as the application would, behind the store's back."""

    @abstractmethod
    def delete(self, store: Store, id: str) -> None:
        """Delete a row as the application would."""

    @pytest.fixture(autouse=True)
    def _close_what_was_opened(self) -> Iterator[None]:
        self._opened: list[Store] = []
        yield
        for store in reversed(self._opened):
            store.close()

    def open(self, rows: Sequence[SourceRow], *, metric: Metric = Metric.COSINE, dimension: int = DIMENSION) -> Store:
        """`make_collection`, closed after the test."""
        store = self.make_collection(rows, metric=metric, dimension=dimension)
        self._opened.append(store)
        return store

    def open_adopted(self, rows: Sequence[SourceRow], *, metric: Metric = Metric.COSINE, dimension: int = DIMENSION) -> Store:
        """`open`, with v0 adopted."""
        store = self.open(rows, metric=metric, dimension=dimension)
        store.adopt(model_of(dimension))
        return store

    def open_again(self, store: Store) -> Store:
        """`another_handle`, closed after the test."""
        other = self.another_handle(store)
        self._opened.append(other)
        return other
