"""Reading for the stand-in: vectors and nearness from the version that serves, everything else from the application's own rows.

query ─► version that serves ─► its model ─► its collection: ids, distances ─► the source: filters once more, documents, metadata
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecmigrate.errors import VersionRetired, WrongSpace
from vecmigrate.live import Serving
from vecmigrate.records import PinnedVector
from vecmigrate.store import Vectors
from vecmigrate.versions import IndexVersion
from vecmigrate_chroma.batch import one_vector
from vecmigrate_chroma.inside import Inside
from vecmigrate_chroma.rows import Rows, slices
from vecmigrate_chroma.search import distance_of

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
        own = [name for name in include if name != "embeddings"] if serving.version.holder else list(include)
        rows = self._inside.source.open()
        found = self._all(rows, arguments, own)
        result = VersionedResult({**found, "included": list(include)}, serving)
        if "embeddings" in include and serving.version.holder:
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
        if pinned:
            _refuse_several_spaces(pinned, len(queries), fingerprint)
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
            if not version.holder:
                return self._ask(rows, queries, {**arguments, "include": list(include)})
            ids, distances = self._nearest(version, rows, queries, arguments)
        return self._assembled(version, ids, distances, include)

    def _nearest(
        self, version: IndexVersion, rows: Rows, queries: Vectors, arguments: Mapping[str, Any]
    ) -> tuple[list[list[str]], list[list[float]]]:
        """Ids and distances of what the version finds and the source lets pass. Where fewer pass than were asked for, the version is asked
        for more; where its index does not find all that pass, they are compared one by one.
        """
        wanted = more = int(arguments["n_results"])
        narrowed = self._narrowed(rows, arguments)
        if narrowed is None:
            return [[] for _ in queries], [[] for _ in queries]
        while True:
            found = self._ask(rows, queries, {**narrowed, "n_results": more, "include": ["distances"]})
            passing = self._passing({id for ids in found["ids"] for id in ids}, arguments)
            kept = [[place for place, id in enumerate(ids) if id in passing][:wanted] for ids in found["ids"]]
            if all(len(places) == wanted or len(ids) < more for places, ids in zip(kept, found["ids"], strict=True)):
                break
            more *= 2
        ids = [[of_query[place] for place in places] for of_query, places in zip(found["ids"], kept, strict=True)]
        distances = [[d[place] for place in places] for d, places in zip(found["distances"], kept, strict=True)]
        self._complete(version, rows, queries, arguments, ids, distances)
        return ids, distances

    def _narrowed(self, rows: Rows, arguments: Mapping[str, Any]) -> dict[str, Any] | None:
        """The arguments with only such `ids` as the version has, because Chroma refuses others; None when it has none of them."""
        given = arguments.get("ids")
        if given is None:
            return dict(arguments)
        present = [id for part in slices(list(dict.fromkeys(given)), self._inside.driver.batch_size) for id in rows.present(part)]
        return {**arguments, "ids": present} if present else None

    def _complete(
        self,
        version: IndexVersion,
        rows: Rows,
        queries: Vectors,
        arguments: Mapping[str, Any],
        ids: list[list[str]],
        distances: list[list[float]],
    ) -> None:
        """A graph may have rows that no search reaches. In place: queries with too few hits get those that were not found."""
        wanted = int(arguments["n_results"])
        short = [place for place, found in enumerate(ids) if len(found) < wanted]
        if not short:
            return
        passing = self._passing_ids(arguments)
        if min(len(ids[place]) for place in short) >= len(passing):
            return
        exact = self._inside.search.exact_among(rows, version.metric, queries[short], wanted, passing)
        for place, hits in zip(short, exact, strict=True):
            ids[place] = [hit.chunk_id for hit in hits]
            distances[place] = [distance_of(hit.score, version.metric) for hit in hits]

    def _passing_ids(self, arguments: Mapping[str, Any]) -> list[str]:
        """All ids of the source that pass."""
        given, source = arguments.get("ids"), self._inside.source.open()
        if given is not None:
            return self._among(source, {**arguments, "offset": None, "limit": None}, list(dict.fromkeys(given)))
        filters = {name: arguments.get(name) for name in ("where", "where_document")}
        return list(self._get(source, filters, [])["ids"])

    def _ask(self, rows: Rows, queries: Vectors, arguments: Mapping[str, Any]) -> dict[str, Any]:
        return dict(
            self._inside.driver.native(f"searching {rows.name!r}", lambda: rows.handle.query(query_embeddings=queries, **arguments))
        )

    def _passing(self, ids: Collection[str], arguments: Mapping[str, Any]) -> set[str]:
        """Those of these ids whose rows in the source pass the filters as they are now."""
        filters = {name: arguments.get(name) for name in ("where", "where_document")}
        source = self._inside.source.open()
        parts = slices(sorted(ids), self._inside.driver.batch_size)
        return {id for part in parts for id in self._get(source, {**filters, "ids": list(part)}, [])["ids"]}

    def _assembled(
        self, version: IndexVersion, ids: Sequence[Sequence[str]], distances: Sequence[Sequence[float]], include: Sequence[str]
    ) -> dict[str, Any]:
        """With documents and metadata of the source's rows; one that has gone in this moment is left out."""
        wanted = [name for name in include if name in OF_SOURCE]
        source, rows = self._inside.source.open(), {}
        for part in slices(sorted({id for of_query in ids for id in of_query}), self._inside.driver.batch_size) if wanted else ():
            found = self._get(source, {"ids": list(part)}, wanted)
            rows.update({id: {name: found[name][place] for name in wanted} for place, id in enumerate(found["ids"])})
        kept = [[place for place, id in enumerate(of_query) if not wanted or id in rows] for of_query in ids]
        shown = [[of_query[place] for place in places] for of_query, places in zip(ids, kept, strict=True)]
        result: dict[str, Any] = {"ids": shown, **dict.fromkeys(("embeddings", "documents", "uris", "data", "metadatas", "distances"))}
        result |= {name: [[rows[id][name] for id in of_query] for of_query in shown] for name in wanted}
        if "distances" in include:
            result["distances"] = [[d[place] for place in places] for d, places in zip(distances, kept, strict=True)]
        if "embeddings" in include:
            result["embeddings"] = [self._vectors(version, of_query) for of_query in shown]
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
        filters = {name: arguments.get(name) for name in ("where", "where_document")}
        parts = [self._get(rows, {**filters, "ids": list(part)}, include) for part in slices(ids, most)]
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


def _refuse_several_spaces(pinned: Sequence[PinnedVector], queries: int, fingerprint: str | None) -> None:
    models = {query.fingerprint for query in pinned} | ({fingerprint} if fingerprint else set())
    if len(pinned) < queries or len(models) > 1 or len({query.version for query in pinned}) > 1:
        raise WrongSpace(
            "query_embeddings of several models or versions, or some that don't say whose they are, in one query",
            hint="one query for each, or give query_texts",
        )


def one_of(texts: Any, vectors: Any) -> list[Any]:
    """The queries, texts or vectors, as a list. Raises `ValueError` for both, neither, none, or a text that is none."""
    if (texts is None) == (vectors is None):
        raise ValueError("provide either query_texts or query_embeddings in query: query_texts are encoded by the model that serves")
    if texts is None:
        return [vectors] if one_vector(vectors) else list(vectors)
    listed = [texts] if isinstance(texts, str) else list(texts)
    if not listed or not all(isinstance(text, str) for text in listed):
        raise ValueError(f"Expected query_texts to be a non-empty list of str, got {texts!r}")
    return listed
