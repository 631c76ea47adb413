"""What a Chroma collection says about itself, and what one pass over its rows adds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vecmigrate.store import Inspection
from vecmigrate.versions import AnnParameters, Element, Metric
from vecmigrate_chroma.disk import kept_disk
from vecmigrate_chroma.driver import Driver
from vecmigrate_chroma.rows import Rows, Source

SPACES: Mapping[str, Metric] = {"cosine": Metric.COSINE, "ip": Metric.INNER_PRODUCT, "l2": Metric.L2}
SPACE_OF: Mapping[Metric, str] = {metric: space for space, metric in SPACES.items()}


@dataclass(frozen=True, slots=True)
class Shape:
    """A collection's configuration: how it compares, its graph, its dimension once it has rows."""

    metric: Metric
    ann: AnnParameters
    ef_search: int
    dimension: int | None
    embedding_function: str

    @classmethod
    def of(cls, rows: Rows) -> Shape:
        """Read from the handle; nothing is asked. Chroma's own default is the Euclidean distance."""
        model = rows.handle.get_model()
        configuration = model.configuration_json or {}
        index = configuration.get("hnsw") or configuration.get("spann") or {}
        function = configuration.get("embedding_function") or {}
        return cls(
            metric=SPACES[index.get("space", "l2")],
            ann=AnnParameters("hnsw", int(index.get("max_neighbors", 16)), int(index.get("ef_construction", 100))),
            ef_search=int(index.get("ef_search", 100)),
            dimension=model.dimension,
            embedding_function=str(function.get("name", "")),
        )


@dataclass(slots=True)
class _Seen:
    rows: int = 0
    blank: int = 0
    fields: dict[str, str] = field(default_factory=dict)

    def add(self, text: str, metadata: Mapping[str, Any] | None) -> None:
        self.rows += 1
        self.blank += not text.strip()
        for key, value in (metadata or {}).items():
            self.fields.setdefault(key, type(value).__name__)


def inspect(driver: Driver, source: Source, collection: str) -> Inspection:
    """One pass over documents and metadata, by id."""
    rows = source.open()
    shape, seen = Shape.of(rows), _Seen()
    for part in rows.records(rows.ids(), "documents", "metadatas"):
        for document, metadata in part.values():
            seen.add(source.text_of(document, metadata), metadata)
    return Inspection(
        adapter="chroma",
        location=f"{driver.place} collection {source.name!r}",
        server=f"Chroma {'server' if driver.server else 'directory'}, version {driver.version}",
        collection=collection,
        rows=seen.rows,
        rows_without_text=seen.blank,
        rows_without_vector=0,
        dimensions={shape.dimension: seen.rows} if shape.dimension and seen.rows else {},
        metric=shape.metric,
        element=Element.FLOAT32,
        ann=shape.ann,
        key="id",
        text="document" if source.text_key is None else f"metadata field {source.text_key!r}",
        filter_fields=dict(sorted(seen.fields.items())),
        details=_details(driver, shape),
        warnings=_warnings(driver, source, shape, seen),
    )


def _details(driver: Driver, shape: Shape) -> tuple[tuple[str, str], ...]:
    return (
        ("embedding function on record", shape.embedding_function or "none"),
        ("ef_search", str(shape.ef_search)),
        ("disk", kept_disk(None if driver.server else Path(driver.place))),
        ("changes", "Chroma reports none: rows that are written elsewhere are found by comparing ids and hashes, when a sync runs"),
    )


def _warnings(driver: Driver, source: Source, shape: Shape, seen: _Seen) -> tuple[str, ...]:
    found = []
    if not seen.rows:
        found.append(f"collection {source.name!r} is empty, so its dimension is not known")
    elif seen.blank == seen.rows:
        found.append("no row has a text: there is nothing to embed; name the metadata field that holds it in text_key")
    elif seen.blank:
        found.append(f"{seen.blank} of {seen.rows} rows have no text and are passed over")
    if not driver.server:
        found.append("a persistent directory is one process's: stop every other one that has it open before anything is written")
    return tuple(found)
