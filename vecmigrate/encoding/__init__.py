"""From texts to vectors: the Encoder protocol, the sentence-transformers backend, and the catalog of model versions."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vecmigrate.encoding.catalog import ModelCatalog, ModelEntry
    from vecmigrate.encoding.encoder import Encoder, EncoderSource
    from vecmigrate.encoding.sentence_transformer import SentenceTransformerEncoder, load_encoder
    from vecmigrate.encoding.sources import CatalogEncoders

__all__ = ["CatalogEncoders", "Encoder", "EncoderSource", "ModelCatalog", "ModelEntry", "SentenceTransformerEncoder", "load_encoder"]

_HOMES = {
    "CatalogEncoders": "sources",
    "Encoder": "encoder",
    "EncoderSource": "encoder",
    "ModelCatalog": "catalog",
    "ModelEntry": "catalog",
    "SentenceTransformerEncoder": "sentence_transformer",
    "load_encoder": "sentence_transformer",
}


def __getattr__(name: str) -> Any:
    """Import the module of a public name when it is first asked for, so that importing the package costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
