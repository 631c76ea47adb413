"""What every stage that needs vectors works with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from vecmigrate.store import Vectors
from vecmigrate.versions import IndexVersion, ModelVersion


class Encoder(Protocol):
    """One model version, loaded. Texts in, float32 vectors out, in the order of the texts."""

    @property
    def model(self) -> ModelVersion:
        """The identity of what encodes: two encoders of one fingerprint give the same vectors."""
        ...

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Shape (len(texts), dimension). Raises `ModelError` when a vector comes out NaN, infinite or zero, naming the text's place."""
        ...

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        """As `encode_queries`, with the document prompt. Batches by length inside; memory is bounded by the texts given."""
        ...

    def count_truncated(self, texts: Sequence[str]) -> int:
        """How many of the texts are longer than the model reads, so that their ends are not searchable."""
        ...


class EncoderSource(Protocol):
    """Finds the encoder that made a version's vectors: promise 1 hangs on this."""

    def encoder_for(self, version: IndexVersion) -> Encoder:
        """The loaded encoder whose fingerprint is the version's, cached. Raises `ModelError` when it can't be had or is not the same."""
        ...
