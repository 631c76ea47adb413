"""vecmigrate: fine-tune an embedding model on your own query log and move a live vector store to it, reversibly.

The names here are what an application needs; the stages live in their own packages.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vecmigrate.config import Config as Config
    from vecmigrate.config import load_config as load_config
    from vecmigrate.errors import VecmigrateError as VecmigrateError
    from vecmigrate.records import Chunk as Chunk
    from vecmigrate.registry import open_store as open_store
    from vecmigrate.serving import Answer as Answer
    from vecmigrate.serving import Result as Result
    from vecmigrate.serving import Retriever as Retriever
    from vecmigrate.serving import open_async_collection as open_async_collection
    from vecmigrate.serving import open_collection as open_collection
    from vecmigrate.serving import open_retriever as open_retriever
    from vecmigrate.store import Store as Store

__version__ = "0.1.0"

_HOMES = {
    "Answer": "serving",
    "Chunk": "records",
    "Config": "config",
    "Result": "serving",
    "Retriever": "serving",
    "Store": "store",
    "VecmigrateError": "errors",
    "load_config": "config",
    "open_async_collection": "serving",
    "open_collection": "serving",
    "open_retriever": "serving",
    "open_store": "registry",
}

__all__ = [*sorted(_HOMES), "__version__"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: `import vecmigrate` alone stays light."""
    if name not in _HOMES:
        raise AttributeError(f"module 'vecmigrate' has no attribute {name!r}")
    return getattr(import_module(f"vecmigrate.{_HOMES[name]}"), name)
