"""Reading for the stand-in: vectors and nearness from the version that serves, everything else from the application's own rows.

query ─► version that serves ─► its model ─► its collection: ids, distances ─► the source: filters once more, documents, metadata
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecmigrate.errors import UsageError, VersionRetired, WrongSpace
from vecmigrate.live import Serving
from vecmigrate.records import PinnedVector
from vecmigrate.store import Vectors
from vecmigrate.versions import IndexVersion
from vecmigrate_chroma.inside import Inside
from vecmigrate_chroma.rows import Rows, slices

ATTEMPTS = 3
OF_SOURCE = ("documents", "metadatas", "uris")


class VersionedResult(dict[str, Any]):
    """What Chroma returns, a mapping, and from where it came: `version` is `docs@v2`, `pointer_age` as in `vecmigrate.live.Serving`."""

    def __init__(self, content: Mapping[str, Any], serving: Serving) -> None:
        super().__init__(content)
        self.version = serving.version.name
        self.fingerprint = serving.version.model.fingerprint
        self.epoch = serving.pointer.epoch
        self.pointer_age = serving.age


class Reading:
    """`query`, `get`, `peek` and `count`, as the stand-in offers them."""

    def __init__(self, inside: Inside) -> None:
        self._inside = inside

    def count(self) -> int:
        """Rows of the application's collection."""
        return self._inside.source.open().count()

    def get(self, arguments: Mapping[str, Any], include: Sequence[str]) -> VersionedResult:
        """Rows of the source; their embeddings are the serving version's."""
        serving = self._inside.live.serving()
        own = [name for name in include if name != "embeddings"] if serving.version.number else list(include)
        rows = self._inside.source.open()
        found = self._all(rows, arguments, own)
        result = VersionedResult({**found, "included": list(include)}, serving)
        if "embeddings" in include and serving.version.number:
            result["embeddings"] = self._vectors(serving.version, found["ids"])
        return result

    def query(
        self,
        queries: Sequence[str] | Sequence[Sequence[float]],
        fingerprint: str | None,
        arguments: Mapping[str, Any],
        include: Sequence[str],
    ) -> VersionedResult:
        """Answers of one version, whatever is flipped meanwhile. `queries` are texts, or vectors that say whose they are."""
        for attempt in range(1, ATTEMPTS + 1):
            serving, vectors = self._in_one_space(queries, fingerprint, fresh=attempt > 1)
            try:
                found = self._search(serving.version, vectors, arguments, include)
            except VersionRetired:
                if attempt == ATTEMPTS:
                    raise
                continue
            return VersionedResult({**found, "included": list(include)}, serving)
        raise AssertionError("unreachable: the last attempt returns or raises")

    # Which version, and vectors in its space.

    def _in_one_space(
        self, queries: Sequence[str] | Sequence[Sequence[float]], fingerprint: str | None, *, fresh: bool
    ) -> tuple[Serving, Vectors]:
        serving = self._inside.live.serving(fresh=fresh)
        if all(isinstance(query, str) for query in queries):
            return serving, self._inside.live.encode_queries(serving.version, [str(query) for query in queries])
        pinned = [query for query in queries if isinstance(query, PinnedVector)]
        if len(pinned) == len(queries) and len({(query.version, query.fingerprint) for query in pinned}) == 1:
            return self._as_pinned(pinned, serving, fresh=fresh)
        if fingerprint is None:
            raise WrongSpace(
                "query_embeddings that don't say which model made them: after a cutover they would be compared with another model's",
                hint="give query_texts, or vectors from embed_query(), or the fingerprint of the model that made them",
            )
        if fingerprint != serving.version.model.fingerprint:
            raise WrongSpace(
                f"the queries are of model {fingerprint[:12]}, {serving.version.name} serves with {serving.version.model.fingerprint[:12]}",
                hint="encode them with the model that serves: embed_query(), or give query_texts",
            )
        return serving, np.asarray(queries, dtype=np.float32)

    def _as_pinned(self, queries: Sequence[PinnedVector], serving: Serving, *, fresh: bool) -> tuple[Serving, Vectors]:
        """In the version that the vectors are for, though another serves by now; of a version that has gone, the texts are encoded anew."""
        first = queries[0]
        known = [serving.version] if serving.version.name == first.version else self._inside.versions()
        for version in known:
            if not fresh and version.name == first.version and version.model.fingerprint == first.fingerprint:
                return Serving(serving.pointer, version, serving.age), np.asarray(queries, dtype=np.float32)
        return serving, self._inside.live.encode_queries(serving.version, [query.text for query in queries])

    # Search.

    def _search(self, version: IndexVersion, queries: Vectors, arguments: Mapping[str, Any], include: Sequence[str]) -> dict[str, Any]:
        with self._inside.rows_of(version) as rows:
            if not version.number:
                return self._ask(rows, queries, {**arguments, "include": list(include)})
            found, kept, passing = self._nearest(rows, queries, arguments, include)
        return self._assembled(version, found, kept, passing, include)

    def _nearest(
        self, rows: Rows, queries: Vectors, arguments: Mapping[str, Any], include: Sequence[str]
    ) -> tuple[dict[str, Any], list[list[int]], dict[str, dict[str, Any]]]:
        """What the version finds, the places in it of what passes, and the source's rows of those. Where rows of the version pass no
        more, or have gone from the source, it is asked for more.
        """
        wanted = int(arguments["n_results"])
        more = wanted
        while True:
            found = self._ask(rows, queries, {**arguments, "n_results": more, "include": ["distances"]})
            passing = self._passing([id for ids in found["ids"] for id in ids], arguments, [name for name in include if name in OF_SOURCE])
            kept = [[place for place, id in enumerate(ids) if id in passing][:wanted] for ids in found["ids"]]
            short = any(len(places) < wanted and len(ids) == more for places, ids in zip(kept, found["ids"], strict=True))
            if not short:
                return found, kept, passing
            more *= 2

    def _ask(self, rows: Rows, queries: Vectors, arguments: Mapping[str, Any]) -> dict[str, Any]:
        return dict(
            self._inside.driver.native(f"searching {rows.name!r}", lambda: rows.handle.query(query_embeddings=queries, **arguments))
        )

    def _passing(self, ids: Sequence[str], arguments: Mapping[str, Any], include: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The source's rows of these ids that pass the filters as they are now: id → document, metadata, uri as asked for."""
        filters = {name: arguments.get(name) for name in ("where", "where_document")}
        source, passing = self._inside.source.open(), {}
        for part in slices(list(dict.fromkeys(ids)), self._inside.driver.batch_size):
            found = self._get(source, {**filters, "ids": list(part)}, include)
            for place, id in enumerate(found["ids"]):
                passing[id] = {name: found[name][place] for name in include}
        return passing

    def _assembled(
        self,
        version: IndexVersion,
        found: Mapping[str, Any],
        kept: Sequence[Sequence[int]],
        passing: Mapping[str, Mapping[str, Any]],
        include: Sequence[str],
    ) -> dict[str, Any]:
        ids = [[of_query[place] for place in places] for of_query, places in zip(found["ids"], kept, strict=True)]
        result: dict[str, Any] = {"ids": ids, **dict.fromkeys(("embeddings", "documents", "uris", "data", "metadatas", "distances"))}
        for name in include:
            if name in OF_SOURCE:
                result[name] = [[passing[id][name] for id in of_query] for of_query in ids]
        if "distances" in include:
            result["distances"] = [[d[place] for place in places] for d, places in zip(found["distances"], kept, strict=True)]
        if "embeddings" in include:
            result["embeddings"] = [self._vectors(version, of_query) for of_query in ids]
        return result

    # Rows.

    def _vectors(self, version: IndexVersion, ids: Sequence[str]) -> NDArray[np.float32]:
        """Shape (len(ids), dimension). Of a row that the version lacks, its text encoded; NaN where it has no text."""
        with self._inside.rows_of(version) as rows:
            stored = rows.vectors(ids)
        lacking = [id for id in ids if id not in stored]
        chunks = [c for c in self._inside.source.chunks(self._inside.source.open(), lacking) if c.text.strip()] if lacking else []
        if chunks:
            encoded = self._inside.live.encode_documents(version, [chunk.text for chunk in chunks])
            stored |= dict(zip((chunk.id for chunk in chunks), encoded, strict=True))
        none = np.full(version.model.dimension, np.nan, dtype=np.float32)
        return np.stack([stored.get(id, none) for id in ids]) if ids else np.empty((0, version.model.dimension), dtype=np.float32)

    def _all(self, rows: Rows, arguments: Mapping[str, Any], include: Sequence[str]) -> dict[str, Any]:
        """As Chroma's `get`, and of any number of rows: above 32,766 it has too many variables for its database."""
        most = self._inside.driver.batch_size
        given = arguments.get("ids")
        if (
            (given is not None and len(given) <= most)
            or (arguments.get("limit") is not None and int(arguments["limit"]) <= most)
            or not include
        ):
            return self._get(rows, arguments, include)
        ids = self._get(rows, arguments, [])["ids"] if given is None or len(given) <= most else self._among(rows, arguments, given)
        parts = [self._get(rows, {"ids": list(part)}, include) for part in slices(ids, most)]
        if not parts:
            return (
                self._get(rows, {**arguments, "limit": 1}, include)
                if given is None
                else self._get(rows, {"ids": [given[0]], "limit": 0}, include)
            )
        return _joined(parts, ids)

    def _among(self, rows: Rows, arguments: Mapping[str, Any], ids: Sequence[str]) -> list[str]:
        """Of more ids than one request takes, those that pass."""
        filters = {name: arguments.get(name) for name in ("where", "where_document")}
        found = [
            id for part in slices(ids, self._inside.driver.batch_size) for id in self._get(rows, {**filters, "ids": list(part)}, [])["ids"]
        ]
        start = int(arguments.get("offset") or 0)
        limit = arguments.get("limit")
        return found[start:] if limit is None else found[start : start + int(limit)]

    def _get(self, rows: Rows, arguments: Mapping[str, Any], include: Sequence[str]) -> dict[str, Any]:
        found = self._inside.driver.native(f"reading {rows.name!r}", lambda: rows.handle.get(**arguments, include=list(include)))
        return dict(found)


def _joined(parts: Sequence[Mapping[str, Any]], ids: Sequence[str]) -> dict[str, Any]:
    """Several answers of `get` as one, in the order of `ids`."""
    joined: dict[str, Any] = dict(parts[0])
    order = {id: place for place, id in enumerate(ids)}
    found = [id for part in parts for id in part["ids"]]
    by_place = sorted(range(len(found)), key=lambda place: order[found[place]])
    joined["ids"] = [found[place] for place in by_place]
    for name in ("documents", "metadatas", "uris", "embeddings"):
        if parts[0].get(name) is None:
            continue
        column = [value for part in parts for value in part[name]]
        ordered = [column[place] for place in by_place]
        joined[name] = np.stack(ordered) if name == "embeddings" else ordered
    return joined


def one_of(texts: Any, vectors: Any) -> list[Any]:
    """The queries, texts or vectors, as a list. Raises `UsageError` for both or neither."""
    if (texts is None) == (vectors is None):
        raise UsageError("give either query_texts or query_embeddings", hint="query_texts are encoded by the model that serves")
    if texts is not None:
        return [texts] if isinstance(texts, str) else list(texts)
    single = len(vectors) > 0 and np.isscalar(vectors[0])
    return [vectors] if single else list(vectors)
