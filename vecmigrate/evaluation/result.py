"""What a comparison found, as frozen nouns that travel through JSON and files unchanged.

Comparison ── Side (control, candidate): version, fingerprint, latency, rows returned, Judged@k, recall of its ANN index
           ── MeasureResult: Paired figures of one measure            SliceResult: the main measure on a part of the queries
           ── ExactCheck: is it the model or the index?               Example: one query, both answers side by side
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from pydantic import TypeAdapter, ValidationError

from vecmigrate.errors import DataError, VecmigrateError
from vecmigrate.evaluation.statistics import Paired

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Timing:
    """Milliseconds per query, one query at a time, over `n` queries."""

    p50: float
    p95: float
    n: int


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two index versions. `returned` is the mean number of hits asked for `depth`; `short` counts the queries that got
    fewer than k. `ann_recall` is the share of the exact top k that its own index found, None where the store can't search exactly.
    """

    version: str
    label: str
    model: str
    fingerprint: str
    dimension: int
    search: Timing
    encode: Timing
    returned: float
    short: int
    judged: float
    ann_recall: float | None


@dataclass(frozen=True, slots=True)
class QueryCounts:
    """Where the queries went. `given` = `compared` + `blank` + `without_relevant` + `lost_relevant`.

    `lost_relevant`: all their relevant chunks have gone from the store. `with_missing` of the compared ones have lost some;
    `missing_chunks` counts the distinct judged chunks that have gone. `unknown` counts judgments for queries that were not given.
    """

    given: int
    compared: int
    blank: int
    without_relevant: int
    lost_relevant: int
    with_missing: int
    missing_chunks: int
    unknown: int


@dataclass(frozen=True, slots=True)
class MeasureResult:
    """One measure on all queries; `p_adjusted` is Holm's, over all measures of the comparison."""

    measure: str
    figures: Paired
    p_adjusted: float


@dataclass(frozen=True, slots=True)
class SliceResult:
    """The main measure on the queries of one slice. `kind` is "query" (the dataset's slices) or "document" (seen in training or not)."""

    name: str
    kind: str
    figures: Paired


@dataclass(frozen=True, slots=True)
class ExactCheck:
    """The main measure on a sample of queries, as served at depth k and by exact search: a loss that is there with exact search too
    is the model's, one that goes away with it is the index's. `measure` is the main one, cut at k.
    """

    measure: str
    n: int
    served: Paired
    exact: Paired


@dataclass(frozen=True, slots=True)
class QueryValue:
    """The main measure of one query, both sides."""

    query_id: str
    control: float
    candidate: float


@dataclass(frozen=True, slots=True)
class ShownChunk:
    """One line of an answer. `grade` is None where nobody has judged it; `text` is None where texts are not to be shown."""

    chunk_id: str
    text: str | None
    grade: float | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """A relevant chunk of an example, and its rank in each answer; None where it is not among the first k."""

    chunk: ShownChunk
    control_rank: int | None
    candidate_rank: int | None


@dataclass(frozen=True, slots=True)
class Example:
    """One query with both answers, the best hits first. `text` is None where texts are not to be shown."""

    query_id: str
    text: str | None
    control_value: float
    candidate_value: float
    control: tuple[ShownChunk, ...]
    candidate: tuple[ShownChunk, ...]
    wanted: tuple[Wanted, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Candidate against control, everything a verdict needs. `measures[0]` is the main one; `condensed` is that measure without
    unjudged hits. `per_query` is in the order of the queries. `id` begins with the time and ends with a digest of the rest.
    """

    id: str
    created_at: datetime
    collection: str
    control: Side
    candidate: Side
    dataset_hash: str
    epoch: int | None
    training_verdict: str
    k: int
    depth: int
    seed: int
    confidence: float
    resamples: int
    rows: int
    queries: QueryCounts
    measures: tuple[MeasureResult, ...]
    condensed: MeasureResult
    slices: tuple[SliceResult, ...]
    slices_left_out: int
    overlap: float
    exact: ExactCheck | None
    per_query: tuple[QueryValue, ...]
    wins: tuple[Example, ...]
    losses: tuple[Example, ...]
    warnings: tuple[str, ...]

    @property
    def main(self) -> MeasureResult:
        """The measure that the slices, the examples and the gate are about."""
        return self.measures[0]

    def sealed(self) -> Self:
        """The same with its `id`: the time, and the first 12 hex digits of SHA-256 over everything else."""
        content = json.dumps({**self.to_dict(), "id": ""}, sort_keys=True, ensure_ascii=True).encode()
        when = self.created_at.strftime("%Y%m%dT%H%M%S") + f"{self.created_at.microsecond // 1000:03d}Z"
        return replace(self, id=f"{when}-{hashlib.sha256(content).hexdigest()[:12]}")

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready mapping; `from_dict` gives an equal comparison back."""
        plain: dict[str, Any] = _ADAPTER.dump_python(self, mode="json")
        return {"format": FORMAT, **plain}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Comparison:
        """Read what `to_dict` wrote. Raises `DataError` for anything else, or when a figure was changed since."""
        if data.get("format") != FORMAT:
            raise DataError(f"this is no comparison of format {FORMAT}", hint="run `vecmigrate compare` again")
        try:
            found = _ADAPTER.validate_python({k: v for k, v in data.items() if k != "format"})
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            raise DataError(f"the comparison cannot be read: {place}: {first['msg']}", hint="run `vecmigrate compare` again") from None
        if found.sealed().id != found.id:
            raise DataError(f"comparison {found.id} was changed after it was made", hint="run `vecmigrate compare` again")
        return found

    def save(self, folder: Path) -> Path:
        """Write `<id>.json`, whole or not at all, readable by its owner alone (it may hold users' queries). Returns the file."""
        try:
            return _write_whole(folder, f"{self.id}.json", json.dumps(self.to_dict(), ensure_ascii=True, indent=1))
        except OSError as error:
            hint = "free space there, or set `workspace` in vecmigrate.toml"
            raise DataError(f"{folder} cannot be written: {error.strerror}", hint=hint) from error

    @classmethod
    def load(cls, file: Path) -> Comparison:
        """Read one file. Raises `DataError` naming it."""
        try:
            return cls.from_dict(json.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError, AttributeError) as error:
            raise DataError(f"{file} is no comparison: {error}", hint="delete it and run `vecmigrate compare` again") from error
        except VecmigrateError as error:
            raise DataError(f"{file}: {error.message}", hint=error.hint) from error

    @classmethod
    def latest(cls, folder: Path, *, fingerprint: str | None = None) -> Comparison | None:
        """The newest one in the folder whose candidate has this fingerprint; None where there is none.

        Raises `DataError` for a file that can't be read: passing over it might bring an older verdict back.
        """
        files = sorted(folder.glob("[0-9]*T*Z-*.json"), key=lambda file: file.name, reverse=True)
        return next((c for c in map(cls.load, files) if fingerprint in (None, c.candidate.fingerprint)), None)


_ADAPTER = TypeAdapter(Comparison)


def _write_whole(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=f".{name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        return Path(temporary).replace(folder / name)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
