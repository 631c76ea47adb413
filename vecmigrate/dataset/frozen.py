"""A frozen dataset, as training and comparison read it. Nothing in it changes; a file that was touched is refused."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from vecmigrate.dataset import storage
from vecmigrate.dataset.pairs import DevSet, GradedPair, TrainingPair
from vecmigrate.dataset.splitting import Split
from vecmigrate.errors import DataError
from vecmigrate.records import Judgment, Query
from vecmigrate.versions import fingerprint_of

CHUNKS, QUERIES, JUDGMENTS, PAIRS, CANDIDATES, POOL = (
    f"{name}.parquet" for name in ("chunks", "queries", "judgments", "pairs", "candidates", "pool")
)
COLUMNS: Mapping[str, storage.Columns] = {
    CHUNKS: {"id": "string", "text": "string", "text_hash": "string", "document": "string"},
    QUERIES: {"id": "string", "text": "string", "group": "string", "split": "string", "at": "utc", "slices": "[string]"},
    JUDGMENTS: {"query_id": "string", "chunk_id": "string", "grade": "double", "weight": "double"},
    PAIRS: {"query_id": "string", "chunk_id": "string", "negatives": "[string]", "weight": "double", "grade": "double"},
    CANDIDATES: {"query_id": "string", "control": "[string]", "passed_over": "[string]"},
    POOL: {"kind": "string", "id": "string"},
}
FORMAT = 2
"""Since 2 chunks name their document, pairs have a grade, and candidates are kept."""
READABLE = (1, FORMAT)
SHORT = 16
"""Digits of the hash that name the folder."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """One dataset on disk. `parts` are the digests and settings that its `hash` is made of; `files` the SHA-256 of each file.

    Each file is checked the first time it is read; every reading method raises `DataError` when one is not what was frozen.
    """

    folder: Path
    hash: str
    collection: str
    control_fingerprint: str
    created_at: datetime
    counts: Mapping[str, int]
    report: tuple[str, ...]
    parts: Mapping[str, Any]
    files: Mapping[str, str]
    _checked: set[str] = field(default_factory=set, repr=False, compare=False)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Open the dataset in this folder. Raises `DataError` when there is none, or its manifest was changed."""
        manifest = storage.read_manifest(folder)
        if _is_foreign(manifest):
            known = " and ".join(str(number) for number in READABLE)
            raise DataError(
                f"{folder} is a dataset of another format, {manifest['parts'].get('format')!r}; this version reads {known}",
                hint="vecmigrate dataset build makes one of this version's",
            )
        try:
            loaded = cls(
                folder=folder,
                hash=manifest["hash"],
                collection=manifest["parts"]["collection"],
                control_fingerprint=manifest["parts"]["control"],
                created_at=datetime.fromisoformat(manifest["created_at"]),
                counts=manifest["counts"],
                report=tuple(manifest["report"]),
                parts=manifest["parts"],
                files=manifest["files"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise storage.damaged(folder / storage.MANIFEST, f"{type(error).__name__} {error}") from None
        if loaded.hash != fingerprint_of(loaded.parts):
            raise storage.damaged(folder / storage.MANIFEST, "its hash is another")
        return loaded

    @property
    def name(self) -> str:
        """What people call it: the first digits of the hash."""
        return self.hash[:SHORT]

    @property
    def chunk_ids(self) -> tuple[str, ...]:
        """The ids of every chunk in the snapshot, sorted."""
        return tuple(sorted(row["id"] for row in self._rows(CHUNKS, ["id"])))

    @property
    def trained_chunks(self) -> frozenset[str]:
        """The chunks that some training pair names as relevant: gains on queries for others are the harder ones."""
        return frozenset(row["chunk_id"] for row in self._rows(PAIRS, ["chunk_id"]))

    def queries(self, split: Split | str) -> tuple[Query, ...]:
        """The queries of one split, by id."""
        wanted = Split(split)
        return tuple(_query(row) for row in self._rows(QUERIES) if row["split"] == wanted)

    def judgments(self, split: Split | str) -> tuple[Judgment, ...]:
        """The judgments on the queries of one split, by query and chunk."""
        ids = {query.id for query in self.queries(split)}
        return tuple(Judgment(**row) for row in self._rows(JUDGMENTS) if row["query_id"] in ids)

    def text(self, ids: Iterable[str]) -> dict[str, str]:
        """The texts of these chunks as they were when frozen; ids that aren't in the snapshot are absent."""
        return storage.read_texts(self._file(CHUNKS), frozenset(ids))

    def outlines(self) -> Iterator[Mapping[str, Any]]:
        """Each chunk's `id`, `text_hash` and `document` (`""` for none, and in datasets of format 1), in memory of one batch."""
        if self._old:
            yield from ({**row, "document": ""} for row in self._rows(CHUNKS, ["id", "text_hash"]))
        else:
            yield from self._rows(CHUNKS, ["id", "text_hash", "document"])

    def candidates(self) -> dict[str, tuple[str, ...]]:
        """What mining looked at for each training query, in the control's order. Empty in datasets of format 1."""
        return {} if self._old else {row["query_id"]: tuple(row["control"]) for row in self._rows(CANDIDATES)}

    def passed_over(self) -> dict[str, frozenset[str]]:
        """What users of each training query were shown above what they chose, and did not choose. Empty in datasets of format 1."""
        rows = () if self._old else self._rows(CANDIDATES)
        return {row["query_id"]: frozenset(row["passed_over"]) for row in rows if row["passed_over"]}

    def graded_pairs(self) -> tuple[GradedPair, ...]:
        """Every judgment on a training query, with texts, by query and chunk: grade 0, said by people, too."""
        judgments = self.judgments(Split.TRAIN)
        texts = self.text({judgment.chunk_id for judgment in judgments})
        asked = {query.id: query.text for query in self.queries(Split.TRAIN)}
        return tuple(GradedPair(j.query_id, j.chunk_id, asked[j.query_id], texts[j.chunk_id], j.grade, j.weight) for j in judgments)

    def training_pairs(self) -> tuple[TrainingPair, ...]:
        """The pairs of the training split, with texts, by query and chunk."""
        rows = self._graded_rows()
        texts = self.text({id for row in rows for id in (row["chunk_id"], *row["negatives"])})
        asked = {query.id: query.text for query in self.queries(Split.TRAIN)}
        return tuple(
            TrainingPair(
                query_id=row["query_id"],
                chunk_id=row["chunk_id"],
                query=asked[row["query_id"]],
                positive=texts[row["chunk_id"]],
                negatives=tuple(texts[id] for id in row["negatives"]),
                weight=row["weight"],
                grade=row["grade"],
            )
            for row in rows
        )

    def _graded_rows(self) -> list[dict[str, Any]]:
        """The pairs' rows; format 1 has the grades only among the judgments."""
        rows = list(self._rows(PAIRS))
        if self._old:
            grades = {(j.query_id, j.chunk_id): j.grade for j in self.judgments(Split.TRAIN)}
            rows = [{**row, "grade": grades[row["query_id"], row["chunk_id"]]} for row in rows]
        return rows

    @property
    def _old(self) -> bool:
        return bool(self.parts["format"] == READABLE[0])

    def dev_set(self) -> DevSet:
        """The dev queries that training stops by (a sample where there are many), with their judgments and pool."""
        rows = list(self._rows(POOL))
        chosen = {row["id"] for row in rows if row["kind"] == "query"}
        return DevSet(
            queries=tuple(query for query in self.queries(Split.DEV) if query.id in chosen),
            judgments=tuple(judgment for judgment in self.judgments(Split.DEV) if judgment.query_id in chosen),
            pool=dict(sorted(self.text({row["id"] for row in rows if row["kind"] == "chunk"}).items())),
        )

    def verify(self) -> None:
        """Check every file now. Raises `DataError` naming the first that is not what was frozen."""
        for file in self.files:
            self._file(file)

    def _rows(self, file: str, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
        return storage.read_table(self._file(file), columns)

    def _file(self, name: str) -> Path:
        path = self.folder / name
        if name not in self._checked:
            try:
                digest = storage.file_digest(path)
            except OSError as error:
                raise storage.damaged(path, error.strerror or str(error)) from None
            if digest != self.files.get(name):
                raise storage.damaged(path, "its content has changed")
            self._checked.add(name)
        return path


def _query(row: Mapping[str, Any]) -> Query:
    return Query(row["id"], row["text"], row["group"], row["at"], tuple(row["slices"]))


def _is_foreign(manifest: Mapping[str, Any]) -> bool:
    """Whether another version of vecmigrate wrote it, which may have named everything otherwise."""
    parts = manifest.get("parts")
    return isinstance(parts, dict) and parts.get("format") not in READABLE


def _places(folder: Path) -> list[Path]:
    return sorted(manifest.parent for manifest in folder.glob(f"[!.]*/{storage.MANIFEST}"))


def list_datasets(folder: Path) -> tuple[Dataset, ...]:
    """Every dataset in the folder that this version reads, oldest first.

    Folders that hold none are passed over, and those of other formats, which `foreign_datasets` names. Raises `DataError` for a damaged
    manifest.
    """
    foreign = foreign_datasets(folder)
    found = [Dataset.load(place) for place in _places(folder) if place not in foreign]
    return tuple(sorted(found, key=lambda dataset: (dataset.created_at, dataset.hash)))


def foreign_datasets(folder: Path) -> tuple[Path, ...]:
    """The folders in `folder` with a dataset whose format this version does not read. Raises `DataError` for a damaged manifest."""
    return tuple(place for place in _places(folder) if _is_foreign(storage.read_manifest(place)))


def latest(folder: Path) -> Dataset:
    """The dataset built last of those that this version reads. Raises `DataError` when there is none."""
    found = list_datasets(folder)
    if not found:
        for place in foreign_datasets(folder):
            Dataset.load(place)  # raises, and says which format it has
        raise DataError(f"there is no dataset in {folder}", hint="vecmigrate dataset build")
    return found[-1]
