"""A retriever or a stand-in collection from vecmigrate.toml, for applications."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from vecmigrate.config import load_config
from vecmigrate.encoding import CatalogEncoders, ModelCatalog
from vecmigrate.encoding.encoder import EncoderSource
from vecmigrate.errors import UsageError
from vecmigrate.live import StandsIn
from vecmigrate.registry import open_store
from vecmigrate.retrying import retry_transient
from vecmigrate.serving.following import OUTAGE_GRACE
from vecmigrate.serving.live_index import LiveIndex
from vecmigrate.serving.retriever import Retriever
from vecmigrate.store import Store

if TYPE_CHECKING:
    from vecmigrate_chroma.collection import AsyncVersionedCollection, VersionedCollection


def open_retriever(config: str | Path | None = None, *, pointer_ttl: float = 0.0, outage_grace: float = OUTAGE_GRACE) -> Retriever:
    """Connect to the store of a configuration file [default: the one that applies here] and follow its pointer.

    `pointer_ttl` and `outage_grace` are in seconds, see `Retriever`. Close it with `retriever.close()`, or use it in a `with` statement.
    Raises what opening the store raises: `UsageError`, `StoreUnavailable`, `AccessDenied`, `NotFound`.
    """
    store, encoders = _connected(config)
    return Retriever(store, encoders, pointer_ttl=pointer_ttl, outage_grace=outage_grace)


def open_collection(
    config: str | Path | None = None,
    *,
    pointer_ttl: float = 0.0,
    outage_grace: float = OUTAGE_GRACE,
    queued: bool = False,
) -> VersionedCollection:
    """The stand-in for the application's Chroma collection, see `vecmigrate_chroma.collection.VersionedCollection`.

    `pointer_ttl` (seconds) bounds how long after a flip a read may still be answered by the version before; 0 is never. With `queued` a
    write returns when the application's own collection has it, and the versions follow in a thread; `flush` waits for them.
    Raises what opening the store raises, and `UsageError` for a store that has no stand-in.
    """
    store, encoders = _connected(config)
    if not isinstance(store, StandsIn):
        store.close()
        raise UsageError(f"adapter {store.name!r} has no stand-in collection", hint="vecmigrate.open_retriever searches any store")
    live = LiveIndex(store, encoders, pointer_ttl=pointer_ttl, outage_grace=outage_grace, queued=queued)
    collection: VersionedCollection = store.stand_in(live)
    return collection


async def open_async_collection(
    config: str | Path | None = None,
    *,
    pointer_ttl: float = 0.0,
    outage_grace: float = OUTAGE_GRACE,
    queued: bool = False,
) -> AsyncVersionedCollection:
    """As `open_collection`, in place of chromadb's `AsyncCollection`."""
    opened = await asyncio.to_thread(open_collection, config, pointer_ttl=pointer_ttl, outage_grace=outage_grace, queued=queued)
    return opened.asynchronous()


def _connected(config: str | Path | None) -> tuple[Store, EncoderSource]:
    if config is not None and not isinstance(config, str | Path):
        raise UsageError(f"{config!r} is no path", hint='open it with the path of a configuration file, "vecmigrate.toml"')
    settings = load_config(Path(config) if config is not None else None)
    section = settings.store
    store = retry_transient(lambda: open_store(section.adapter, section.settings, collection=section.collection))
    return store, CatalogEncoders(ModelCatalog(settings.workspace_path / "models"), settings.encoding)
