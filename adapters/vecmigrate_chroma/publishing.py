"""A version under the application's own name, by two renames, with the application's own collection kept aside.

    docs (the application's)      ─► vecmigrate.docs.kept
    vecmigrate.docs.published     ─► docs                      a copy of the version: same rows, its vectors, no hashes of ours

and back again:

    docs                          ─► vecmigrate.docs.withdrawn
    vecmigrate.docs.kept          ─► docs                      after what was written meanwhile was brought into it

Where it stands is read from which of the names are there, so a killed run is finished, or undone, by running either again. Between the
renames the name leads nowhere, and a client that creates what it does not find takes it: that is seen, and refused.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from vecmigrate.errors import Conflict, NotFound, PreflightRefused, VecmigrateError
from vecmigrate.publication import Encode, Published
from vecmigrate.store import Vectors
from vecmigrate.versions import IndexVersion
from vecmigrate_chroma.driver import Driver
from vecmigrate_chroma.inspecting import SPACE_OF, Shape
from vecmigrate_chroma.naming import kept_name, marked_published, published_name, published_version, withdrawn_name
from vecmigrate_chroma.rows import Rows, Source, made_in_the_gap, slices, spelled

MASS_DELETION = 0.2

Row = tuple[str | None, str]
"""A row's document, and its metadata `spelled`."""


class Publishing:
    """The renames of one collection, forth and back."""

    def __init__(self, driver: Driver, source: Source, collection: str) -> None:
        self._driver = driver
        self._source = source
        self._published = published_name(collection)
        self._withdrawn = withdrawn_name(collection)
        self._kept = kept_name(collection)

    def control(self) -> Rows:
        """The application's own vectors, wherever they are now. Raises `NotFound`."""
        shown = self._find(self._source.name)
        if shown is not None and published_version(shown.handle) is None:
            return shown
        return self._find(self._kept) or self._source.open()

    def version(self) -> int | None:
        """The version that has the application's name, or was on its way there when a run was killed."""
        names = (self._source.name, *((self._published, self._withdrawn) if self._has_moved() else ()))
        shown = next((found for name in names if (found := self._find(name)) is not None), None)
        if shown is not None and len(names) > 1:
            self._refuse_stranger(shown)
        return published_version(shown.handle) if shown is not None else None

    def behind(self) -> tuple[list[str], list[str]]:
        """Of the application's own collection, while it is aside: ids that it lacks or has otherwise, and ids that are gone."""
        return _differing(self._opened(self._kept), self._source.open())

    def publish(self, version: IndexVersion, stored: Rows) -> Published:
        """Copy, compare, rename; see `vecmigrate.publication.Publishes.publish`."""
        if self._has_moved():
            return self._finish(version)
        source = self._source.open()
        brought, removed = self._copy(version, stored, source)
        self._refuse_difference(source)
        gap = self._swap(version)
        own, shown = self._opened(self._kept), self._source.open()
        late = _differing(own, shown)
        if any(late):
            self._swap_back()
            raise PreflightRefused(
                f"{sum(map(len, late))} rows were written while the names changed, such as {[*late[0], *late[1]][0]!r}: all is as before",
                hint="stop every application that writes to it, then run the command again",
            )
        return Published(shown.count(), gap, brought, removed)

    def unpublish(self, encode: Encode, *, allow_mass_deletion: bool) -> Published:
        """Bring the application's own collection up to date, then rename back; see `vecmigrate.publication.Publishes.unpublish`."""
        if not self._has_moved():
            self._tidy()
            return Published(self._source.open().count(), 0.0, changed=False)
        own, shown = self._opened(self._kept), self._find(self._source.name) or self._between_names()
        self._refuse_stranger(shown)
        brought, removed = self._bring_back(own, shown, encode, allow_mass_deletion)
        gap = self._swap_back()
        self._tidy()
        return Published(self._source.open().count(), gap, brought, removed)

    # Where it stands.

    def _has_moved(self) -> bool:
        return self._find(self._kept) is not None

    def _finish(self, version: IndexVersion) -> Published:
        """The application's collection is aside: published already, or killed in the gap."""
        shown, start = self._find(self._source.name), time.perf_counter()
        if shown is not None:
            self._refuse_stranger(shown)
            self._refuse_another(shown, version)
            return Published(shown.count(), 0.0, changed=False)
        copy = self._between_names()
        self._refuse_another(copy, version)
        self._rename(copy, self._source.name)
        return Published(copy.count(), time.perf_counter() - start)

    def _between_names(self) -> Rows:
        """The copy, of a run that was killed between the two renames, whichever way it went."""
        return self._find(self._published) or self._opened(self._withdrawn)

    def _tidy(self) -> None:
        self._driver.delete(self._published)
        self._driver.delete(self._withdrawn)

    def _refuse_another(self, copy: Rows, version: IndexVersion) -> None:
        number = published_version(copy.handle)
        if number != version.number:
            raise PreflightRefused(f"v{number} is published, not {version.label}", hint="vecmigrate publish --undo first")

    def _refuse_stranger(self, shown: Rows) -> None:
        if published_version(shown.handle) is None:
            raise made_in_the_gap(shown)

    # Copying.

    def _copy(self, version: IndexVersion, stored: Rows, source: Rows) -> tuple[int, int]:
        """Make the copy what the source is, with the version's vectors; (rows written, rows removed)."""
        self._driver.delete(self._withdrawn)  # an application wrote vectors of its own into it
        copy = self._find(self._published) or self._made(version, source)
        self._refuse_another(copy, version)
        missing, extra = _differing(copy, source)
        for part in slices(list(missing), self._driver.batch_size):
            vectors = stored.vectors(part)
            lacking = [id for id in part if id not in vectors]
            if lacking:
                raise PreflightRefused(
                    f"{version.name} has no vector for {len(lacking)} rows, such as {lacking[0]!r}: they would be missing",
                    hint=f"vecmigrate shadow sync {version.label}; rows without a text can't be published",
                )
            self._write(copy, source, part, np.stack([vectors[id] for id in part]))
        self._remove(copy, list(extra))
        return len(missing), len(extra)

    def _made(self, version: IndexVersion, source: Rows) -> Rows:
        shape = Shape.of(source)
        index = {
            "space": SPACE_OF[version.metric],
            "max_neighbors": version.ann.m,
            "ef_construction": version.ann.ef_construction,
            "ef_search": shape.ef_search,
        }
        described = marked_published(source.handle.metadata, version.number)
        handle = self._driver.create(self._published, described, {"hnsw": index})
        if handle is None:
            raise Conflict("another operator is publishing", hint="wait until it is done")
        return Rows(self._driver, handle)

    def _write(self, target: Rows, origin: Rows, ids: Sequence[str], vectors: Vectors) -> None:
        """Rows of `origin` into `target`, whole: keys of metadata that a row has no more are named as gone."""
        rows = {id: row for part in origin.records(ids, "documents", "metadatas") for id, row in part.items()}
        before = {id: metadata or {} for part in target.records(ids, "metadatas") for id, (metadata,) in part.items()}
        kept = [place for place, id in enumerate(ids) if id in rows]
        if not kept:
            return
        written = {
            "ids": [ids[place] for place in kept],
            "embeddings": np.ascontiguousarray(vectors[kept], dtype=np.float32),
            "documents": [rows[ids[place]][0] for place in kept],
            "metadatas": [_whole(rows[ids[place]][1], before.get(ids[place], {})) for place in kept],
        }
        self._driver.call(f"writing to {target.name!r}", partial(target.handle.upsert, **written))

    def _remove(self, target: Rows, ids: Sequence[str]) -> None:
        for part in slices(ids, self._driver.batch_size):
            self._driver.call(f"deleting from {target.name!r}", partial(target.handle.delete, ids=list(part)))

    def _refuse_difference(self, source: Rows) -> None:
        missing, extra = _differing(self._opened(self._published), source)
        if missing or extra:
            raise PreflightRefused(
                f"{len(missing) + len(extra)} rows of {self._source.name!r} changed while it was copied: an application still writes",
                hint="stop every application that uses it, then run the command again",
            )

    # Names.

    def _swap(self, version: IndexVersion) -> float:
        """The two renames; seconds in between. When the second fails, the first is taken back."""
        copy = self._opened(self._published)
        own, start = self._source.open(), time.perf_counter()
        self._rename(own, self._kept)
        try:
            self._rename(copy, self._source.name)
        except VecmigrateError as error:
            taken = self._find(self._source.name)
            if taken is not None:
                self._refuse_or_remove(taken)
            self._rename(own, self._source.name)
            if taken is None:
                raise
            raise PreflightRefused(
                f"an application created {self._source.name!r}, empty, between the two renames of {version.name}: all is as before",
                hint="stop the application that creates what it does not find, then run the command again",
            ) from error
        return time.perf_counter() - start

    def _refuse_or_remove(self, taken: Rows) -> None:
        """What an application created in the gap: removed while it is empty."""
        if taken.count():
            self._refuse_stranger(taken)
        self._driver.delete(self._source.name)

    def _swap_back(self) -> float:
        """As `_swap`, the other way; from the gap too."""
        start, shown = time.perf_counter(), self._find(self._source.name)
        if shown is not None:
            self._refuse_stranger(shown)
            self._rename(shown, self._withdrawn)
        self._rename(self._opened(self._kept), self._source.name)
        return time.perf_counter() - start

    def _rename(self, rows: Rows, name: str) -> None:
        self._driver.call(f"renaming {rows.name!r} to {name!r}", partial(rows.handle.modify, name=name))

    # The way back.

    def _bring_back(self, own: Rows, shown: Rows, encode: Encode, allow_mass_deletion: bool) -> tuple[int, int]:
        """What was written under the name since, into the application's own collection; (rows written, rows removed)."""
        missing, extra = _differing(own, shown)
        if len(extra) > MASS_DELETION * max(own.count(), 1) and not allow_mass_deletion:
            raise PreflightRefused(
                f"{len(extra)} of {own.count()} rows were deleted since it was published; refusing to remove that many unasked",
                hint="vecmigrate publish --undo --allow-mass-deletion",
            )
        for part in slices(missing, min(1000, self._driver.batch_size)):
            chunks = self._source.chunks(shown, part)
            blank = [chunk.id for chunk in chunks if not chunk.text.strip()]
            if blank:
                raise PreflightRefused(
                    f"{len(blank)} rows that were written since have no text, such as {blank[0]!r}: the model before can't make their vectors",
                    hint="give them a text, or delete them",
                )
            self._write(own, shown, [chunk.id for chunk in chunks], encode([chunk.text for chunk in chunks]))
        self._remove(own, extra)
        return len(missing), len(extra)

    def _find(self, name: str) -> Rows | None:
        handle = self._driver.find(name)
        return None if handle is None else Rows(self._driver, handle)

    def _opened(self, name: str) -> Rows:
        found = self._find(name)
        if found is None:
            raise NotFound(f"collection {name!r} is gone", hint="vecmigrate history shows what was done")
        return found


def _differing(target: Rows, origin: Rows) -> tuple[list[str], list[str]]:
    """Ids whose document or metadata `target` lacks or has otherwise than `origin`, and ids that `origin` has not."""
    there, wanted = set(target.ids()), origin.ids()
    differing: list[str] = []
    for part in slices(wanted, 1000):
        known = _content(target, [id for id in part if id in there])
        differing += [id for id, row in _content(origin, part).items() if known.get(id) != row]
    return differing, sorted(there - set(wanted))


def _content(rows: Rows, ids: Sequence[str]) -> dict[str, Row]:
    read = (part for part in rows.records(ids, "documents", "metadatas")) if ids else ()
    return {id: (document, spelled(metadata or {})) for part in read for id, (document, metadata) in part.items()}


def _whole(metadata: Mapping[str, Any] | None, before: Mapping[str, Any]) -> dict[str, Any] | None:
    """Metadata for `upsert`, which keeps the keys that it is not told of."""
    kept: dict[str, Any] = dict.fromkeys(before)
    kept.update(metadata or {})
    return kept or None
