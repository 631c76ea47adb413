"""A retriever from vecmigrate.toml, for applications."""

from __future__ import annotations

from pathlib import Path

from vecmigrate.config import load_config
from vecmigrate.encoding import CatalogEncoders, ModelCatalog
from vecmigrate.registry import open_store
from vecmigrate.retrying import retry_transient
from vecmigrate.serving.retriever import Retriever


def open_retriever(config: str | Path | None = None, *, pointer_ttl: float = 0.0) -> Retriever:
    """Connect to the store of a configuration file [default: the one that applies here] and follow its pointer.

    `pointer_ttl` is in seconds, see `Retriever`. Close it with `retriever.close()`, or use it in a `with` statement.
    Raises what opening the store raises: `UsageError`, `StoreUnavailable`, `AccessDenied`, `NotFound`.
    """
    settings = load_config(Path(config) if config is not None else None)
    section = settings.store
    store = retry_transient(lambda: open_store(section.adapter, section.settings, collection=section.collection))
    encoders = CatalogEncoders(ModelCatalog(settings.workspace_path / "models"), settings.encoding)
    return Retriever(store, encoders, pointer_ttl=pointer_ttl)
