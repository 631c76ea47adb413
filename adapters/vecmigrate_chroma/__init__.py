"""The Chroma adapter: a persistent directory or a server, with nothing but Chroma itself to keep versions and pointer in.

What it adds beside the application's collection, for a collection `docs` (never inside it):

    vecmigrate.docs.v1              the vectors of docs@v1: same ids, documents and metadata, and two hashes
    vecmigrate.docs.epoch.00000001  one per change of the pointer; creating it *is* the change; the highest is the truth
    vecmigrate.docs.events          one row per event of a version; a row's id is taken once, so a state is compare-and-set
    vecmigrate.docs.lock.00000001   on a server: who is operating (in a directory it is the file .vecmigrate.lock)
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from vecmigrate.errors import MissingDependency
from vecmigrate.store import Store


class ChromaAdapter:
    """What the entry point names."""

    name = "chroma"

    def open(self, settings: Mapping[str, Any], *, collection: str) -> Store:
        """Connect, see `vecmigrate.store.Adapter.open`. `settings` are those of `vecmigrate_chroma.settings.ChromaSettings`."""
        if find_spec("chromadb") is None:
            raise MissingDependency("adapter 'chroma' needs the package 'chromadb'", hint="pip install 'vecmigrate[chroma]'")
        from vecmigrate_chroma.opening import open_store

        return open_store(settings, collection=collection)


adapter = ChromaAdapter()
