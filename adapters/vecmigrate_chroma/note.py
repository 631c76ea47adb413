"""What was published, and what both sides held at that moment: a collection of its own, written before the names change.

`vecmigrate.docs.publication` has the copy's id in its metadata, because names and metadata of the copy are the application's to change, and
the digest of every row in documents of JSON, a few thousand rows each.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from vecmigrate.errors import Conflict
from vecmigrate_chroma.driver import Driver
from vecmigrate_chroma.naming import publication_names
from vecmigrate_chroma.rows import Rows, slices, spelled

ROWS_PER_DOCUMENT = 5_000


@dataclass(frozen=True, slots=True)
class Publication:
    """`copy` is the id of the collection that has, or is to have, the application's name."""

    version: int
    fingerprint: str
    copy: str


class Note:
    """The note of one collection."""

    def __init__(self, driver: Driver, collection: str) -> None:
        self._driver = driver
        self._name, self._fresh = publication_names(collection)

    def read(self) -> Publication | None:
        """What is published, or was to be; None when nothing is."""
        found = self._found()
        if found is None:
            return None
        metadata = found.metadata or {}
        return Publication(int(metadata["version"]), str(metadata["fingerprint"]), str(metadata["copy"]))

    def contents(self) -> dict[str, str]:
        """Id → digest of every row at that moment."""
        found = self._found()
        if found is None:
            return {}
        rows = Rows(self._driver, found)
        documents = [document for part in rows.records(rows.ids(), "documents") for (document,) in part.values()]
        return {id: digest for document in documents for id, digest in json.loads(document).items()}

    def write(self, publication: Publication, contents: Mapping[str, str]) -> None:
        """Write it anew. A kill in between leaves the one before, or the whole new one under its other name."""
        self._driver.delete(self._fresh)
        described = {"version": publication.version, "fingerprint": publication.fingerprint, "copy": publication.copy}
        handle = self._driver.create(self._fresh, {"vecmigrate": "publication", **described})
        if handle is None:
            raise Conflict("another operator is publishing", hint="wait until it is done")
        for number, part in enumerate(slices(sorted(contents), ROWS_PER_DOCUMENT)):
            document = json.dumps({id: contents[id] for id in part})
            row = {"ids": [f"{number:06}"], "embeddings": [[1.0]], "documents": [document]}
            self._driver.call("noting what is published", partial(handle.add, **row))
        self._driver.delete(self._name)
        self._driver.call("noting what is published", partial(handle.modify, name=self._name))

    def _found(self) -> Any | None:
        return self._driver.find(self._name) or self._driver.find(self._fresh)

    def delete(self) -> None:
        """Nothing is published any more."""
        self._driver.delete(self._name)
        self._driver.delete(self._fresh)


def digests(rows: Rows) -> dict[str, str]:
    """Id → a digest of document, metadata and uri, of every row."""
    found: dict[str, str] = {}
    for part in rows.records(rows.ids(), "documents", "metadatas", "uris"):
        for id, (document, metadata, uri) in part.items():
            content = repr((document, spelled(metadata or {}), uri)).encode("utf-8", "surrogatepass")
            found[id] = hashlib.blake2b(content, digest_size=12).hexdigest()
    return found
