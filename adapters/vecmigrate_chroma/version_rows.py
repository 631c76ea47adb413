"""The collections that versions are kept in: found by version, made where a crash came before that, and told when they have gone.

Our own collections are never renamed or made anew, so their handles are kept; the application's is looked up each time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from vecmigrate.errors import NotFound, StoreError, VersionRetired
from vecmigrate.versions import GONE, SEARCHABLE, IndexVersion
from vecmigrate_chroma.driver import Driver
from vecmigrate_chroma.inspecting import SPACE_OF, Shape
from vecmigrate_chroma.ledger import Ledger
from vecmigrate_chroma.naming import vectors_name
from vecmigrate_chroma.publishing import Publishing
from vecmigrate_chroma.rows import Rows, Source


class VersionRows:
    """Opens versions of one collection. Safe among threads."""

    def __init__(self, driver: Driver, ledger: Ledger, source: Source, publishing: Publishing, collection: str) -> None:
        self._driver = driver
        self._ledger = ledger
        self._source = source
        self._publishing = publishing
        self._collection = collection
        self._handles: dict[int, Rows] = {}

    def name(self, version: IndexVersion) -> str:
        """Of the version's own collection: of one that shares, an empty one, whose metadata says whose vectors it searches."""
        return vectors_name(self._collection, version.number)

    def is_open(self, version: IndexVersion) -> bool:
        """Whether this process has read from it."""
        return version.holder in self._handles

    def forget(self, version: IndexVersion) -> bool:
        """Look its vectors up anew the next time. Whether they were open."""
        return self._handles.pop(version.holder, None) is not None

    def close(self) -> None:
        """Forget all."""
        self._handles.clear()

    def readable(self, version: IndexVersion) -> Rows | None:
        """The version's rows; None where nothing was ever stored. Raises `VersionRetired`."""
        if version.shares:
            self._require_standing(version)
        if version.holder == 0:
            return self._publishing.control()
        rows = self._handles.get(version.holder)
        if rows is None:
            handle = self._driver.find(vectors_name(self._collection, version.holder))
            if handle is None:
                now = self._ledger.version(version.holder)
                if now.state in GONE:
                    raise VersionRetired(f"{now.name} is {now.state}", hint="read the pointer again")
                return None
            rows = self._handles[version.holder] = Rows(self._driver, handle)
        return rows

    def _require_standing(self, version: IndexVersion) -> None:
        """Raise `VersionRetired` for a version that shares and has gone, or whose number is another model's now: one look for its mark,
        and at the events only where that is not there.
        """
        mark = self._driver.find(self.name(version))
        if mark is not None:
            fingerprint = (mark.metadata or {}).get("fingerprint")
        else:
            now = self._ledger.version(version.number)
            if now.state in GONE:
                raise VersionRetired(f"{now.name} is {now.state}", hint="read the pointer again")
            fingerprint = now.model.fingerprint
        if fingerprint != version.model.fingerprint:
            raise VersionRetired(f"{version.name} is another model's now: the versions were made anew", hint="read the pointer again")

    def searchable(self, version: IndexVersion) -> Rows | None:
        """As `readable`, but a version that should hold something and has no collection is an error: an empty answer would lie.

        Raises `VersionRetired` when the number is another model's by now: the collections were made anew.
        """
        rows = self.readable(version)
        if version.holder == 0:
            return rows
        if rows is None:
            now = self._ledger.version(version.holder)
            if now.state in SEARCHABLE:
                raise StoreError(
                    f"{now.name} is {now.state}, but its collection is gone", hint=f"vecmigrate shadow sync {now.label} fills it"
                )
        elif not version.shares and (rows.handle.metadata or {}).get("fingerprint") != version.model.fingerprint:
            self.forget(version)
            raise VersionRetired(f"{version.name} is another model's now: the versions were made anew", hint="read the pointer again")
        return rows

    @contextmanager
    def opened(self, version: IndexVersion) -> Iterator[Rows]:
        """As `searchable`, for a version that serves or did; `VersionRetired` when it goes within the block too."""
        with self.going(version):
            rows = self.searchable(version)
            if rows is None:
                raise VersionRetired(f"{version.name} holds nothing", hint="read the pointer again")
            yield rows

    @contextmanager
    def going(self, version: IndexVersion) -> Iterator[None]:
        """A handle whose collection was deleted under it says so as `VersionRetired`, where that is why."""
        try:
            yield
        except NotFound:
            if not self.forget(version) or self._ledger.version(version.holder).state not in GONE:
                raise
            raise VersionRetired(f"{version.name} was dropped at this moment", hint="read the pointer again") from None

    def storage(self, version: IndexVersion) -> Rows:
        """The version's rows, its collection created where a crash came before that."""
        rows = self.readable(version)
        if rows is not None:
            return rows
        name, described = self.name(version), self._described(version)
        index = {
            "space": SPACE_OF[version.metric],
            "max_neighbors": version.ann.m,
            "ef_construction": version.ann.ef_construction,
            "ef_search": Shape.of(self._source.open()).ef_search,
        }
        handle = self._driver.create(name, described, {"hnsw": index}) or self._driver.find(name)
        if handle is not None and self._ledger.version(version.number).state in GONE:  # it went while its collection was made
            self._driver.delete(name)
            handle = None
        if handle is None:
            raise VersionRetired(f"{version.name} was dropped at this moment", hint="read the pointer again")
        return self._handles.setdefault(version.number, Rows(self._driver, handle))

    def mark(self, version: IndexVersion) -> None:
        """Make the empty collection that stands for a version which shares, unless it is there or the version has gone."""
        name = self.name(version)
        made = self._driver.create(name, {**self._described(version), "shares": version.shares})
        if made is not None and self._ledger.version(version.number).state in GONE:
            self._driver.delete(name)

    def _described(self, version: IndexVersion) -> dict[str, Any]:
        return {
            "vecmigrate": "version",
            "collection": self._collection,
            "version": version.number,
            "fingerprint": version.model.fingerprint,
            "model": json.dumps(version.model.to_dict()),
            "metric": str(version.metric),
        }
