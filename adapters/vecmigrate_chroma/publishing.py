"""A version under the application's own name, by two renames, with the application's own collection kept aside.

    docs (the application's)      ─► vecmigrate.docs.kept
    vecmigrate.docs.published     ─► docs                      a copy of the version: same rows, its vectors, nothing of ours

and back again:

    docs                          ─► vecmigrate.docs.withdrawn
    vecmigrate.docs.kept          ─► docs                      after what was written meanwhile was brought into it

Where it stands is read from which of the names are there, so a killed run is finished, or undone, by running either again. What both
sides held when the names changed is noted down (`vecmigrate.docs.publication`), so a row that only one side has is known to be new there, or
deleted on the other, and a row is removed only when somebody removed it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from vecmigrate.errors import Conflict, NotFound, PreflightRefused, VecmigrateError
from vecmigrate.publication import Encode, Published
from vecmigrate.store import Vectors
from vecmigrate.versions import IndexVersion
from vecmigrate_chroma.driver import Driver
from vecmigrate_chroma.inspecting import SPACE_OF, Shape
from vecmigrate_chroma.naming import kept_name, published_name, withdrawn_name
from vecmigrate_chroma.note import Note, Publication, digests
from vecmigrate_chroma.rows import Rows, Source, made_in_the_gap, slices, whole

MASS_DELETION = 0.2
MOST_ROUNDS = 20
"""Passes over what is written while an undo encodes, before it says that the applications are not stopped."""


@dataclass(frozen=True, slots=True)
class _Todo:
    """What one side lacks of the other: ids to bring, ids to remove; `overruled` are those that both sides had changed."""

    bring: list[str]
    remove: list[str]
    overruled: list[str]

    def __bool__(self) -> bool:
        return bool(self.bring or self.remove)


class Publishing:
    """The renames of one collection, forth and back."""

    def __init__(self, driver: Driver, source: Source, collection: str) -> None:
        self._driver = driver
        self._source = source
        self._published = published_name(collection)
        self._kept = kept_name(collection)
        self._withdrawn = withdrawn_name(collection)
        self._note = Note(driver, collection)

    # Where it stands.

    def control(self) -> Rows:
        """The application's own vectors, wherever they are now. Raises `NotFound`."""
        try:
            shown = self._source.open()
        except (NotFound, PreflightRefused):
            kept = self._find(self._kept)
            if kept is None:
                raise
            return kept
        return shown if self._source.published(shown) is None else self._opened(self._kept)

    def version(self) -> int | None:
        """The version that has the application's name, or was on its way there when a run was killed."""
        if not self._has_moved():
            return None
        shown = self._find(self._source.name)
        self._refuse_stranger(shown)
        return self._noted().version

    def behind(self) -> tuple[list[str], list[str]]:
        """Of the application's own collection, while it is aside: ids that it lacks or has otherwise, and ids that are gone."""
        todo = self._back(self._opened(self._kept), digests(self._source.open()))
        return todo.bring, todo.remove

    def _has_moved(self) -> bool:
        return self._find(self._kept) is not None

    def _refuse_stranger(self, shown: Rows | None) -> None:
        if shown is not None and self._source.published(shown) is None:
            raise made_in_the_gap(shown)

    def _noted(self) -> Publication:
        noted = self._note.read()
        if noted is None:
            raise NotFound(
                f"the note of what was published as {self._source.name!r} is gone", hint="vecmigrate history shows what was done"
            )
        return noted

    # Forth.

    def publish(self, version: IndexVersion, stored: Rows, encode: Encode) -> Published:
        """Copy, compare, rename, and bring over what was written meanwhile; see `vecmigrate.publication.Publishes.publish`."""
        if self._has_moved():
            return self._finish(version, encode)
        if self._find(self._withdrawn) is not None and self._note.read() is not None:
            raise PreflightRefused(
                f"an undo of {self._source.name!r} was interrupted: rows that were written late may be in {self._withdrawn!r} alone",
                hint="vecmigrate publish --undo finishes it; then publish again",
            )
        self._tidy()
        source = self._source.open()
        copy = self._made(version, source)
        self._copy(version, stored, source, copy)
        before = digests(source)
        if digests(copy) != before:
            raise PreflightRefused(
                f"rows of {self._source.name!r} changed while it was copied: an application still writes",
                hint="stop every application that uses it, then run the command again",
            )
        self._note.write(Publication(version.number, version.model.fingerprint, str(copy.handle.id)), before)
        gap = self._swap(source, copy)
        carried = self._carry_over(encode)
        return Published(copy.count(), gap, carried)

    def _finish(self, version: IndexVersion, encode: Encode) -> Published:
        """The application's collection is aside: published already, or killed in the gap or right after it."""
        noted, shown, start = self._noted(), self._find(self._source.name), time.perf_counter()
        self._refuse_stranger(shown)
        if (noted.version, noted.fingerprint) != (version.number, version.model.fingerprint):
            raise PreflightRefused(f"v{noted.version} is published, not {version.label}", hint="vecmigrate publish --undo first")
        if shown is None:
            copy = self._find(self._published) or self._opened(self._withdrawn)
            self._rename(copy, self._source.name)
        gap = time.perf_counter() - start if shown is None else 0.0
        carried = self._carry_over(encode)
        return Published(self._source.open().count(), gap, carried, changed=shown is None or carried > 0)

    def _made(self, version: IndexVersion, source: Rows) -> Rows:
        index = {
            "space": SPACE_OF[version.metric],
            "max_neighbors": version.ann.m,
            "ef_construction": version.ann.ef_construction,
            "ef_search": Shape.of(source).ef_search,
        }
        handle = self._driver.create(self._published, source.handle.metadata, {"hnsw": index}, marked=False)
        if handle is None:
            raise Conflict("another operator is publishing", hint="wait until it is done")
        return Rows(self._driver, handle)

    def _copy(self, version: IndexVersion, stored: Rows, source: Rows, copy: Rows) -> None:
        for part in slices(source.ids(), self._driver.batch_size):
            vectors = stored.vectors(part)
            lacking = [id for id in part if id not in vectors]
            if lacking:
                raise PreflightRefused(
                    f"{version.name} has no vector for {len(lacking)} rows, such as {lacking[0]!r}: they would be missing",
                    hint=f"vecmigrate shadow sync {version.label}; rows without a text can't be published",
                )
            self._write(copy, source, part, np.stack([vectors[id] for id in part]))

    def _carry_over(self, encode: Encode) -> int:
        """What an application wrote into its own collection after the copy was compared, by a handle that it held: into what is shown.
        Rows that were changed under the name too stay as they are there.
        """
        own, shown = self._opened(self._kept), self._source.open()
        noted, ours, theirs = self._note.contents(), digests(own), digests(shown)
        late = [id for id, digest in ours.items() if digest != noted.get(id) and theirs.get(id) == noted.get(id)]
        return self._bring(shown, own, late, encode)

    # Back.

    def unpublish(self, encode: Encode, *, allow_mass_deletion: bool) -> Published:
        """Bring the application's own collection up to date, then rename back; see `vecmigrate.publication.Publishes.unpublish`."""
        if not self._has_moved():
            done = self._bring_late(encode)
            self._tidy()
            return Published(self._source.open().count(), 0.0, done, changed=done > 0)
        own, shown = self._opened(self._kept), self._find(self._source.name)
        self._refuse_stranger(shown)
        shown = shown or self._find(self._published) or self._opened(self._withdrawn)
        brought, removed, overruled = self._bring_back(own, shown, encode, allow_mass_deletion)
        gap = self._swap_back(own)
        brought += self._bring_late(encode)
        self._tidy()
        return Published(own.count(), gap, brought, removed, overruled=tuple(overruled[:20]))

    def _bring_back(self, own: Rows, shown: Rows, encode: Encode, allow_mass_deletion: bool) -> tuple[int, int, list[str]]:
        """Until a pass finds nothing: clients that were not stopped write while others' rows are encoded."""
        brought = removed = 0
        overruled: list[str] = []
        for _ in range(MOST_ROUNDS):
            theirs = digests(shown)
            todo = self._back(own, theirs)
            if not todo:
                self._note.write(self._noted(), theirs)
                return brought, removed, overruled
            if len(todo.remove) > MASS_DELETION * max(own.count(), 1) and not allow_mass_deletion:
                raise PreflightRefused(
                    f"{len(todo.remove)} of {own.count()} rows were deleted since it was published; refusing to remove that many unasked",
                    hint="vecmigrate publish --undo --allow-mass-deletion",
                )
            brought += self._bring(own, shown, todo.bring, encode)
            self._remove(own, todo.remove)
            removed += len(todo.remove)
            overruled += todo.overruled
        raise PreflightRefused(
            f"applications write to {self._source.name!r} faster than their rows are encoded", hint="stop them, then run the command again"
        )

    def _back(self, own: Rows, theirs: Mapping[str, str]) -> _Todo:
        """What changed under the name since it was published (`theirs`, digests) comes over; what changed aside alone stays."""
        noted, ours = self._note.contents(), digests(own)
        bring = [id for id, digest in theirs.items() if digest != ours.get(id) and (digest != noted.get(id) or id not in ours)]
        remove = [id for id, digest in ours.items() if id not in theirs and noted.get(id) == digest]
        overruled = [id for id in bring if id in ours and ours[id] != noted.get(id)]
        return _Todo(bring, remove, overruled)

    def _bring_late(self, encode: Encode) -> int:
        """What was written under the name between the last pass and the renames, or by a handle since, and is only in the withdrawn copy."""
        gone = self._find(self._withdrawn)
        if gone is None or self._note.read() is None:
            return 0
        own = self._source.open()
        noted, ours, theirs = self._note.contents(), digests(own), digests(gone)
        late = [id for id, digest in theirs.items() if digest != noted.get(id) and ours.get(id) == noted.get(id)]
        return self._bring(own, gone, late, encode)

    def _tidy(self) -> None:
        for name in (self._published, self._withdrawn):
            self._driver.delete(name)
        self._note.delete()

    # Rows.

    def _bring(self, target: Rows, origin: Rows, ids: Sequence[str], encode: Encode) -> int:
        """Rows of `origin` into `target`, encoded for it."""
        for part in slices(ids, min(1000, self._driver.batch_size)):
            chunks = self._source.chunks(origin, part)
            blank = [chunk.id for chunk in chunks if not chunk.text.strip()]
            if blank:
                raise PreflightRefused(
                    f"{len(blank)} rows that were written since have no text, such as {blank[0]!r}: no model can make their vectors",
                    hint="give them a text, or delete them",
                )
            if chunks:
                self._write(target, origin, [chunk.id for chunk in chunks], encode([chunk.text for chunk in chunks]))
        return len(ids)

    def _write(self, target: Rows, origin: Rows, ids: Sequence[str], vectors: Vectors) -> None:
        """Rows of `origin` into `target`, whole: keys of metadata that a row has no more are named as gone."""
        rows = {id: row for part in origin.records(ids, "documents", "metadatas", "uris") for id, row in part.items()}
        before = {id: metadata or {} for part in target.records(ids, "metadatas") for id, (metadata,) in part.items()}
        kept = [place for place, id in enumerate(ids) if id in rows]
        if not kept:
            return
        uris = [rows[ids[place]][2] for place in kept]
        written = {
            "ids": [ids[place] for place in kept],
            "embeddings": np.ascontiguousarray(vectors[kept], dtype=np.float32),
            "documents": [rows[ids[place]][0] for place in kept],
            "metadatas": [whole(rows[ids[place]][1] or {}, before.get(ids[place], {})) or None for place in kept],
            **({"uris": uris} if any(uri is not None for uri in uris) else {}),
        }
        self._driver.call(f"writing to {target.name!r}", partial(target.handle.upsert, **written))

    def _remove(self, target: Rows, ids: Sequence[str]) -> None:
        for part in slices(ids, self._driver.batch_size):
            self._driver.call(f"deleting from {target.name!r}", partial(target.handle.delete, ids=list(part)))

    # Names.

    def _swap(self, own: Rows, copy: Rows) -> float:
        """The two renames; seconds in between. When the second fails, the first is taken back."""
        start = time.perf_counter()
        self._rename(own, self._kept)
        try:
            self._rename(copy, self._source.name)
        except VecmigrateError as error:
            taken = self._find(self._source.name)
            if taken is not None and taken.handle.id == copy.handle.id:  # done, and the answer was lost on the way
                return time.perf_counter() - start
            if taken is not None and taken.count():
                raise made_in_the_gap(taken) from error
            self._driver.delete(self._source.name)
            self._rename(own, self._source.name)
            if taken is None:
                raise
            raise PreflightRefused(
                f"an application created {self._source.name!r}, empty, between the two renames: all is as before",
                hint="stop the application that creates what it does not find, then run the command again",
            ) from error
        return time.perf_counter() - start

    def _swap_back(self, own: Rows) -> float:
        """As `_swap`, the other way; from the gap too."""
        start, shown = time.perf_counter(), self._find(self._source.name)
        if shown is not None:
            self._refuse_stranger(shown)
            self._rename(shown, self._withdrawn)
        self._rename(own, self._source.name)
        return time.perf_counter() - start

    def _rename(self, rows: Rows, name: str) -> None:
        self._driver.call(f"renaming {rows.name!r} to {name!r}", partial(rows.handle.modify, name=name))

    def _find(self, name: str) -> Rows | None:
        handle = self._driver.find(name)
        return None if handle is None else Rows(self._driver, handle)

    def _opened(self, name: str) -> Rows:
        found = self._find(name)
        if found is None:
            raise NotFound(f"collection {name!r} is gone", hint="vecmigrate history shows what was done")
        return found
